// The names in one directory, as far as they were read from the gofer. Positions are stable: entries that appear are
// appended and entries that go leave a hole, so a guest that reads the directory while it changes sees what
// getdents(2) promises.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/fs/gofer/client.h"

namespace sandbox {

class DirListing {
 public:
  struct Item {
    size_t position;  // to continue behind it
    std::string name;
    uint64_t ino;
    uint8_t type;
  };

  void Append(std::vector<GoferDirEntry> entries);
  void Add(std::string_view name, uint64_t ino, uint8_t type);
  void Remove(std::string_view name);
  bool Contains(std::string_view name) const;
  // Up to `count` entries from `position` on (0 = the first).
  std::vector<Item> Read(size_t position, size_t count) const;
  // `name` and what is likely to be looked up after it: the next names that were never looked up. One name only, unless
  // lookups have been following the order of the listing, or that of the alphabet.
  std::vector<std::string> LookupWindow(std::string_view name);
  // Holes make a listing that is mostly unlinked names worth reading again.
  bool Sparse() const;
  size_t size() const;

 private:
  static constexpr size_t kMaxWindow = 48;
  static constexpr size_t kMaxSkip = 8;  // names that a program may pass over

  struct Entry {
    std::string name;  // empty: removed
    uint64_t ino;
    uint8_t type;
    bool looked_up;
  };
  mutable Mutex mu_{LockRank::kLeaf};
  std::deque<Entry> entries_ GUARDED_BY(mu_);  // a deque, so that the index's keys stay where they are
  std::map<std::string_view, size_t> index_ GUARDED_BY(mu_);
  bool FollowsByName(std::map<std::string_view, size_t>::const_iterator it) const REQUIRES(mu_);
  size_t window_ GUARDED_BY(mu_) = 1;
  size_t next_expected_ GUARDED_BY(mu_) = 0;
  std::string last_name_ GUARDED_BY(mu_);  // of the last answer
};
using DirListingRef = RefPtr<DirListing>;

}  // namespace sandbox
