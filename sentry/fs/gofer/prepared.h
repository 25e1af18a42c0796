// Files without a name, made ahead of a guest that makes one file after the other: a creation then takes one out and
// has it named by the journal (docs/FILES.md, "Prepared files"). Made in batches that grow while they are used up, the
// next one while the guest uses the last.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "sentry/fs/gofer/client.h"

namespace sandbox {

class PreparedFiles {
 public:
  // What cannot be changed later without another request.
  struct Kind {
    uint64_t device;
    uint32_t mode, uid, gid;
    friend bool operator==(const Kind&, const Kind&) = default;
  };

  // `client` outlives it.
  explicit PreparedFiles(GoferClient& client) : client_(client) {}
  ~PreparedFiles();

  // A file for a creation in `dir`, made at most kMaxAgeNs ago; none when files of that kind are not made one after the
  // other, or cannot be prepared.
  std::optional<GoferUnnamed> Take(const Kind& kind, gofer::Handle dir);

 private:
  static constexpr int64_t kMaxAgeNs = 1'000'000'000;
  // A creation so long after the last one is the first of a new series.
  static constexpr int64_t kPauseNs = 100'000'000;
  static constexpr int kSeries = 3;
  static constexpr size_t kFirstBatch = 4;
  static constexpr size_t kPools = 4;

  struct Pool {
    Kind kind{};
    int64_t used_ns = 0;
    int series = 0;
    size_t batch = 0;  // size of the last one
    struct File {
      int64_t made_ns;
      GoferUnnamed file;
    };
    std::deque<File> files;
    bool asked = false;  // a batch is under way: asked for, or being taken in by some thread
    int64_t asked_ns = 0;
    std::unique_ptr<GoferCall> arriving;  // its answer is yet to be received
  };
  using Files = std::deque<Pool::File>;

  // The pool of `kind`, perhaps taken over from another; null when none can be.
  Pool* Find(const Kind& kind, Files& dropped) REQUIRES(mu_);
  std::unique_ptr<GoferCall> Ask(const Kind& kind, gofer::Handle dir, size_t count);
  // Ends asked, with what has arrived.
  void TakeIn(Pool& pool, std::unique_ptr<GoferCall> call);

  GoferClient& client_;
  Mutex mu_{LockRank::kLeaf};
  std::array<Pool, kPools> pools_ GUARDED_BY(mu_);
  bool refused_ GUARDED_BY(mu_) = false;  // the file system does not make such files
};

}  // namespace sandbox
