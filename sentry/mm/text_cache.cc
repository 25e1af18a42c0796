#include "sentry/mm/text_cache.h"

#include <algorithm>
#include <ctime>

#include "base/guest_addr.h"
#include "base/log.h"

namespace sandbox {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
// Coarser than the time stamps of any file system.
constexpr int64_t kSettleTime = 2 * kSecond;

constexpr uint64_t kMinZone = 64 << 10;
constexpr uint64_t kMaxZone = 1 << 20;
// Bytes of image for each byte of zone. The C library has a site in 2.6 KiB and needs some 30 bytes for each.
constexpr uint64_t kImagePerZone = 32;

// Measured on the C library, 1.4 MB with 500 sites: 4 ms and 1 ms for the copy, against some 5 µs saved by each call.
constexpr uint64_t kWorthBase = 64;
constexpr uint64_t kBytesPerCall = 8 << 10;

int64_t Nanoseconds(const timespec& time) { return time.tv_sec * kSecond + time.tv_nsec; }

}  // namespace

Result<FileVersion> FileVersion::Of(BorrowedFd file) {
  struct stat st;
  if (fstat(file.get(), &st) != 0) return LastErrno();
  return FileVersion{st.st_dev, st.st_ino, static_cast<uint64_t>(st.st_size), Nanoseconds(st.st_mtim),
                     Nanoseconds(st.st_ctim)};
}

bool FileVersion::Settled() const {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  // A time in the future says nothing.
  return std::max(modified_ns, changed_ns) + kSettleTime < Nanoseconds(now);
}

uint64_t TextCache::ZoneSize(uint64_t image_bytes) {
  const uint64_t wanted = (image_bytes / kImagePerZone + kMinZone - 1) / kMinZone * kMinZone;
  return std::clamp(wanted, kMinZone, kMaxZone);
}

uint64_t TextCache::WorthAfter(uint64_t length) { return kWorthBase + length / kBytesPerCall; }

RefPtr<const TextCopy> CachedText::copy() const {
  MutexLock lock(mu_);
  return copy_;
}

RefPtr<CachedText> TextCache::Enter(const TextKey& key) {
  if (key.length == 0 || key.length > kMaxTextLength) return nullptr;
  // Pages behind the end of the file must go on raising SIGBUS.
  if (key.offset > key.file.size || key.length - std::min(key.length, kPageSize) >= key.file.size - key.offset) {
    return nullptr;
  }
  const uint64_t now = clock_.fetch_add(1) + 1;
  RefPtr<CachedText> text;
  MutexLock lock(mu_);
  RefPtr<CachedText>& slot = texts_[key];
  if (slot == nullptr) slot = MakeRef<CachedText>(key);
  slot->last_use_.store(now);
  text = slot;
  if (texts_.size() > kMaxTexts) DropUnused();
  return text;
}

RefPtr<const TextCopy> TextCache::NoteSlowCall(CachedText& text, BorrowedFd file) {
  const uint64_t calls = text.slow_calls_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (text.settled_.load(std::memory_order_acquire)) return text.copy();
  if (calls < WorthAfter(text.key().length)) return nullptr;
  if (!text.key().file.Settled()) return nullptr;
  if (text.settled_.exchange(true)) return text.copy();
  {
    // Guests that map ever more texts may use up the memory, but no more of it.
    MutexLock lock(mu_);
    uint64_t bytes = 0;
    for (const auto& [key, other] : texts_) {
      if (const auto made = other->copy()) bytes += made->bytes();
    }
    if (bytes > kMaxBytes) return nullptr;
  }
  auto copy = TextCopy::Make(rewriter_, text.key(), file);
  if (!copy.ok()) {
    LOGF(kDebug, "text of %llu bytes at %llu is not rewritten: errno %d",
         static_cast<unsigned long long>(text.key().length), static_cast<unsigned long long>(text.key().offset),
         copy.error().value());
    return nullptr;
  }
  {
    MutexLock lock(text.mu_);
    text.copy_ = *copy;
  }
  MutexLock lock(mu_);
  DropUnused();
  return *copy;
}

// The least recently mapped go first. Those in use stay: dropping them here would free nothing.
void TextCache::DropUnused() {
  uint64_t bytes = 0;
  std::vector<RefPtr<CachedText>> unused;
  for (const auto& [key, text] : texts_) {
    const auto copy = text->copy();
    if (copy != nullptr) bytes += copy->bytes();
    if (text.use_count() == 1) unused.push_back(text);
  }
  if (bytes <= kMaxBytes && texts_.size() <= kMaxTexts) return;
  std::sort(unused.begin(), unused.end(),
            [](const auto& a, const auto& b) { return a->last_use_.load() < b->last_use_.load(); });
  for (const auto& text : unused) {
    if (bytes <= kMaxBytes && texts_.size() <= kMaxTexts / 2) break;
    const auto copy = text->copy();
    if (copy != nullptr) bytes -= copy->bytes();
    texts_.erase(text->key());
  }
}

}  // namespace sandbox
