// The host system calls this platform makes in the sentry process once guests run, for the sentry's own filter: those
// that are its own. Threads, memory and futexes it needs as the rest of the sentry does, under the sentry's rules.
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
    {SYS_rt_sigprocmask, "pthread_sigmask of the tracer"},
    {SYS_kill, "killing strays and, at the end, every guest process"},
    {SYS_process_vm_readv, "guest memory"},
    {SYS_process_vm_writev, "guest memory"},
    {SYS_sendmsg, "descriptors of file mappings, to the platform's own socket"},
    {SYS_recvmsg, "taking back descriptors that no guest thread took"},
    {SYS_clock_gettime, "CPU clocks of guest processes"},
    {SYS_getpid, "start of the tracer"},
    {SYS_gettid, "start of the tracer"},
};

}  // namespace sandbox::platform::ptrace
