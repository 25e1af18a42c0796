// seccomp(2).
#include "syscalls/seccomp.h"

#include <linux/seccomp.h>

#include "sentry/kernel/seccomp_notify.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// struct sock_fprog.
struct GuestProgram {
  uint16_t length;
  uint16_t pad[3];
  uint64_t instructions;
};

constexpr uint64_t kTsync = SECCOMP_FILTER_FLAG_TSYNC, kNewListener = SECCOMP_FILTER_FLAG_NEW_LISTENER,
                   kTsyncEsrch = SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
                   kWaitKillable = SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
constexpr uint64_t kFilterFlags =
    kTsync | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW | kNewListener | kTsyncEsrch | kWaitKillable;

Result<int64_t> SetFilter(Task& task, uint64_t flags, GuestAddr addr) {
  if (flags & ~kFilterFlags) return Err(EINVAL);
  // A descriptor and a thread's id cannot both be the answer.
  if ((flags & kTsync) && (flags & kNewListener) && !(flags & kTsyncEsrch)) return Err(EINVAL);
  if ((flags & kWaitKillable) && !(flags & kNewListener)) return Err(EINVAL);
  const GuestProgram program = TRY(InPtr<GuestProgram>(addr).Read(task.memory()));
  if (program.length == 0 || program.length > kMaxSeccompInsns) return Err(EINVAL);
  auto instructions = TRY(InPtr<sock_filter>(GuestAddr(program.instructions)).ReadArray(task.memory(), program.length));
  return InstallSeccompFilter(task, flags, std::move(instructions));
}

Result<int64_t> GetActionAvailable(Task& task, GuestAddr addr) {
  switch (TRY(InPtr<uint32_t>(addr).Read(task.memory()))) {
    case SECCOMP_RET_KILL_PROCESS:
    case SECCOMP_RET_KILL_THREAD:
    case SECCOMP_RET_TRAP:
    case SECCOMP_RET_ERRNO:
    case SECCOMP_RET_USER_NOTIF:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_ALLOW:
      return 0;
    default:
      return Err(EOPNOTSUPP);
  }
}

Result<int64_t> SysSeccomp(Task& task, uint32_t operation, uint32_t flags, GuestAddr args) {
  switch (operation) {
    case SECCOMP_SET_MODE_STRICT:
      if (flags != 0 || !args.IsNull()) return Err(EINVAL);
      TRY(EnterSeccompStrict(task));
      return 0;
    case SECCOMP_SET_MODE_FILTER:
      return SetFilter(task, flags, args);
    case SECCOMP_GET_ACTION_AVAIL:
      if (flags != 0) return Err(EINVAL);
      return GetActionAvailable(task, args);
    case SECCOMP_GET_NOTIF_SIZES: {
      if (flags != 0) return Err(EINVAL);
      const seccomp_notif_sizes sizes = {sizeof(seccomp_notif), sizeof(seccomp_notif_resp), sizeof(seccomp_data)};
      TRY(OutPtr<seccomp_notif_sizes>(args).Write(task.memory(), sizes));
      return 0;
    }
    default:
      return Err(EINVAL);
  }
}
SYSCALL_ROW(seccomp, Lane::kShort, Support::kFull, SysSeccomp, "");

}  // namespace

Result<int64_t> SetSeccompMode(Task& task, uint64_t mode, GuestAddr program) {
  switch (mode) {
    case SECCOMP_MODE_STRICT:
      TRY(EnterSeccompStrict(task));
      return 0;
    case SECCOMP_MODE_FILTER:
      return SetFilter(task, 0, program);
    default:
      return Err(EINVAL);
  }
}

}  // namespace sandbox::syscalls
