// The host system calls that only this platform makes in the sentry process once guests run. Threads, memory, futexes,
// sockets and clocks it uses as the rest of the sentry does, under the sentry's own rules. Process creation is not
// among them: the zygote is forked before confinement, and its children fork themselves.
#pragma once

#include <sys/syscall.h>

#include "base/host_rule.h"

namespace sandbox::platform::ptrace {

inline constexpr HostRule kHostRules[] = {
    {SYS_ptrace, "the tracer thread's requests; PTRACE_SEIZE for the zygote only"},
    {SYS_wait4, "stops and deaths of guest threads"},
    {SYS_kill, "killing strays and, at the end, every guest process"},
    {SYS_process_vm_readv, "guest memory"},
    {SYS_process_vm_writev, "guest memory"},
};

}  // namespace sandbox::platform::ptrace
