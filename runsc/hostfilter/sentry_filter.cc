#include "runsc/hostfilter/sentry_filter.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "runsc/hostfilter/refused.h"

namespace sandbox::hostfilter {
namespace {

constexpr int kSysCachestat = 451;  // since Linux 6.5; older headers lack it

// Calls whose arguments give no authority beyond descriptors and memory the sentry holds already.
constexpr int kPlainCalls[] = {
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2,
    SYS_pwritev2, SYS_close, SYS_fstat, SYS_lseek, SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_msync, SYS_mincore,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_futex, SYS_exit, SYS_exit_group,
    SYS_set_robust_list, SYS_rseq, SYS_set_tid_address, SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_setaffinity,
    SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_epoll_create1,
    SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_eventfd2, SYS_poll, SYS_ppoll, SYS_recvmsg, SYS_sendmsg,
    SYS_recvfrom, SYS_sendto, SYS_shutdown, SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_tgkill, SYS_ftruncate,
    SYS_fallocate, SYS_dup, SYS_getrandom, SYS_sysinfo, SYS_getrusage, SYS_times, SYS_membarrier, SYS_fsync,
    SYS_fdatasync, SYS_sync_file_range, SYS_copy_file_range, SYS_fadvise64, SYS_getcpu, SYS_restart_syscall, SYS_uname,
    kSysCachestat, SYS_fstatfs, SYS_splice, SYS_getdents64, SYS_timerfd_create, SYS_timerfd_settime, SYS_prlimit64,
    // control connections, from a listener that was donated
    SYS_accept4};

// Terminal and pipe requests on descriptors that were donated as standard streams.
constexpr unsigned long kIoctls[] = {FIONREAD, TCGETS, TCSETS, TCSETSW,  TCSETSF, TIOCGWINSZ,
                                     TCSBRK,   TCFLSH, TCXONC, TIOCOUTQ, FIONBIO, SIOCATMARK};

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_TRAP)) {}
  ~Filter() { seccomp_release(context_); }

  template <typename... Conditions>
  void Allow(int call, Conditions... conditions) {
    const int rc = seccomp_rule_add(context_, SCMP_ACT_ALLOW, call, sizeof...(conditions), conditions...);
    // A call listed twice (by us and by the platform) is no error.
    if (rc != 0 && rc != -EEXIST && error_ == 0) error_ = rc, failed_call_ = call;
  }
  void Allow(const HostRule& rule) {
    if (rule.mask == 0)
      Allow(rule.nr);
    else
      Allow(rule.nr, SCMP_CMP(rule.argument, SCMP_CMP_MASKED_EQ, rule.mask, rule.value));
  }
  // An answer instead of a trap, for calls that glibc tries first and falls back from.
  void Refuse(int call, int err) {
    const int rc = seccomp_rule_add(context_, SCMP_ACT_ERRNO(err), call, 0);
    if (rc != 0 && error_ == 0) error_ = rc, failed_call_ = call;
  }
  absl::Status Load() {
    if (error_ == 0) {
      seccomp_attr_set(context_, SCMP_FLTATR_CTL_TSYNC, 1);
      seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree instead of 80 comparisons
      error_ = seccomp_load(context_);
    }
    if (error_ == 0) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("sentry filter (call ", failed_call_, "): ", std::strerror(-error_)));
  }

 private:
  scmp_filter_ctx context_;
  int error_ = 0;
  int failed_call_ = -1;
};

void AllowMemory(Filter& filter) {
  // No executable memory, ever: neither mapped so nor made so later.
  filter.Allow(SYS_mmap, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  filter.Allow(SYS_mprotect, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  filter.Allow(SYS_memfd_create);
}

void AllowThreads(Filter& filter) {
  // Exactly the flags of pthread_create: threads of our own, never a process.
  constexpr unsigned long kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                                    CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  filter.Allow(SYS_clone, SCMP_A0(SCMP_CMP_EQ, kThread));
  filter.Refuse(SYS_clone3, ENOSYS);  // its flags are in memory, where no filter can see them
  filter.Allow(SYS_prctl, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
}

void AllowDescriptors(Filter& filter) {
  for (const unsigned long request : kIoctls) filter.Allow(SYS_ioctl, SCMP_A1(SCMP_CMP_EQ, request));
  for (const int command : {F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS}) {
    filter.Allow(SYS_fcntl, SCMP_A1(SCMP_CMP_EQ, static_cast<unsigned>(command)));
  }
  filter.Allow(SYS_fcntl, SCMP_A1(SCMP_CMP_EQ, F_SETFL));
  // glibc's fstat: a descriptor, never a path.
  filter.Allow(SYS_newfstatat, SCMP_A3(SCMP_CMP_EQ, AT_EMPTY_PATH));
  filter.Allow(SYS_statx, SCMP_A2(SCMP_CMP_MASKED_EQ, AT_EMPTY_PATH, AT_EMPTY_PATH));
}

void AllowHostNetwork(Filter& filter) {
  filter.Allow(SYS_socket, SCMP_A0(SCMP_CMP_EQ, AF_INET));
  filter.Allow(SYS_socket, SCMP_A0(SCMP_CMP_EQ, AF_INET6));
  for (const int call : {SYS_bind, SYS_connect, SYS_listen, SYS_accept4, SYS_getsockname, SYS_getpeername,
                         SYS_setsockopt, SYS_getsockopt, SYS_sendmmsg, SYS_recvmmsg}) {
    filter.Allow(call);
  }
}

}  // namespace

absl::Status InstallSentryFilter(const SentryFilterOptions& options) {
  if (auto status = ReportRefusedCalls("sentry"); !status.ok()) return status;
  Filter filter;
  for (const int call : kPlainCalls) filter.Allow(call);
  AllowMemory(filter);
  AllowThreads(filter);
  AllowDescriptors(filter);
  // The C library looks into /sys and /etc now and then and copes without.
  filter.Refuse(SYS_openat, EACCES);
  filter.Refuse(SYS_open, EACCES);
  if (options.host_network) AllowHostNetwork(filter);
  for (const HostRule& rule : options.platform_rules) filter.Allow(rule);
  return filter.Load();
}

}  // namespace sandbox::hostfilter
