#include "sentry/kernel/sysv_sem.h"

#include <algorithm>

namespace sandbox {
namespace {

int64_t NowSeconds() { return RealtimeNowNs() / 1'000'000'000; }

}  // namespace

SemaphoreSet::SemaphoreSet(size_t count, std::shared_ptr<std::atomic<size_t>> all)
    : count_(count), all_(std::move(all)), semaphores_(count) {
  all_->fetch_add(count_, std::memory_order_relaxed);
  Changed();
}

// On failure nothing has changed: the values are worked out on a copy of what is touched.
Result<void> SemaphoreSet::Apply(std::span<const sembuf> operations, int32_t pid, const sembuf** blocking) {
  if (destroyed_) return Err(EIDRM);
  std::map<uint16_t, int> values, undo;
  const auto old_undo = undo_.find(pid);
  for (const sembuf& operation : operations) {
    const uint16_t index = operation.sem_num;
    int& value = values.try_emplace(index, semaphores_[index].value).first->second;
    *blocking = &operation;
    if (operation.sem_op == 0 ? value != 0 : value + operation.sem_op < 0) return Err(EAGAIN);
    if (value + operation.sem_op > kMaxValue) return Err(ERANGE);
    value += operation.sem_op;
    if (!(operation.sem_flg & SEM_UNDO)) continue;
    const int before = old_undo != undo_.end() && old_undo->second.contains(index) ? old_undo->second.at(index) : 0;
    int& adjustment = undo.try_emplace(index, before).first->second;
    adjustment -= operation.sem_op;
    if (std::abs(adjustment) > kMaxValue) return Err(ERANGE);
  }
  for (const auto& [index, value] : values) {
    semaphores_[index].value = value;
    semaphores_[index].pid = pid;
  }
  if (!undo.empty()) {
    auto& adjustments = undo_[pid];
    for (const auto& [index, adjustment] : undo) adjustments[index] = adjustment;
  }
  operation_time_ = NowSeconds();
  return {};
}

Result<void> SemaphoreSet::Try(std::span<const sembuf> operations, int32_t pid, const sembuf** blocking) {
  {
    MutexLock lock(mu_);
    TRY(Apply(operations, pid, blocking));
  }
  queue_.Notify(kReadable);
  return {};
}

void SemaphoreSet::CountWaiter(const sembuf* blocking, int delta) {
  if (blocking == nullptr) return;
  MutexLock lock(mu_);
  Semaphore& semaphore = semaphores_[blocking->sem_num];
  (blocking->sem_op == 0 ? semaphore.waiting_for_zero : semaphore.waiting_for_more) += delta;
}

Result<void> SemaphoreSet::Operate(Context& context, std::span<const sembuf> operations, const Deadline& deadline) {
  const sembuf* blocking = nullptr;
  auto result = Try(operations, context.tgid(), &blocking);
  if (!result.Is(EAGAIN) || (blocking->sem_flg & IPC_NOWAIT)) return result;
  Waker waker(context);
  queue_.Register(waker, kAllEvents);
  const sembuf* counted = nullptr;  // where this waiter shows in GETNCNT and GETZCNT
  for (;;) {
    result = Try(operations, context.tgid(), &blocking);
    if (!result.Is(EAGAIN) || (blocking->sem_flg & IPC_NOWAIT)) break;
    if (blocking != counted) {
      CountWaiter(counted, -1);
      CountWaiter(blocking, 1);
      counted = blocking;
    }
    if (auto slept = context.Block(deadline); !slept.ok()) {
      // semop(2) is never restarted, and a timeout is EAGAIN.
      result = Err(slept.Is(ETIMEDOUT) ? EAGAIN : EINTR);
      break;
    }
  }
  CountWaiter(counted, -1);
  queue_.Unregister(waker);
  return result;
}

Result<SemaphoreSet::Semaphore> SemaphoreSet::Get(size_t index) const {
  MutexLock lock(mu_);
  if (index >= semaphores_.size()) return Err(EINVAL);
  return semaphores_[index];
}

std::vector<SemaphoreSet::Semaphore> SemaphoreSet::GetAll() const {
  MutexLock lock(mu_);
  return semaphores_;
}

Result<void> SemaphoreSet::Set(size_t index, int value, int32_t pid) {
  {
    MutexLock lock(mu_);
    if (index >= semaphores_.size()) return Err(EINVAL);
    if (value < 0 || value > kMaxValue) return Err(ERANGE);
    semaphores_[index].value = value;
    semaphores_[index].pid = pid;
    for (auto& [owner, adjustments] : undo_) adjustments.erase(static_cast<uint16_t>(index));
    change_time_ = NowSeconds();
  }
  queue_.Notify(kReadable);
  return {};
}

Result<void> SemaphoreSet::SetAll(std::span<const uint16_t> values, int32_t pid) {
  for (const uint16_t value : values) {
    if (value > kMaxValue) return Err(ERANGE);
  }
  {
    MutexLock lock(mu_);
    for (size_t i = 0; i < semaphores_.size() && i < values.size(); ++i) {
      semaphores_[i].value = values[i];
      semaphores_[i].pid = pid;
    }
    undo_.clear();
    change_time_ = NowSeconds();
  }
  queue_.Notify(kReadable);
  return {};
}

void SemaphoreSet::Destroy() {
  {
    MutexLock lock(mu_);
    destroyed_ = true;
  }
  queue_.Notify(kReadable | kEventHup);
}

void SemaphoreSet::Undo(int32_t pid) {
  {
    MutexLock lock(mu_);
    const auto it = undo_.find(pid);
    if (it == undo_.end()) return;
    for (const auto& [index, adjustment] : it->second) {
      semaphores_[index].value = std::clamp(semaphores_[index].value + adjustment, 0, kMaxValue);
      semaphores_[index].pid = pid;
    }
    undo_.erase(it);
    operation_time_ = NowSeconds();
  }
  queue_.Notify(kReadable);
}

int64_t SemaphoreSet::operation_time() const {
  MutexLock lock(mu_);
  return operation_time_;
}

int64_t SemaphoreSet::change_time() const {
  MutexLock lock(mu_);
  return change_time_;
}

void SemaphoreSet::Changed() {
  MutexLock lock(mu_);
  change_time_ = NowSeconds();
}

RefPtr<SemTable> SemTable::Of(IpcNamespace& ipc) {
  return ipc.Table<SemTable>(IpcNamespace::kSem, [] { return MakeRef<SemTable>(); });
}

Result<int> SemTable::Get(Context& context, int32_t key, int count, int flags) {
  if (count < 0 || static_cast<size_t>(count) > per_set.load()) return Err(EINVAL);
  return IpcTable::Get(
      context, key, flags,
      [&]() -> Result<RefPtr<SemaphoreSet>> {
        if (count == 0) return Err(EINVAL);
        const auto wanted = static_cast<size_t>(count);
        if (all_->load() + wanted > in_all.load()) return Err(ENOSPC);
        return MakeRef<SemaphoreSet>(wanted, all_);
      },
      [&](const SemaphoreSet& set) -> Result<void> {
        if (static_cast<size_t>(count) > set.count()) return Err(EINVAL);
        return {};
      });
}

void SemTable::ProcessEnded(IpcNamespace& ipc, int32_t pid) {
  const auto table = ipc.Existing<SemTable>(IpcNamespace::kSem);
  if (table == nullptr) return;
  for (const auto& set : table->All()) set->Undo(pid);
}

}  // namespace sandbox
