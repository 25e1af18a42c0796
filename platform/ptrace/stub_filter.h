// The seccomp filter of guest processes: a second fence behind PTRACE_SYSEMU.
//
// On Linux a system call under PTRACE_SYSEMU is turned away before seccomp looks at it (kernel/entry/common.c,
// syscall_trace_enter), so the guest's own calls never meet this filter; only injected ones do. Were the tracer ever
// to resume guest code by mistake without SYSEMU, the guest could only do to itself what is listed here.
#pragma once

#include <linux/filter.h>

#include <span>

namespace sandbox::platform::ptrace {

std::span<const sock_filter> StubFilter();

}  // namespace sandbox::platform::ptrace
