#include "sentry/fs/gofer/prepared.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>

namespace sandbox {
namespace {

int64_t NowNs() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

}  // namespace

PreparedFiles::~PreparedFiles() {
  for (Pool& pool : pools_) {
    if (pool.arriving != nullptr) (void)client_.FinishTmpfile(std::move(pool.arriving)).ok();
  }
}

PreparedFiles::Pool* PreparedFiles::Find(const Kind& kind, Files& dropped) {
  Pool* oldest = nullptr;
  for (Pool& pool : pools_) {
    if (pool.kind == kind) return &pool;
    if (!pool.asked && (oldest == nullptr || pool.used_ns < oldest->used_ns)) oldest = &pool;
  }
  if (oldest == nullptr) return nullptr;
  dropped = std::move(oldest->files);
  *oldest = Pool{.kind = kind};
  return oldest;
}

std::optional<GoferUnnamed> PreparedFiles::Take(const Kind& kind, gofer::Handle dir) {
  const int64_t now = NowNs();
  Files dropped;  // closed after the lock is released
  std::optional<GoferUnnamed> taken;
  std::unique_ptr<GoferCall> arriving;
  Pool* pool;
  size_t count;
  {
    MutexLock lock(mu_);
    pool = refused_ ? nullptr : Find(kind, dropped);
    if (pool == nullptr) return std::nullopt;
    pool->series = now - pool->used_ns > kPauseNs ? 1 : pool->series + 1;
    pool->used_ns = now;
    while (!pool->files.empty() && now - pool->files.front().made_ns > kMaxAgeNs) {
      dropped.push_back(std::move(pool->files.front()));
      pool->files.pop_front();
      pool->batch = 0;
    }
    if (!pool->files.empty()) {
      taken = std::move(pool->files.front().file);
      pool->files.pop_front();
      if (pool->asked || pool->files.size() > pool->batch / 2) return taken;
    } else if (pool->asked) {
      // Null: another thread is at it, and this one does without.
      arriving = std::move(pool->arriving);
      if (arriving == nullptr) return std::nullopt;
    } else if (pool->series < kSeries) {
      return std::nullopt;
    }
    count = pool->batch = std::clamp(2 * pool->batch, kFirstBatch, gofer::kMaxDescriptors);
    pool->asked = true;
    if (arriving == nullptr) pool->asked_ns = now;
  }
  // `asked` keeps the pool this thread's.
  if (arriving == nullptr) arriving = Ask(kind, dir, count);
  if (taken) {
    MutexLock lock(mu_);
    pool->arriving = std::move(arriving);
    if (pool->arriving == nullptr) pool->asked = false;
    return taken;
  }
  TakeIn(*pool, std::move(arriving));
  MutexLock lock(mu_);
  if (!(pool->kind == kind) || pool->files.empty()) return std::nullopt;
  taken = std::move(pool->files.front().file);
  pool->files.pop_front();
  return taken;
}

std::unique_ptr<GoferCall> PreparedFiles::Ask(const Kind& kind, gofer::Handle dir, size_t count) {
  const gofer::CreateRequest what{0, S_IFREG | kind.mode, kind.uid, kind.gid, O_RDWR};
  return client_.BeginTmpfile(dir, what, count);
}

void PreparedFiles::TakeIn(Pool& pool, std::unique_ptr<GoferCall> call) {
  auto made = call != nullptr ? client_.FinishTmpfile(std::move(call)) : Result<GoferUnnamedFiles>(Err(EAGAIN));
  const int64_t now = NowNs();
  MutexLock lock(mu_);
  pool.asked = false;
  if (!made.ok()) {
    // EISDIR: from kernels and file systems that take O_TMPFILE for the directory it names.
    refused_ = refused_ || made.Is(EOPNOTSUPP) || made.Is(EISDIR);
    pool.batch = 0;
    return;
  }
  if (now - pool.asked_ns > kMaxAgeNs) return;
  for (GoferUnnamed& file : made->files) pool.files.push_back({pool.asked_ns, std::move(file)});
}

}  // namespace sandbox
