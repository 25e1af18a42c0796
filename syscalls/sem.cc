// semget(2), semop(2), semtimedop(2), semctl(2).
#include <sys/sem.h>

#include "sentry/kernel/sysv_sem.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

RefPtr<SemTable> Table(Task& task) { return SemTable::Of(*task.ipc()); }

Result<int> SysSemget(Task& task, int32_t key, int count, int flags) {
  return Table(task)->Get(task, key, count, flags);
}
SYSCALL_ROW(semget, Lane::kShort, Support::kFull, SysSemget, "");

Result<void> Operate(Task& task, int id, InPtr<sembuf> operations, uint64_t count, const Deadline& deadline) {
  if (count == 0) return Err(EINVAL);
  const auto table = Table(task);
  if (count > table->operations.load()) return Err(E2BIG);
  const auto list = TRY(operations.ReadArray(task.memory(), count));
  const auto set = TRY(table->Find(id));
  bool alters = false;
  for (const sembuf& operation : list) {
    if (operation.sem_num >= set->count()) return Err(EFBIG);
    alters |= operation.sem_op != 0;
  }
  TRY(table->WithLock([&] { return CheckIpc(task.creds(), set->permissions, alters ? 0222 : 0444); }));
  return set->Operate(task, list, deadline);
}

Result<void> SysSemop(Task& task, int id, InPtr<sembuf> operations, uint64_t count) {
  return Operate(task, id, operations, count, std::nullopt);
}
SYSCALL_ROW(semop, Lane::kMayBlock, Support::kFull, SysSemop, "");

Result<void> SysSemtimedop(Task& task, int id, InPtr<sembuf> operations, uint64_t count, InPtr<timespec> timeout) {
  if (timeout.IsNull()) return Operate(task, id, operations, count, std::nullopt);
  const timespec ts = TRY(timeout.Read(task.memory()));
  if (!ValidTimespec(ts)) return Err(EINVAL);
  return Operate(task, id, operations, count, DeadlineAfter(ToNs(ts)));
}
SYSCALL_ROW(semtimedop, Lane::kMayBlock, Support::kFull, SysSemtimedop, "");

Result<int> Stat(Task& task, SemTable& table, int id, int command, GuestAddr out) {
  const auto set = TRY(command == IPC_STAT ? table.Find(id) : table.At(id));
  semid_ds info = {};
  TRY(table.WithLock([&]() -> Result<void> {
    if (command != SEM_STAT_ANY) TRY(CheckIpc(task.creds(), set->permissions, 0444));
    CopyPermissions(task.creds(), set->permissions, info.sem_perm);
    return {};
  }));
  info.sem_otime = set->operation_time();
  info.sem_ctime = set->change_time();
  info.sem_nsems = set->count();
  TRY(OutPtr<semid_ds>(out).Write(task.memory(), info));
  return command == IPC_STAT ? 0 : set->id;
}

Result<int> Info(Task& task, SemTable& table, int command, GuestAddr out) {
  seminfo info = {};
  info.semmni = static_cast<int>(table.most());
  info.semmsl = static_cast<int>(table.per_set.load());
  info.semmap = info.semmns = info.semmnu = static_cast<int>(table.in_all.load());
  info.semopm = info.semume = static_cast<int>(table.operations.load());
  info.semvmx = info.semaem = SemaphoreSet::kMaxValue;
  const int highest = std::max(static_cast<int>(table.size()) - 1, 0);
  if (command == SEM_INFO) {
    info.semusz = static_cast<int>(table.size());
    info.semaem = 0;
    for (const auto& set : table.All()) info.semaem += static_cast<int>(set->count());
  }
  TRY(OutPtr<seminfo>(out).Write(task.memory(), info));
  return highest;
}

// The commands about values; `argument` is a value or an array.
Result<int> Values(Task& task, SemaphoreSet& set, int index, int command, uint64_t argument) {
  switch (command) {
    case GETVAL:
      return TRY(set.Get(static_cast<uint32_t>(index))).value;
    case GETPID:
      return TRY(set.Get(static_cast<uint32_t>(index))).pid;
    case GETNCNT:
      return TRY(set.Get(static_cast<uint32_t>(index))).waiting_for_more;
    case GETZCNT:
      return TRY(set.Get(static_cast<uint32_t>(index))).waiting_for_zero;
    case GETALL: {
      std::vector<uint16_t> values;
      for (const auto& semaphore : set.GetAll()) values.push_back(static_cast<uint16_t>(semaphore.value));
      TRY(OutPtr<uint16_t>(GuestAddr(argument)).WriteArray(task.memory(), values));
      return 0;
    }
    case SETVAL:
      TRY(set.Set(static_cast<uint32_t>(index), static_cast<int>(argument), task.tgid()));
      return 0;
    default: {  // SETALL
      const auto values = TRY(InPtr<uint16_t>(GuestAddr(argument)).ReadArray(task.memory(), set.count()));
      TRY(set.SetAll(values, task.tgid()));
      return 0;
    }
  }
}

Result<int> Administer(Task& task, SemTable& table, int id, int command, GuestAddr in) {
  const auto set = TRY(table.Find(id));
  semid_ds wanted = {};
  if (command == IPC_SET) wanted = TRY(InPtr<semid_ds>(in).Read(task.memory()));
  TRY(table.WithLock([&]() -> Result<void> {
    TRY(CheckIpcOwner(task.creds(), set->permissions));
    if (command != IPC_SET) return {};
    TRY(SetPermissions(task.creds(), wanted.sem_perm, set->permissions));
    return {};
  }));
  if (command == IPC_SET) {
    set->Changed();
  } else {
    table.Remove(id);
    set->Destroy();
  }
  return 0;
}

Result<int> SysSemctl(Task& task, int id, int index, int command, uint64_t argument) {
  const auto table = Table(task);
  switch (command) {
    case IPC_INFO:
    case SEM_INFO:
      return Info(task, *table, command, GuestAddr(argument));
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
      return Stat(task, *table, id, command, GuestAddr(argument));
    case IPC_SET:
    case IPC_RMID:
      return Administer(task, *table, id, command, GuestAddr(argument));
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
    case GETALL:
    case SETVAL:
    case SETALL: {
      const auto set = TRY(table->Find(id));
      const uint32_t wanted = command == SETVAL || command == SETALL ? 0222 : 0444;
      TRY(table->WithLock([&] { return CheckIpc(task.creds(), set->permissions, wanted); }));
      return Values(task, *set, index, command, argument);
    }
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(semctl, Lane::kShort, Support::kFull, SysSemctl, "");

}  // namespace
}  // namespace sandbox::syscalls
