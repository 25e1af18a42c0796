// Making the memory file of a rewritten text.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/guest_addr.h"
#include "sentry/mm/text_cache.h"

namespace sandbox {
namespace {

constexpr uint64_t kPiece = uint64_t{1} << 20;
// A text up to this size is copied whole: one mapping is cheaper than several.
constexpr uint64_t kWholeText = uint64_t{2} << 20;
// Of a longer one, runs of pages around sites, at most so many: each is a mapping of the guest's.
constexpr size_t kMaxRuns = 16;
// Nor does a copy take more memory than this.
constexpr uint64_t kMaxCopy = uint64_t{16} << 20;

// Fills `to` from `file`; what lies behind its end is zero, as in a mapping.
Result<void> ReadPiece(BorrowedFd file, uint64_t offset, std::vector<uint8_t>& to) {
  size_t done = 0;
  while (done < to.size()) {
    const ssize_t got = pread(file.get(), to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return LastErrno();
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  std::fill(to.begin() + static_cast<ptrdiff_t>(done), to.end(), 0);
  return {};
}

Result<void> WritePiece(BorrowedFd file, uint64_t offset, const std::vector<uint8_t>& from) {
  size_t done = 0;
  while (done < from.size()) {
    const ssize_t put = pwrite(file.get(), from.data() + done, from.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return LastErrno();
    done += static_cast<size_t>(put);
  }
  return {};
}

Result<platform::RewrittenText> RewriteFile(const platform::TextRewriter& rewriter, const TextKey& key,
                                            BorrowedFd file) {
  const auto job = rewriter.Begin(key.zone_delta, key.zone_size);
  std::vector<uint8_t> piece;
  for (uint64_t at = 0; at < key.length; at += kPiece) {
    // Whole pages before the piece, so that its first sites can be proved.
    static_assert(platform::RewriteJob::kContext <= kPageSize);
    const uint64_t first = at == 0 ? 0 : at - kPageSize;
    piece.resize(std::min(kPiece, key.length - at) + (at - first));
    TRY(ReadPiece(file, key.offset + first, piece));
    job->Scan(piece, first, at);
  }
  return job->Finish();
}

}  // namespace

void TextCopy::ChooseRuns(uint64_t text_length) {
  if (text_length <= kWholeText) {
    runs_.push_back({0, text_length, 0});
  } else {
    // The widest gap that still gives few enough runs is found by doubling it.
    for (uint64_t gap = kPageSize;; gap *= 2) {
      runs_.clear();
      for (const auto& patch : rewritten_.patches) {
        const uint64_t page = patch.offset & ~kPageMask;
        if (!runs_.empty() && page <= runs_.back().start + runs_.back().length + gap) {
          runs_.back().length = page + kPageSize - runs_.back().start;
        } else {
          runs_.push_back({page, kPageSize, 0});
        }
      }
      if (runs_.size() <= kMaxRuns) break;
    }
  }
  for (Run& run : runs_) {
    run.offset = zone_offset_;
    zone_offset_ += run.length;
  }
}

Result<void> TextCopy::Fill(const TextKey& key, BorrowedFd file) {
  auto patch = rewritten_.patches.begin();
  std::vector<uint8_t> piece;
  for (const Run& run : runs_) {
    for (uint64_t done = 0; done < run.length; done += kPiece) {
      const uint64_t at = run.start + done;
      piece.resize(std::min(kPiece, run.length - done));
      TRY(ReadPiece(file, key.offset + at, piece));
      // No site crosses a page, so none crosses a piece.
      for (; patch != rewritten_.patches.end() && patch->offset < at + piece.size(); ++patch) {
        uint8_t* const place = &piece[patch->offset - at];
        if (std::memcmp(place, patch->original.data(), patch->original.size()) != 0) return Err(EAGAIN);
        std::copy(patch->patched.begin(), patch->patched.end(), place);
      }
      TRY(WritePiece(fd_.borrow(), run.offset + done, piece));
    }
  }
  TRY(WritePiece(fd_.borrow(), zone_offset_, rewritten_.zone));
  rewritten_.zone = {};
  return {};
}

Result<RefPtr<const TextCopy>> TextCopy::Make(const platform::TextRewriter& rewriter, const TextKey& key,
                                              BorrowedFd file) {
  if (TRY(FileVersion::Of(file)) != key.file) return Err(EAGAIN);
  auto copy = MakeRef<TextCopy>();
  copy->rewritten_ = TRY(RewriteFile(rewriter, key, file));
  if (copy->rewritten_.patches.empty()) return Err(ENOENT);
  copy->zone_length_ = TRY(PageRoundUp(copy->rewritten_.zone.size()));
  copy->ChooseRuns(key.length);
  if (copy->bytes() > kMaxCopy) return Err(ENOMEM);
  copy->fd_ = UniqueFd(memfd_create("text", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy->fd_.valid()) return LastErrno();
  TRY(copy->Fill(key, file));
  if (TRY(FileVersion::Of(file)) != key.file) return Err(EAGAIN);
  if (ftruncate(copy->fd_.get(), static_cast<off_t>(copy->bytes())) != 0) return LastErrno();
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (fcntl(copy->fd_.get(), F_ADD_SEALS, kSeals) != 0) return LastErrno();
  return RefPtr<const TextCopy>(std::move(copy));
}

void TextCopy::Unpatch(uint64_t offset, uint8_t* data, size_t size) const {
  const auto& patches = rewritten_.patches;
  auto patch = std::lower_bound(patches.begin(), patches.end(), offset, [](const auto& candidate, uint64_t value) {
    return candidate.offset + platform::TextPatch::kSize <= value;
  });
  for (; patch != patches.end() && patch->offset < offset + size; ++patch) {
    const uint64_t from = std::max(patch->offset, offset);
    const uint64_t end = std::min(patch->offset + platform::TextPatch::kSize, offset + size);
    // Where the text is not (or no longer) the copy, the bytes are the guest's own.
    uint8_t* const place = data + (from - offset);
    const uint64_t skipped = from - patch->offset;
    if (std::memcmp(place, &patch->patched[skipped], end - from) != 0) continue;
    std::memcpy(place, &patch->original[skipped], end - from);
  }
}

}  // namespace sandbox
