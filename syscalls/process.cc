// clone(2), clone3(2), fork(2), vfork(2), unshare(2), setns(2), exit(2), exit_group(2), set_tid_address(2).
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>

#include <cstring>

#include "sentry/kernel/pidfd.h"
#include "sentry/kernel/ptrace_access.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/task_namespaces.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// Order of arguments of x86-64.
Result<int32_t> SysClone(Task& task, uint64_t flags, GuestAddr stack, GuestAddr parent_tid, GuestAddr child_tid,
                         uint64_t tls) {
  CloneArgs args;
  args.exit_signal = static_cast<int>(flags & CSIGNAL);
  args.flags = static_cast<uint32_t>(flags) & ~uint64_t{CSIGNAL};
  args.stack = stack;
  args.parent_tid = parent_tid;
  args.child_tid = child_tid;
  args.tls = tls;
  // clone(2) has one pointer for both.
  if ((args.flags & CLONE_PIDFD) && (args.flags & CLONE_PARENT_SETTID)) return Err(EINVAL);
  args.pidfd = parent_tid;
  return task.Clone(args);
}
SYSCALL_ROW(clone, Lane::kFull, Support::kFull, SysClone, "no time namespaces, as CONFIG_TIME_NS=n");

// Reads a growing structure (Linux: copy_struct_from_user): E2BIG when bytes we do not know are not zero.
Result<void> ReadExtensible(Task& task, GuestAddr addr, uint64_t size, void* to, size_t known) {
  TRY(task.memory().Read(addr, to, std::min<uint64_t>(size, known)));
  if (size <= known) return {};
  std::vector<uint8_t> rest(size - known);
  TRY(task.memory().Read(addr + known, rest.data(), rest.size()));
  for (const uint8_t byte : rest) {
    if (byte != 0) return Err(E2BIG);
  }
  return {};
}

Result<int32_t> SysClone3(Task& task, GuestAddr addr, uint64_t size) {
  if (size > kPageSize) return Err(E2BIG);
  if (size < CLONE_ARGS_SIZE_VER0) return Err(EINVAL);
  clone_args in = {};
  TRY(ReadExtensible(task, addr, size, &in, sizeof(in)));
  if ((in.set_tid == 0) != (in.set_tid_size == 0) || in.set_tid_size > 32) return Err(EINVAL);
  if (in.exit_signal & ~uint64_t{CSIGNAL} || (in.exit_signal != 0 && !ValidSignal(static_cast<int>(in.exit_signal)))) {
    return Err(EINVAL);
  }
  if (in.flags & ~uint64_t{0xffffffff} & ~(CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP)) return Err(EINVAL);
  if (in.flags & (CLONE_DETACHED | (CSIGNAL & ~CLONE_NEWTIME))) return Err(EINVAL);
  if ((in.flags & (CLONE_THREAD | CLONE_PARENT)) && in.exit_signal != 0) return Err(EINVAL);
  if ((in.stack == 0) != (in.stack_size == 0)) return Err(EINVAL);
  if (in.flags & CLONE_INTO_CGROUP) {
    if (in.cgroup > INT32_MAX || size < CLONE_ARGS_SIZE_VER2) return Err(EINVAL);
    TRY(task.fds().Get(Fd(static_cast<int32_t>(in.cgroup))));
    return Err(EBADF);  // no descriptor is a group that a task can be put into
  }
  CloneArgs args;
  args.flags = in.flags;
  args.exit_signal = static_cast<int>(in.exit_signal);
  if (in.stack != 0) args.stack = TRY(GuestAddr(in.stack).Add(in.stack_size));
  args.parent_tid = GuestAddr(in.parent_tid);
  args.child_tid = GuestAddr(in.child_tid);
  args.pidfd = GuestAddr(in.pidfd);
  args.tls = in.tls;
  if (in.set_tid_size != 0) {
    args.set_tid = TRY(InPtr<int32_t>(GuestAddr(in.set_tid)).ReadArray(task.memory(), in.set_tid_size));
  }
  return task.Clone(args);
}
SYSCALL_ROW(clone3, Lane::kFull, Support::kPartial, SysClone3, "no CLONE_INTO_CGROUP");

Result<int32_t> SysFork(Task& task) { return task.Clone({.exit_signal = SIGCHLD}); }
SYSCALL_ROW(fork, Lane::kFull, Support::kFull, SysFork, "");

Result<int32_t> SysVfork(Task& task) { return task.Clone({.flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD}); }
SYSCALL_ROW(vfork, Lane::kFull, Support::kFull, SysVfork, "");

Result<void> SysUnshare(Task& task, uint64_t flags) { return task.Unshare(flags); }
SYSCALL_ROW(unshare, Lane::kFull, Support::kFull, SysUnshare, "no time namespaces, as CONFIG_TIME_NS=n");

// Those of a process that `flags` names.
Result<std::vector<NamespaceRef>> NamespacesOfProcess(Task& task, Fd pidfd, uint32_t flags) {
  if (flags == 0 || (flags & ~kNewNamespaces)) return Err(EINVAL);
  const TaskRef target = TRY(GroupOfPidFd(task, pidfd))->leader();
  if (target == nullptr) return Err(ESRCH);
  TRY(MayInspect(task, *target, true));
  std::vector<NamespaceRef> which;
  for (uint32_t rest = flags; rest != 0; rest &= rest - 1) {
    NamespaceRef found = NamespaceOf(*target, static_cast<int>(rest & -rest));
    if (found == nullptr) return Err(ESRCH);
    which.push_back(std::move(found));
  }
  return which;
}

Result<void> SysSetns(Task& task, Fd fd, int type) {
  const FileRef file = TRY(task.fds().Get(fd));
  NamespaceRef which = NamespaceOfFile(*file);
  if (which == nullptr) {
    if (!GroupOfPidFd(task, fd).ok()) return Err(EINVAL);
    return JoinNamespaces(task, TRY(NamespacesOfProcess(task, fd, static_cast<uint32_t>(type))));
  }
  if (type != 0 && type != which->kind()) return Err(EINVAL);
  return JoinNamespaces(task, {std::move(which)});
}
SYSCALL_ROW(setns, Lane::kShort, Support::kFull, SysSetns, "");

Result<void> SysExit(Task& task, int status) {
  task.Exit((status & 0xff) << 8);
  return {};
}
SYSCALL_ROW(exit, Lane::kFull, Support::kFull, SysExit, "");

Result<void> SysExitGroup(Task& task, int status) {
  task.ExitGroup((status & 0xff) << 8);
  return {};
}
SYSCALL_ROW(exit_group, Lane::kFull, Support::kFull, SysExitGroup, "");

Result<int32_t> SysSetTidAddress(Task& task, GuestAddr addr) {
  task.clear_child_tid.store(addr.value());
  return task.pid()->own();
}
// It traps because stubs answer it in the trap.
SYSCALL_ROW(set_tid_address, Lane::kFull, Support::kFull, SysSetTidAddress, "");

}  // namespace
}  // namespace sandbox::syscalls
