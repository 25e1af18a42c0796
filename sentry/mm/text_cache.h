// Rewritten texts of a sandbox: for each text that many processes call the kernel from, a copy whose call sites are
// patched (platform/api/text_rewriter.h), made once and mapped by every process that maps the same text at the same
// distance to its zone. A copy is a sealed memory file, so no guest can change what another one executes, and it is
// made from the file's bytes alone: what guests do decides only whether it is made.
//
// When: rewriting costs a few milliseconds, a slow call a few microseconds more than a patched one. A text is rewritten
// when its slow calls have cost about as much as rewriting will, so no workload pays much more than twice its optimum.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <compare>
#include <cstdint>
#include <map>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/api/text_rewriter.h"
#include "sentry/mm/mappable.h"

namespace sandbox {

// State of a host file: as long as it is equal, the contents are (for objects that say HostBacking::versioned).
struct FileVersion {
  uint64_t device = 0, inode = 0, size = 0;
  int64_t modified_ns = 0, changed_ns = 0;
  friend auto operator<=>(const FileVersion&, const FileVersion&) = default;

  static Result<FileVersion> Of(BorrowedFd file);
  // False when the file changed so recently that a further change might leave the time stamps as they are.
  bool Settled() const;
};

// What a copy depends on. Everything is page aligned but the file's size.
struct TextKey {
  FileVersion file;
  uint64_t offset = 0;  // of the host file
  uint64_t length = 0;
  int64_t zone_delta = 0;  // start of the zone minus start of the text
  uint64_t zone_size = 0;
  friend auto operator<=>(const TextKey&, const TextKey&) = default;
};

// The patched pages of one text, and its zone, in one memory file. Immutable.
class TextCopy {
 public:
  // Pages that differ from the original's, and some between them.
  struct Run {
    uint64_t start = 0;  // offset in the text
    uint64_t length = 0;
    uint64_t offset = 0;  // offset in the memory file
  };

  // Reads `file` twice, in pieces. ENOENT when there is no site to patch; EAGAIN when the file changed meanwhile; host
  // errors. May take milliseconds: no lock may be held.
  static Result<RefPtr<const TextCopy>> Make(const platform::TextRewriter& rewriter, const TextKey& key,
                                             BorrowedFd file);

  BorrowedFd fd() const { return fd_.borrow(); }
  const std::vector<Run>& runs() const { return runs_; }
  uint64_t zone_offset() const { return zone_offset_; }  // in the memory file
  uint64_t zone_length() const { return zone_length_; }  // whole pages, at most the key's zone_size
  uint64_t bytes() const { return zone_offset_ + zone_length_; }
  const RefPtr<const platform::TrampolineMap>& map() const { return rewritten_.map; }
  // Puts the original bytes into `data`, which was read at `offset` of the text, wherever it holds a patch.
  void Unpatch(uint64_t offset, uint8_t* data, size_t size) const;

 private:
  // mutable until Make returns
  Result<void> Fill(const TextKey& key, BorrowedFd file);
  void ChooseRuns(uint64_t text_length);

  UniqueFd fd_;
  std::vector<Run> runs_;
  uint64_t zone_offset_ = 0, zone_length_ = 0;
  platform::RewrittenText rewritten_;  // its zone bytes are dropped once they are in the file
};

// A text that processes have mapped. Shared by them.
class CachedText {
 public:
  explicit CachedText(const TextKey& key) : key_(key) {}
  const TextKey& key() const { return key_; }
  RefPtr<const TextCopy> copy() const EXCLUDES(mu_);

 private:
  friend class TextCache;
  const TextKey key_;
  std::atomic<uint64_t> slow_calls_{0};
  std::atomic<bool> settled_{false};  // made, being made, or not worth trying again
  std::atomic<uint64_t> last_use_{0};
  mutable Mutex mu_{LockRank::kLeaf};
  RefPtr<const TextCopy> copy_ GUARDED_BY(mu_);
};

class TextCache {
 public:
  // Bytes of memory files in use by nobody that are kept for later; and texts that are counted at a time.
  static constexpr uint64_t kMaxBytes = uint64_t{64} << 20;
  static constexpr size_t kMaxTexts = 1024;
  // Longer texts are left alone.
  static constexpr uint64_t kMaxTextLength = uint64_t{256} << 20;

  // `rewriter` must outlive the cache.
  explicit TextCache(const platform::TextRewriter& rewriter) : rewriter_(rewriter) {}

  // Bytes to leave free below an image of `image_bytes` for the trampolines of its text.
  static uint64_t ZoneSize(uint64_t image_bytes);

  // The entry of a text that is being mapped. Null when it cannot be rewritten.
  RefPtr<CachedText> Enter(const TextKey& key) EXCLUDES(mu_);
  // A call came the slow way from `text`, whose bytes `file` holds. Makes the copy when it has become worth it; returns
  // it when there is one. May take milliseconds: no lock may be held.
  RefPtr<const TextCopy> NoteSlowCall(CachedText& text, BorrowedFd file) EXCLUDES(mu_);

  // How many slow calls a text of `length` bytes is worth.
  static uint64_t WorthAfter(uint64_t length);

 private:
  void DropUnused() REQUIRES(mu_);

  const platform::TextRewriter& rewriter_;
  std::atomic<uint64_t> clock_{0};
  Mutex mu_{LockRank::kWaitQueue};
  std::map<TextKey, RefPtr<CachedText>> texts_ GUARDED_BY(mu_);
};

}  // namespace sandbox
