// The frame a signal handler runs on and returns through, x86-64 (Linux: arch/x86/kernel/signal_64.c, uapi
// asm/sigcontext.h, asm/ucontext.h). Pure layout: callers read and write the bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "abi/sigcontext.h"
#include "platform/arch/registers.h"

namespace sandbox::arch {

using SignalStack = abi::SigStack;
using SignalContext = abi::SigContext;
using UserContext = abi::UContext;
using SignalFrame = abi::RtSigFrame;

// What goes into a frame besides registers.
struct FrameInput {
  uint64_t handler = 0, restorer = 0;
  int signo = 0;
  std::array<uint8_t, 128> info = {};
  uint64_t mask = 0;
  SignalStack stack = {};
  bool switch_stack = false;  // start at the top of `stack` instead of below the interrupted stack pointer
  uint64_t trapno = 0, error = 0, fault_address = 0;
};

struct BuiltFrame {
  uint64_t address = 0;  // of `frame`
  SignalFrame frame = {};
  uint64_t fp_address = 0;  // where the extended state goes; 0 = none
  uint64_t lowest() const { return address; }
};

// Lays out the frame for an interrupted thread whose extended state is `fp_size` bytes. nullopt when the stack pointer
// would wrap.
std::optional<BuiltFrame> BuildFrame(const Registers& regs, size_t fp_size, const FrameInput& input);
// The registers the handler starts with.
void EnterHandler(Registers& regs, const BuiltFrame& built, const FrameInput& input);

// Where the frame of an rt_sigreturn(2) lies: the handler's `ret` has popped the restorer.
inline uint64_t FrameAddress(const Registers& regs) { return regs.rsp - 8; }
// Loads the registers a frame holds. Whatever it says, the result is a user-mode context.
void RestoreRegisters(Registers& regs, const SignalContext& context);

// Bytes of extended state at a frame's fpstate pointer, told from its first 512 bytes.
inline constexpr size_t kLegacyFpSize = 512;
inline constexpr size_t kMaxFpSize = 64 * 1024;
size_t SavedFpSize(std::span<const uint8_t> legacy);

}  // namespace sandbox::arch
