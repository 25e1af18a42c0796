// The host system calls this platform makes in the sentry process once guests run, for the sentry's own filter.
// Process creation is not among them: the zygote is forked before confinement, and its children fork themselves.
#pragma once

#include <sys/syscall.h>

namespace sandbox::platform::ptrace {

struct HostRule {
  int nr;
  const char* why;
};

inline constexpr HostRule kHostRules[] = {
    {SYS_ptrace, "the tracer thread's requests; PTRACE_SEIZE for the zygote only"},
    {SYS_wait4, "stops and deaths of guest threads"},
    {SYS_tgkill, "waking the tracer out of wait4 (own process)"},
    {SYS_rt_sigreturn, "end of the wake-up handler"},
    {SYS_rt_sigaction, "installing the wake-up handler, once"},
    {SYS_rt_sigprocmask, "pthread_create, pthread_sigmask"},
    {SYS_kill, "killing strays and, at the end, every guest process"},
    {SYS_futex, "hand-over between tracer and workers"},
    {SYS_process_vm_readv, "guest memory"},
    {SYS_process_vm_writev, "guest memory"},
    {SYS_sendmsg, "descriptors of file mappings, to the platform's own socket"},
    {SYS_recvmsg, "taking back descriptors that no guest thread took"},
    {SYS_clock_gettime, "CPU clocks of guest processes"},
    {SYS_clone, "worker threads"},
    {SYS_clone3, "worker threads"},
    {SYS_set_robust_list, "worker threads"},
    {SYS_rseq, "worker threads"},
    {SYS_mmap, "stacks of worker threads, without PROT_EXEC"},
    {SYS_mprotect, "stacks of worker threads, without PROT_EXEC"},
    {SYS_munmap, "stacks of worker threads"},
    {SYS_madvise, "stacks of worker threads"},
    {SYS_exit, "worker threads"},
    {SYS_prctl, "PR_SET_NAME of threads"},
    {SYS_getpid, "start of the tracer"},
    {SYS_gettid, "start of the tracer"},
};

}  // namespace sandbox::platform::ptrace
