#include "platform/ptrace/requests.h"

#include <elf.h>
#include <linux/audit.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

#include <cstddef>

namespace sandbox::platform::ptrace {
namespace {

static_assert(sizeof(arch::Registers) == sizeof(user_regs_struct));
static_assert(offsetof(arch::Registers, orig_rax) == offsetof(user_regs_struct, orig_rax));
static_assert(offsetof(arch::Registers, fs_base) == offsetof(user_regs_struct, fs_base));
static_assert(offsetof(arch::Registers, gs) == offsetof(user_regs_struct, gs));

// The raw call: glibc's wrapper is variadic and rewrites PEEK results.
Result<void> Request(long request, pid_t tid, uint64_t addr, const void* data) {
  if (syscall(SYS_ptrace, request, tid, addr, data) < 0) return LastErrno();
  return {};
}

}  // namespace

Result<void> Seize(pid_t tid) {
  constexpr uintptr_t kOptions = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
  return Request(PTRACE_SEIZE, tid, 0, reinterpret_cast<const void*>(kOptions));
}

Result<void> InterruptTracee(pid_t tid) { return Request(PTRACE_INTERRUPT, tid, 0, nullptr); }
Result<void> GetRegisters(pid_t tid, arch::Registers& regs) { return Request(PTRACE_GETREGS, tid, 0, &regs); }
Result<void> SetRegisters(pid_t tid, const arch::Registers& regs) { return Request(PTRACE_SETREGS, tid, 0, &regs); }
Result<void> GetSiginfo(pid_t tid, siginfo_t& info) { return Request(PTRACE_GETSIGINFO, tid, 0, &info); }
Result<void> ResumeGuest(pid_t tid) { return Request(PTRACE_SYSEMU, tid, 0, nullptr); }
Result<void> ResumeStub(pid_t tid) { return Request(PTRACE_CONT, tid, 0, nullptr); }

Result<bool> IsNativeSyscall(pid_t tid) {
  __ptrace_syscall_info info = {};
  TRY(Request(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info));
  return info.arch == AUDIT_ARCH_X86_64;
}

Result<std::vector<uint8_t>> GetXstate(pid_t tid) {
  std::vector<uint8_t> state(64 * 1024);
  iovec iov = {state.data(), state.size()};
  TRY(Request(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov));
  state.resize(iov.iov_len);
  return state;
}

Result<void> SetXstate(pid_t tid, std::vector<uint8_t>& state) {
  iovec iov = {state.data(), state.size()};
  return Request(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &iov);
}

}  // namespace sandbox::platform::ptrace
