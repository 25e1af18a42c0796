// /proc/sysvipc (proc(5)): the System V IPC objects of the reader's namespace that it may read
// (Linux: sysvipc_msg_proc_show and its kin). ipcs(1) reads these.
#include "base/log.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/sysv_msg.h"
#include "sentry/kernel/sysv_sem.h"
#include "sentry/kernel/sysv_shm.h"

namespace sandbox::proc {
namespace {

using synthetic::AddDirectory;
using synthetic::MakeText;

std::string Owner(const IpcPermissions& permissions) {
  return StrPrintf("%5u %5u %5u %5u", permissions.uid, permissions.gid, permissions.cuid, permissions.cgid);
}

// One line for each object of T's table; `line` gets a copy of its permissions.
template <typename Table, typename Line>
std::string Lines(Context& context, Line line) {
  const Task* caller = Task::Of(context);
  if (caller == nullptr) return {};
  const auto table = Table::Of(*caller->ipc());
  std::string text;
  for (const auto& object : table->All()) {
    const IpcPermissions permissions = table->WithLock([&] { return object->permissions; });
    text += line(*object, permissions);
  }
  return text;
}

Result<std::string> Msg(Context& context) {
  return "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid   "
         "   stime      rtime      ctime\n" +
         Lines<MessageTable>(context, [](const MessageQueue& queue, const IpcPermissions& permissions) {
           const MessageQueue::State state = queue.state();
           return StrPrintf("%10d %10d  %4o  %10llu %10llu %5d %5d ", permissions.key, queue.id, permissions.mode,
                            static_cast<unsigned long long>(state.bytes),
                            static_cast<unsigned long long>(state.messages), state.last_sender, state.last_receiver) +
                  Owner(permissions) +
                  StrPrintf(" %10lld %10lld %10lld\n", static_cast<long long>(state.send_time),
                            static_cast<long long>(state.receive_time), static_cast<long long>(state.change_time));
         });
}

Result<std::string> Sem(Context& context) {
  return "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n" +
         Lines<SemTable>(context, [](const SemaphoreSet& set, const IpcPermissions& permissions) {
           return StrPrintf("%10d %10d  %4o %10zu ", permissions.key, set.id, permissions.mode, set.count()) +
                  Owner(permissions) +
                  StrPrintf(" %10lld %10lld\n", static_cast<long long>(set.operation_time()),
                            static_cast<long long>(set.change_time()));
         });
}

Result<std::string> Shm(Context& context) {
  return "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  "
         "cgid      atime      dtime"
         "      ctime                   rss                  swap\n" +
         Lines<ShmTable>(context, [](const ShmSegment& segment, const IpcPermissions& permissions) {
           const uint32_t mode = permissions.mode | (segment.destroyed.load() ? 01000u : 0u);  // SHM_DEST
           return StrPrintf("%10d %10d  %4o %21llu %5d %5d  %5d ", permissions.key, segment.id, mode,
                            static_cast<unsigned long long>(segment.size()), segment.creator_pid,
                            segment.last_pid.load(), segment.attached.load()) +
                  Owner(permissions) +
                  StrPrintf(" %10lld %10lld %10lld %21llu %21llu\n", static_cast<long long>(segment.attach_time.load()),
                            static_cast<long long>(segment.detach_time.load()),
                            static_cast<long long>(segment.change_time.load()),
                            static_cast<unsigned long long>(segment.resident_pages() * kPageSize), 0ULL);
         });
}

}  // namespace

void AddSysvipc(Fs& fs, synthetic::StaticDirectory& root) {
  const auto directory = AddDirectory(fs, root, "sysvipc");
  directory->Add("msg", MakeText(fs, &Msg));
  directory->Add("sem", MakeText(fs, &Sem));
  directory->Add("shm", MakeText(fs, &Shm));
}

}  // namespace sandbox::proc
