// ptrace(2) of x86-64: requests on stopped tracees. How tracing works is in sentry/kernel/ptrace.h.
#include <asm/prctl.h>
#include <elf.h>
#include <linux/audit.h>
#include <linux/ptrace.h>

#include <algorithm>
#include <cstring>

#include "platform/arch/fpstate.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ptrace.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint32_t kKnownOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                   PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEVFORKDONE |
                                   PTRACE_O_TRACEEXIT | PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL;

// Older requests, which linux/ptrace.h leaves to asm/ptrace-abi.h.
constexpr uint64_t kGetRegs = 12, kSetRegs = 13, kGetFpRegs = 14, kSetFpRegs = 15, kArchPrctl = 30, kSysemu = 31,
                   kSysemuSingleStep = 32;

// struct user: registers first, debug registers at the end.
constexpr uint64_t kUserSize = 912, kDebugRegisters = 848;
constexpr size_t kFpRegsSize = 512;
// Where an xsave area of a signal frame says how long it is, and one for debuggers which parts it has.
constexpr size_t kSoftwareBytes = 464;

struct Call {
  Task& task;  // the tracer
  Task& tracee;
  GuestAddr addr, data;

  Result<void> Do(std::function<Result<void>(Task&)> work) const { return Ptrace::Do(task, tracee, std::move(work)); }
};

// --- Memory and registers ---

Result<int64_t> Peek(const Call& c) {
  uint64_t word = 0;
  TRY(c.Do([&](Task& t) { return t.memory().Read(c.addr, &word, sizeof(word)).ok() ? Result<void>() : Err(EIO); }));
  TRY(OutPtr<uint64_t>(c.data).Write(c.task.memory(), word));
  return 0;
}

Result<int64_t> Poke(const Call& c) {
  const uint64_t word = c.data.value();
  TRY(c.Do([&](Task& t) { return t.ForceWrite(c.addr, &word, sizeof(word)); }));
  return 0;
}

// Whatever a tracer writes, the result is a user-mode context (Linux: putreg).
Result<void> StoreRegisters(Task& t, const arch::Registers& wanted) {
  constexpr uint64_t kUserFlags = 0x250dd5;  // what user code may set, and TF
  const uint64_t limit = t.kernel().platform().guest_range().end.value();
  if (wanted.fs_base >= limit || wanted.gs_base >= limit) return Err(EIO);
  arch::Registers& regs = t.thread().regs();
  arch::Registers next = wanted;
  next.cs = regs.cs;
  next.ss = regs.ss;
  next.ds = regs.ds;
  next.es = regs.es;
  next.fs = regs.fs;
  next.gs = regs.gs;
  next.eflags = (regs.eflags & ~kUserFlags) | (wanted.eflags & kUserFlags);
  regs = next;
  t.RegistersChanged();
  return {};
}

Result<int64_t> PeekUser(const Call& c) {
  const uint64_t offset = c.addr.value();
  if (offset % sizeof(uint64_t) != 0 || offset >= kUserSize) return Err(EIO);
  uint64_t word = 0;  // other fields, and debug registers, which no tracee has
  TRY(c.Do([&](Task& t) -> Result<void> {
    if (offset < sizeof(arch::Registers)) {
      std::memcpy(&word, reinterpret_cast<const char*>(&t.thread().regs()) + offset, sizeof(word));
    }
    return {};
  }));
  TRY(OutPtr<uint64_t>(c.data).Write(c.task.memory(), word));
  return 0;
}

Result<int64_t> PokeUser(const Call& c) {
  const uint64_t offset = c.addr.value(), word = c.data.value();
  if (offset % sizeof(uint64_t) != 0 || offset >= kUserSize) return Err(EIO);
  if (offset >= sizeof(arch::Registers)) {
    // Hardware breakpoints are not offered; switching them off is nothing.
    TRY(c.Do([](Task&) { return Result<void>(); }));
    return offset >= kDebugRegisters && word != 0 ? Result<int64_t>(Err(EIO)) : 0;
  }
  TRY(c.Do([&](Task& t) {
    arch::Registers regs = t.thread().regs();
    std::memcpy(reinterpret_cast<char*>(&regs) + offset, &word, sizeof(word));
    return StoreRegisters(t, regs);
  }));
  return 0;
}

Result<std::vector<uint8_t>> GetRegisters(const Call& c) {
  std::vector<uint8_t> bytes(sizeof(arch::Registers));
  TRY(c.Do([&](Task& t) -> Result<void> {
    std::memcpy(bytes.data(), &t.thread().regs(), bytes.size());
    return {};
  }));
  return bytes;
}

Result<void> SetRegisters(const Call& c, std::vector<uint8_t> bytes) {
  return c.Do([&](Task& t) {
    // A shorter set changes the registers it has.
    arch::Registers regs = t.thread().regs();
    std::memcpy(&regs, bytes.data(), std::min(bytes.size(), sizeof(regs)));
    return StoreRegisters(t, regs);
  });
}

// --- Extended state: a signal frame's area, and what debuggers see of it ---

Result<std::vector<uint8_t>> GetXstate(const Call& c) {
  std::vector<uint8_t> state;
  TRY(c.Do([&](Task& t) -> Result<void> {
    state = TRY(t.thread().GetFpState());
    return {};
  }));
  return arch::DebuggerState(std::move(state));
}

Result<void> SetXstate(const Call& c, const std::vector<uint8_t>& wanted) {
  return c.Do([&](Task& t) -> Result<void> {
    std::vector<uint8_t> state = TRY(t.thread().GetFpState());
    // The software bytes say how long the area is, and stay ours.
    for (size_t i = 0; i < std::min(wanted.size(), state.size()); ++i) {
      if (i < kSoftwareBytes || i >= kFpRegsSize) state[i] = wanted[i];
    }
    // An area in its initial state may be marked as such: what was written counts.
    if (state.size() > kFpRegsSize && wanted.size() <= kFpRegsSize) state[kFpRegsSize] |= 3;
    return t.thread().SetFpState(state);
  });
}

Result<int64_t> RegisterSet(const Call& c, bool set) {
  const GuestIovec iov = TRY(InPtr<GuestIovec>(c.data).Read(c.task.memory()));
  const uint64_t type = c.addr.value();
  if (iov.length % sizeof(uint64_t) != 0) return Err(EINVAL);
  if (type != NT_PRSTATUS && type != NT_PRFPREG && type != NT_X86_XSTATE) return Err(EINVAL);
  GuestMemory& memory = c.task.memory();
  std::vector<uint8_t> bytes = TRY(type == NT_PRSTATUS ? GetRegisters(c) : GetXstate(c));
  if (type == NT_PRFPREG) bytes.resize(kFpRegsSize);
  bytes.resize(std::min<uint64_t>(bytes.size(), iov.length));
  if (set) {
    TRY(memory.Read(GuestAddr(iov.base), bytes.data(), bytes.size()));
    TRY(type == NT_PRSTATUS ? SetRegisters(c, bytes) : SetXstate(c, bytes));
  } else {
    TRY(memory.Write(GuestAddr(iov.base), bytes.data(), bytes.size()));
  }
  TRY(OutPtr<GuestIovec>(c.data).Write(memory, {iov.base, bytes.size()}));
  return 0;
}

Result<int64_t> WriteAll(const Call& c, const std::vector<uint8_t>& bytes) {
  TRY(c.task.memory().Write(c.data, bytes.data(), bytes.size()));
  return 0;
}

Result<std::vector<uint8_t>> ReadAll(const Call& c, size_t size) {
  std::vector<uint8_t> bytes(size);
  TRY(c.task.memory().Read(c.data, bytes.data(), size));
  return bytes;
}

// --- Signals and stops ---

Result<int64_t> SyscallInfo(const Call& c) {
  const PtraceReport report = TRY(Ptrace::Report(c.task, c.tracee));
  ptrace_syscall_info info = {};
  info.op = report.syscall_stop;
  info.arch = AUDIT_ARCH_X86_64;
  TRY(c.Do([&](Task& t) -> Result<void> {
    const arch::Registers& regs = t.thread().regs();
    info.instruction_pointer = regs.ip();
    info.stack_pointer = regs.sp();
    if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
      info.exit.rval = static_cast<int64_t>(regs.rax);
      info.exit.is_error = info.exit.rval < 0 && info.exit.rval >= -4095;
    } else if (info.op != PTRACE_SYSCALL_INFO_NONE) {
      info.seccomp.nr = regs.syscall_nr();
      for (int i = 0; i < 6; ++i) info.seccomp.args[i] = regs.syscall_arg(i);
      if (info.op == PTRACE_SYSCALL_INFO_SECCOMP) info.seccomp.ret_data = static_cast<uint32_t>(report.message);
    }
    return {};
  }));
  size_t size = offsetof(ptrace_syscall_info, entry);
  if (info.op == PTRACE_SYSCALL_INFO_ENTRY) size = offsetof(ptrace_syscall_info, entry) + sizeof(info.entry);
  if (info.op == PTRACE_SYSCALL_INFO_EXIT) size = offsetof(ptrace_syscall_info, exit.is_error) + 1;
  if (info.op == PTRACE_SYSCALL_INFO_SECCOMP) size = offsetof(ptrace_syscall_info, seccomp.ret_data) + sizeof(uint32_t);
  TRY(c.task.memory().Write(c.data, &info, std::min<uint64_t>(size, c.addr.value())));
  return static_cast<int64_t>(size);
}

Result<int64_t> SignalMask(const Call& c, bool set) {
  if (c.addr.value() != sizeof(SignalSet)) return Err(EINVAL);
  SignalSet mask = 0;
  if (set) mask = TRY(InPtr<SignalSet>(c.data).Read(c.task.memory()));
  TRY(c.Do([&](Task& t) -> Result<void> {
    if (set) t.SetSignalMask(mask);
    mask = t.signal_mask();
    return {};
  }));
  if (!set) TRY(OutPtr<SignalSet>(c.data).Write(c.task.memory(), mask));
  return 0;
}

Result<int64_t> ArchPrctl(const Call& c) {
  // Arguments the other way round than those of arch_prctl(2).
  const uint64_t code = c.data.value();
  const bool fs = code == ARCH_SET_FS || code == ARCH_GET_FS;
  uint64_t base = c.addr.value();
  if (code == ARCH_GET_FS || code == ARCH_GET_GS) {
    TRY(c.Do([&](Task& t) -> Result<void> {
      base = fs ? t.thread().regs().fs_base : t.thread().regs().gs_base;
      return {};
    }));
    TRY(OutPtr<uint64_t>(c.addr).Write(c.task.memory(), base));
    return 0;
  }
  if (code != ARCH_SET_FS && code != ARCH_SET_GS) return Err(EINVAL);
  if (base >= c.task.kernel().platform().guest_range().end.value()) return Err(EPERM);
  TRY(c.Do([&](Task& t) -> Result<void> {
    (fs ? t.thread().regs().fs_base : t.thread().regs().gs_base) = base;
    return {};
  }));
  return 0;
}

// --- Dispatch ---

std::optional<PtraceState::Resume> ResumeMode(uint64_t request) {
  using Resume = PtraceState::Resume;
  switch (request) {
    case PTRACE_CONT:
      return Resume::kContinue;
    case PTRACE_SYSCALL:
      return Resume::kSyscall;
    case PTRACE_SINGLESTEP:
      return Resume::kStep;
    case kSysemu:
      return Resume::kSysemu;
    case kSysemuSingleStep:
      return Resume::kSysemuStep;
    default:
      return std::nullopt;
  }
}

// Requests about how the tracee runs.
std::optional<Result<void>> Control(const Call& c, uint64_t request) {
  const auto signal = static_cast<int>(c.data.value());
  if (const auto mode = ResumeMode(request)) return Ptrace::Continue(c.task, c.tracee, *mode, signal);
  switch (request) {
    case PTRACE_KILL:
      return Ptrace::Kill(c.task, c.tracee);
    case PTRACE_DETACH:
      return Ptrace::Detach(c.task, c.tracee, signal);
    case PTRACE_INTERRUPT:
      return Ptrace::Interrupt(c.task, c.tracee);
    case PTRACE_LISTEN:
      return Ptrace::Listen(c.task, c.tracee);
    case PTRACE_SETOPTIONS:
      if (c.data.value() & ~uint64_t{kKnownOptions}) return Err(EINVAL);
      return Ptrace::SetOptions(c.task, c.tracee, static_cast<uint32_t>(c.data.value()));
    default:
      return std::nullopt;
  }
}

Result<int64_t> Inspect(const Call& c, uint64_t request) {
  switch (request) {
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
      return Peek(c);
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA:
      return Poke(c);
    case PTRACE_PEEKUSR:
      return PeekUser(c);
    case PTRACE_POKEUSR:
      return PokeUser(c);
    case kGetRegs:
      return WriteAll(c, TRY(GetRegisters(c)));
    case kSetRegs:
      TRY(SetRegisters(c, TRY(ReadAll(c, sizeof(arch::Registers)))));
      return 0;
    case kGetFpRegs: {
      std::vector<uint8_t> state = TRY(GetXstate(c));
      state.resize(kFpRegsSize);
      return WriteAll(c, state);
    }
    case kSetFpRegs:
      TRY(SetXstate(c, TRY(ReadAll(c, kFpRegsSize))));
      return 0;
    case PTRACE_GETREGSET:
      return RegisterSet(c, false);
    case PTRACE_SETREGSET:
      return RegisterSet(c, true);
    case PTRACE_GETSIGMASK:
      return SignalMask(c, false);
    case PTRACE_SETSIGMASK:
      return SignalMask(c, true);
    case PTRACE_GET_SYSCALL_INFO:
      return SyscallInfo(c);
    case kArchPrctl:
      return ArchPrctl(c);
    case PTRACE_GETEVENTMSG: {
      const PtraceReport report = TRY(Ptrace::Report(c.task, c.tracee));
      TRY(OutPtr<uint64_t>(c.data).Write(c.task.memory(), report.message));
      return 0;
    }
    case PTRACE_GETSIGINFO: {
      const PtraceReport report = TRY(Ptrace::Report(c.task, c.tracee));
      if (!report.has_info) return Err(EINVAL);
      TRY(OutPtr<SignalInfo>(c.data).Write(c.task.memory(), report.info));
      return 0;
    }
    case PTRACE_SETSIGINFO:
      TRY(Ptrace::SetInfo(c.task, c.tracee, TRY(InPtr<SignalInfo>(c.data).Read(c.task.memory()))));
      return 0;
    default:
      TRY(Ptrace::Report(c.task, c.tracee));
      return Err(EIO);
  }
}

Result<int64_t> SysPtrace(Task& task, uint64_t request, int32_t pid, GuestAddr addr, GuestAddr data) {
  if (request == PTRACE_TRACEME) {
    TRY(Ptrace::TraceMe(task));
    return 0;
  }
  const TaskRef target = task.Find(pid);
  if (target == nullptr) return Err(ESRCH);
  if (request == PTRACE_ATTACH) {
    TRY(Ptrace::Attach(task, *target, false, 0));
    return 0;
  }
  if (request == PTRACE_SEIZE) {
    if (!addr.IsNull() || (data.value() & ~uint64_t{kKnownOptions})) return Err(EIO);
    TRY(Ptrace::Attach(task, *target, true, static_cast<uint32_t>(data.value())));
    return 0;
  }
  const Call call{task, *target, addr, data};
  if (const auto done = Control(call, request)) {
    TRY(*done);
    return 0;
  }
  return Inspect(call, request);
}
SYSCALL_ROW(ptrace, Lane::kMayBlock, Support::kPartial, SysPtrace,
            "no hardware breakpoints, PEEKSIGINFO, SECCOMP_GET_FILTER, SUSPEND_SECCOMP");

}  // namespace
}  // namespace sandbox::syscalls
