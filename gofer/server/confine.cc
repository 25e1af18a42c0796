// What the gofer gives up before it reads the first request.

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <initializer_list>
#include <memory>

#include "base/log.h"
#include "gofer/server/host_fs.h"
#include "gofer/server/main.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

namespace sandbox::gofer {
namespace {

// An empty root that needs no mount: a child that shares our root changes it to its own /proc/<pid>/fdinfo and dies,
// which leaves a directory that exists and is empty for ever. Every later path from "/" leads nowhere.
Result<void> EnterEmptyRoot() {
  const long child = ::syscall(SYS_clone, CLONE_FS | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (child < 0) return LastErrno();
  if (child == 0) {
    if (::chroot("/proc/self/fdinfo") != 0 || ::chdir("/") != 0) ::_exit(errno & 0xff);
    ::_exit(0);
  }
  int status = 0;
  if (::waitpid(static_cast<pid_t>(child), &status, 0) != child) return LastErrno();
  if (!WIFEXITED(status)) return Err(EIO);
  if (WEXITSTATUS(status) != 0) return Err(WEXITSTATUS(status));
  return {};
}

// What acting as the owner of the container's files takes, and nothing else.
constexpr uint64_t kKeep = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER | 1ull << CAP_FSETID;

Result<void> DropCapabilities(uint64_t kept) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  TRY(HostResult(::syscall(SYS_capget, &header, data)));
  // The bounding set first: dropping from it needs CAP_SETPCAP. Without that there is nothing to gain it back by.
  for (int cap = 0; cap <= CAP_LAST_CAP; ++cap) {
    if (!(kept >> cap & 1)) (void)::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
  }
  (void)::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (int word = 0; word < 2; ++word) {
    const uint32_t keep = static_cast<uint32_t>(kept >> (32 * word));
    data[word].permitted &= keep;
    data[word].effective = data[word].permitted;
    data[word].inheritable = 0;
  }
  TRY(HostResult(::syscall(SYS_capset, &header, data)));
  return {};
}

using Filter = std::unique_ptr<void, decltype(&seccomp_release)>;

// libseccomp reports -errno.
Result<void> Check(int rc) {
  if (rc < 0) return Err(-rc);
  return {};
}

Result<void> AllowPlain(scmp_filter_ctx filter) {
  static constexpr int kCalls[] = {
      // the connection and memory
      SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(munmap), SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(mremap),
      SCMP_SYS(close), SCMP_SYS(fcntl), SCMP_SYS(write), SCMP_SYS(read),
      // threads, and dying with a message
      SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
      SCMP_SYS(rt_sigaction), SCMP_SYS(sched_yield), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(gettid),
      SCMP_SYS(getpid), SCMP_SYS(restart_syscall), SCMP_SYS(getrandom), SCMP_SYS(clock_gettime),
      SCMP_SYS(sched_getaffinity), SCMP_SYS(getcpu), SCMP_SYS(poll),
      // files; openat is below
      SCMP_SYS(openat2), SCMP_SYS(statx), SCMP_SYS(newfstatat), SCMP_SYS(fstat), SCMP_SYS(fstatfs), SCMP_SYS(lseek),
      SCMP_SYS(readlinkat), SCMP_SYS(getdents64), SCMP_SYS(fchmod), SYS_fchmodat2, SCMP_SYS(fchownat),
      SCMP_SYS(utimensat), SCMP_SYS(ftruncate), SCMP_SYS(mkdirat), SCMP_SYS(symlinkat), SCMP_SYS(linkat),
      SCMP_SYS(unlinkat), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(fsync), SCMP_SYS(fgetxattr),
      SCMP_SYS(fsetxattr), SCMP_SYS(flistxattr), SCMP_SYS(fremovexattr)};
  for (const int nr : kCalls) TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 0)));
  return {};
}

Result<void> AllowChecked(scmp_filter_ctx filter) {
  // The pid namespace may be the host's.
  const auto own = static_cast<scmp_datum_t>(::getpid());
  TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0_32(SCMP_CMP_EQ, own))));
  // Only the re-open of our own descriptors. Paths go through openat2, whose flags OpenIn sets.
  const auto reopen = static_cast<scmp_datum_t>(ReopenDir().get());
  TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, SCMP_A0_32(SCMP_CMP_EQ, reopen))));
  TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX))));
  for (const int nr : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    const auto no_exec = SCMP_A2_32(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 1, no_exec)));
  }
  // Of the calling thread.
  TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sched_setaffinity), 1, SCMP_A0_32(SCMP_CMP_EQ, 0))));
  // Threads only. clone3 keeps its flags in memory, so it is refused and the C library falls back to clone.
  constexpr scmp_datum_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
  constexpr scmp_datum_t kRefused = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                                    CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_PTRACE | CLONE_UNTRACED;
  const auto thread = SCMP_A0_64(SCMP_CMP_MASKED_EQ, kThread | kRefused, kThread);
  TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, thread)));
  TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0)));
  // Placeholders and whiteouts; never a block device.
  for (const scmp_datum_t type : {S_IFIFO, S_IFSOCK}) {
    const auto is = SCMP_A2_32(SCMP_CMP_MASKED_EQ, S_IFMT, type);
    TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 1, is)));
  }
  TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mknodat), 2,
                             SCMP_A2_32(SCMP_CMP_MASKED_EQ, S_IFMT, S_IFCHR), SCMP_A3_32(SCMP_CMP_EQ, 0))));
  // glibc asks for the stack limit when it makes a thread; setting one is not needed.
  TRY(Check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, SCMP_A2_64(SCMP_CMP_EQ, 0))));
  return {};
}

Result<void> InstallFilter(bool low_ports) {
  Filter filter(seccomp_init(SCMP_ACT_KILL_PROCESS), &seccomp_release);
  if (filter == nullptr) return Err(ENOMEM);
  TRY(AllowPlain(filter.get()));
  TRY(AllowChecked(filter.get()));
  if (low_ports) TRY(Check(seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(bind), 0)));
  TRY(Check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_NNP, 1)));
  // About 60 calls: a tree of comparisons instead of a list.
  TRY(Check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2)));
  return Check(seccomp_load(filter.get()));
}

}  // namespace

Result<void> Confine(RootPolicy policy, bool low_ports) {
  TRY(InitReopen());
  ::umask(0);  // modes arrive masked by the guest's umask
  if (const auto root = policy == RootPolicy::kKeep ? Result<void>() : EnterEmptyRoot(); !root.ok()) {
    if (policy == RootPolicy::kEmpty) return root;
    // Without CAP_SYS_CHROOT. The starter's mount namespace and the filter still hold: no path from "/" is ever used.
    LOGF(kWarning, "gofer: no empty root: errno %d", root.error().value());
  }
  TRY(DropCapabilities(low_ports ? kKeep | 1ull << CAP_NET_BIND_SERVICE : kKeep));
  TRY(HostResult(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)));
  TRY(HostResult(::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)));
  return InstallFilter(low_ports);
}

}  // namespace sandbox::gofer
