// ptrace(2) requests, typed. All must be made by the tracer thread and need a stopped tracee; ESRCH means that it was
// killed meanwhile and that its exit status is on the way.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "platform/arch/registers.h"

namespace sandbox::platform::ptrace {

Result<void> Seize(pid_t tid);
Result<void> InterruptTracee(pid_t tid);
Result<void> GetRegisters(pid_t tid, arch::Registers& regs);
Result<void> SetRegisters(pid_t tid, const arch::Registers& regs);
Result<void> GetSiginfo(pid_t tid, siginfo_t& info);
// True when the call of the current syscall stop was made by the 64-bit convention.
Result<bool> IsNativeSyscall(pid_t tid);
// Resume guest code: its next system call stops instead of reaching the host. Never delivers a signal.
Result<void> ResumeGuest(pid_t tid);
// Resume stub code: its system calls are executed.
Result<void> ResumeStub(pid_t tid);

// Extended state in the kernel's uncompacted XSAVE layout.
Result<std::vector<uint8_t>> GetXstate(pid_t tid);
Result<void> SetXstate(pid_t tid, std::vector<uint8_t>& state);

}  // namespace sandbox::platform::ptrace
