// System V semaphores (semop(2)): sets whose operations happen all at once or not at all.
#pragma once

#include <sys/sem.h>

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "sentry/core/wait_queue.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/kernel/sysv_ipc.h"

namespace sandbox {

class SemaphoreSet {
 public:
  static constexpr int kMaxValue = 32767;          // SEMVMX
  static constexpr size_t kMaxSemaphores = 32000;  // SEMMSL
  static constexpr size_t kMaxOperations = 500;    // SEMOPM

  // `all` counts the semaphores of the namespace.
  SemaphoreSet(size_t count, std::shared_ptr<std::atomic<size_t>> all);
  ~SemaphoreSet() { all_->fetch_sub(count_, std::memory_order_relaxed); }

  size_t count() const { return count_; }
  // Tries all of `operations`: EAGAIN when the caller has to wait, for *blocking; EIDRM, ERANGE.
  Result<void> Try(std::span<const sembuf> operations, int32_t pid, const sembuf** blocking);
  // Tries, then waits as semop(2) does.
  Result<void> Operate(Context& context, std::span<const sembuf> operations, const Deadline& deadline);

  struct Semaphore {
    int value = 0;
    int32_t pid = 0;
    int waiting_for_more = 0, waiting_for_zero = 0;
  };
  Result<Semaphore> Get(size_t index) const;  // EINVAL
  std::vector<Semaphore> GetAll() const;
  // SETVAL, SETALL: ERANGE. They clear undo values.
  Result<void> Set(size_t index, int value, int32_t pid);
  Result<void> SetAll(std::span<const uint16_t> values, int32_t pid);
  // IPC_RMID: waiters get EIDRM.
  void Destroy();
  // Applies what SEM_UNDO of process `pid` asks for, at its end.
  void Undo(int32_t pid);
  int64_t operation_time() const;
  int64_t change_time() const;
  void Changed();

  IpcPermissions permissions;  // the table's lock
  int id = 0;

 private:
  Result<void> Apply(std::span<const sembuf> operations, int32_t pid, const sembuf** blocking) REQUIRES(mu_);
  void CountWaiter(const sembuf* blocking, int delta);  // nothing for null

  const size_t count_;
  const std::shared_ptr<std::atomic<size_t>> all_;
  mutable Mutex mu_{LockRank::kIpc};
  std::vector<Semaphore> semaphores_ GUARDED_BY(mu_);
  std::map<int32_t, std::map<uint16_t, int>> undo_ GUARDED_BY(mu_);  // by process and semaphore
  bool destroyed_ GUARDED_BY(mu_) = false;
  int64_t operation_time_ GUARDED_BY(mu_) = 0, change_time_ GUARDED_BY(mu_) = 0;
  WaitQueue queue_;
};

class SemTable final : public IpcTable<SemaphoreSet> {
 public:
  static constexpr size_t kMaxSets = 32000;       // SEMMNI
  static constexpr size_t kMaxInAll = 1'000'000;  // SEMMNS; Linux's default would let a guest take gigabytes
  SemTable() : IpcTable(kMaxSets) {}
  // /proc/sys/kernel/sem, with most() as the fourth.
  std::atomic<size_t> per_set{SemaphoreSet::kMaxSemaphores}, in_all{kMaxInAll},
      operations{SemaphoreSet::kMaxOperations};
  static RefPtr<SemTable> Of(IpcNamespace& ipc);
  Result<int> Get(Context& context, int32_t key, int count, int flags);
  // A process ended: what it did with SEM_UNDO is undone.
  static void ProcessEnded(IpcNamespace& ipc, int32_t pid);

 private:
  const std::shared_ptr<std::atomic<size_t>> all_ = std::make_shared<std::atomic<size_t>>(0);
};

}  // namespace sandbox
