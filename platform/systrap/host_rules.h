// The host system calls this platform makes in the sentry process once guests run, for the sentry's own filter.
// Process creation is not among them: the zygote is forked before confinement, and its children fork themselves.
#pragma once

#include <sys/syscall.h>

namespace sandbox::platform::systrap {

struct HostRule {
  int nr;
  const char* why;
};

inline constexpr HostRule kHostRules[] = {
    {SYS_ioctl, "SECCOMP_IOCTL_NOTIF_*: receiving, answering, injecting descriptors, synchronous wake-ups"},
    {SYS_poll, "listeners, in the middle of a round"},
    {SYS_futex, "thread pages; hand-over between workers"},
    {SYS_tgkill, "the control signal"},
    {SYS_kill, "ending stubs"},
    {SYS_waitid, "deaths of stubs"},
    {SYS_process_vm_readv, "guest memory"},
    {SYS_process_vm_writev, "guest memory"},
    {SYS_memfd_create, "thread pages"},
    {SYS_ftruncate, "thread pages"},
    {SYS_mmap, "thread pages, stacks of workers; never PROT_EXEC"},
    {SYS_munmap, "thread pages, stacks of workers"},
    {SYS_mprotect, "stacks of workers; never PROT_EXEC"},
    {SYS_madvise, "stacks of workers"},
    {SYS_close, "descriptors of thread pages and listeners"},
    {SYS_sendmsg, "requests to the zygote"},
    {SYS_recvfrom, "answers of the zygote"},
    {SYS_shutdown, "end of the zygote"},
    {SYS_pidfd_open, "taking over a new stub's listener"},
    {SYS_pidfd_getfd, "taking over a new stub's listener"},
    {SYS_getrandom, "tokens of children"},
    {SYS_clock_gettime, "deadlines; CPU clocks of guest processes"},
    {SYS_nanosleep, "ticks of the slow-handler monitor"},
    {SYS_clock_nanosleep, "the same, as glibc spells it"},
    {SYS_clone, "workers"},
    {SYS_set_robust_list, "workers"},
    {SYS_rseq, "workers"},
    {SYS_rt_sigprocmask, "workers"},
    {SYS_exit, "workers"},
};

}  // namespace sandbox::platform::systrap
