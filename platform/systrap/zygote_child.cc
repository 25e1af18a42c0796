#include "platform/systrap/zygote_child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "platform/arch/fpstate.h"
#include "platform/stub/stub.h"
#include "platform/stub/zygote_request.h"
#include "platform/systrap/segment_bases.h"

namespace sandbox::platform::systrap {
namespace {

using namespace stub;

void Require(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "runsc: zygote: %s: %s\n", what, std::strerror(errno));
  ::_exit(1);
}

void DropPrivileges() {
  // Same uid, no capabilities, dumpable: what process_vm_readv and pidfd_getfd by an unprivileged sentry ask for.
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  Require(::syscall(SYS_capset, &header, none) == 0, "dropping capabilities");
  Require(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  Require(::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0, "dumpable");
  Require(::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0, "parent death signal");
  const rlimit no_core = {0, 0};
  Require(::setrlimit(RLIMIT_CORE, &no_core) == 0, "core limit");
}

void InstallHandlers() {
  // Not glibc's sigaction, which would put its own restorer in.
  struct KernelSigaction {
    uint64_t handler, flags, restorer, mask;
  };
  for (int signo = 1; signo < 65; ++signo) {
    KernelSigaction action = {};
    action.handler = reinterpret_cast<uint64_t>(SIG_IGN);
    ::syscall(SYS_rt_sigaction, signo, &action, nullptr, 8);  // SIGKILL and SIGSTOP refuse
  }
  for (int signo : {SIGSYS, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, kControlSignal}) {
    KernelSigaction action = {};
    action.handler = PlacedAddress(&StubHandler);
    // Without SA_RESTART a signal that comes before the sentry received a notification would fail the call.
    action.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | /*SA_RESTORER*/ 0x04000000;
    // SIGSEGV and SIGBUS stay deliverable in handlers: the compare-and-exchange may meet an unmapped page.
    if (signo == SIGSEGV || signo == SIGBUS) action.flags |= SA_NODEFER;
    action.restorer = PlacedAddress(&StubRestorer);
    action.mask = ~0ull & ~(1ull << (SIGSEGV - 1)) & ~(1ull << (SIGBUS - 1));
    Require(::syscall(SYS_rt_sigaction, signo, &action, nullptr, 8) == 0, "signal handlers");
  }
  // A fresh stub is not to be disturbed before it starts.
  const uint64_t mask = ~0ull;
  Require(::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, 8) == 0, "signal mask");
  stack_t alt = {};
  alt.ss_sp = reinterpret_cast<void*>(SlotAddress(0) + kSlotAltStack);
  alt.ss_size = kSlotAltStackSize;
  Require(::sigaltstack(&alt, nullptr) == 0, "signal stack");
}

// glibc registered its restartable-sequence area, which is about to be unmapped.
void UnregisterRseq() {
  if (__rseq_size == 0) return;
  char* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  for (unsigned size : {32u, __rseq_size}) {
    if (::syscall(SYS_rseq, area, size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0) return;
  }
  Require(false, "rseq");
}

// The region at the top may be occupied by the sentry's own stack or vDSO, on which this function runs. So code and
// configuration are put together in a block elsewhere, and StubRelocate, running there, clears the rest and moves in.
char* BuildBlock(const std::vector<sock_filter>& filter, const InputTable& inputs, bool has_clock_page) {
  const uint64_t text_size = __stop_stub_text - __start_stub_text;
  Require(text_size <= kTextMax, "stub code too large");
  char* block = nullptr;
  // Far below: without address space randomisation the kernel's own choice lies inside the region.
  for (uint64_t at = 0x10'0000'0000; block == nullptr && at < kRegionStart; at += 0x10'0000'0000) {
    void* const got = ::mmap(reinterpret_cast<void*>(at), kRelocationBlock, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got != MAP_FAILED) block = static_cast<char*>(got);
  }
  Require(block != nullptr, "mmap");
  std::memcpy(block, __start_stub_text, text_size);
  auto* config = reinterpret_cast<Config*>(block + kTextMax);
  config->inputs = inputs;
  config->bases_readable = UsableSegmentBases().readable;
  config->bases_writable = UsableSegmentBases().writable;
  config->has_clock_page = has_clock_page;
  arch::InitFpState(config->initial_state);
  config->filter_length = filter.size();
  config->filter_address = kConfigStart + sizeof(Config);
  Require(sizeof(Config) + filter.size() * sizeof(sock_filter) <= kConfigSize, "filter too large");
  std::memcpy(static_cast<void*>(config + 1), filter.data(), filter.size() * sizeof(sock_filter));
  Require(::mprotect(block, kTextMax, PROT_READ | PROT_EXEC) == 0, "mprotect");
  return block;
}

// Leaves the sentry's memory for good: no library code can run from here on.
[[noreturn]] void EnterStub(char* block) {
  const uint64_t entry = reinterpret_cast<uint64_t>(block) + (PlacedAddress(&StubRelocate) - kTextStart);
  asm volatile(
      "mov %[stack], %%rsp\n"
      "xor %%ebp, %%ebp\n"
      "call *%[main]\n"
      :
      : [stack] "r"(block + kRelocationBlock), [main] "r"(entry), "D"(block)
      : "memory");
  __builtin_unreachable();
}

}  // namespace

void BecomeZygote(const ZygoteFds& fds, const std::vector<sock_filter>& filter, const InputTable& inputs) {
  (void)::setpgid(0, 0);
  // Above the numbers they are to have first, so that none overwrites another.
  const std::pair<BorrowedFd, int> places[] = {
      {fds.socket, kZygoteSocket}, {fds.clock_page, kZygoteClock}, {fds.host_proc, kZygoteProc}};
  int copies[3];
  for (size_t i = 0; i < 3; ++i) {
    copies[i] = places[i].first.valid() ? ::fcntl(places[i].first.get(), F_DUPFD, kZygoteProc + 1) : -1;
    Require(!places[i].first.valid() || copies[i] >= 0, "fcntl");
  }
  for (size_t i = 0; i < 3; ++i) {
    if (copies[i] < 0)
      (void)::close(places[i].second);
    else
      Require(::dup2(copies[i], places[i].second) == places[i].second, "dup2");
  }
  char* const block = BuildBlock(filter, inputs, fds.clock_page.valid());
  InstallHandlers();
  DropPrivileges();
  UnregisterRseq();
  ::syscall(SYS_set_tid_address, nullptr);
  Require(::syscall(SYS_close_range, kZygoteProc + 1u, ~0u, 0u) == 0, "close_range");
  (void)::close(STDERR_FILENO);
  EnterStub(block);
}

}  // namespace sandbox::platform::systrap
