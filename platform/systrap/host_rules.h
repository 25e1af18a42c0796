// The host system calls that only this platform makes in the sentry process once guests run. Threads, memory, futexes,
// sockets and clocks it uses as the rest of the sentry does, under the sentry's own rules. Process creation is not
// among them: the zygote is forked before confinement, and its children fork themselves.
#pragma once

#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/host_rule.h"

namespace sandbox::platform::systrap {

inline constexpr HostRule kHostRules[] = {
    {SYS_ioctl, "SECCOMP_IOCTL_NOTIF_*: notifications, answers, descriptors, wake-ups; any size", 1, 0xff00, '!' << 8},
    {SYS_kill, "ending stubs"},
    {SYS_waitid, "deaths of stubs"},
    {SYS_process_vm_readv, "guest memory"},
    {SYS_process_vm_writev, "guest memory"},
    {SYS_socketpair, "the socket of a fresh stub", 0, ~uint64_t{0}, AF_UNIX},
    {SYS_sched_getscheduler, "guest threads under a shared watch"},
    {SYS_sched_setscheduler, "guest threads under a shared watch", 1, ~uint64_t{0}, SCHED_BATCH},
    {SYS_sched_setscheduler, "and after it", 1, ~uint64_t{0}, SCHED_OTHER},
};

}  // namespace sandbox::platform::systrap
