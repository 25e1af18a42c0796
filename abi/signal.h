// asm-generic/siginfo.h, asm/signal.h: what signal calls and frames carry, with the kernel's 64-bit layout.
#pragma once

#include <cstdint>
#include <cstring>

namespace sandbox::abi {

// Bit n-1 for signal n, as sigset_t.
using SignalSet = uint64_t;

// siginfo_t: 128 bytes. Which member of the union holds depends on `code`.
struct SigInfo {
  int32_t signo = 0;
  int32_t error = 0;
  int32_t code = 0;
  int32_t pad = 0;
  union {
    struct {
      int32_t pid;
      uint32_t uid;
      uint64_t value;
    } rt;  // SI_QUEUE, SI_MESGQ; SI_USER and SI_TKILL use pid and uid
    struct {
      int32_t timer;
      int32_t overrun;
      uint64_t value;
      int32_t private_data;
    } timer;  // SI_TIMER
    struct {
      int32_t pid;
      uint32_t uid;
      int32_t status;
      int32_t pad;
      int64_t utime, stime;  // clock ticks
    } child;                 // SIGCHLD
    struct {
      uint64_t address;
      int16_t lsb;
    } fault;
    struct {
      int64_t band;
      int32_t fd;
    } poll;
    struct {
      uint64_t call_address;
      int32_t syscall;
      uint32_t arch;
    } sys;  // SIGSYS
    uint8_t raw[112];
  };

  SigInfo() { std::memset(raw, 0, sizeof(raw)); }
};

struct SigAction {       // struct sigaction, as rt_sigaction(2) passes it
  uint64_t handler = 0;  // SIG_DFL, SIG_IGN or an address
  uint64_t flags = 0;
  uint64_t restorer = 0;
  SignalSet mask = 0;
};

struct SigStack {  // stack_t
  uint64_t sp = 0;
  int32_t flags = 0;
  int32_t pad = 0;
  uint64_t size = 0;
};

}  // namespace sandbox::abi
