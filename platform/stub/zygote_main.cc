// The zygote's loop and the first steps of a pool stub. Trusted: no guest code has run in these processes yet, and
// the zygote's memory is never reachable from a guest.
#include "platform/stub/stub_syscall.h"

namespace sandbox::platform::stub {
namespace {

constexpr uint64_t kCloneParent = 0x8000, kSigChld = 17;

struct MsgHdr {
  void* name;
  uint32_t name_length;
  void* iov;
  uint64_t iov_length;
  void* control;
  uint64_t control_length;
  int32_t flags;
};
struct Iovec {
  void* base;
  uint64_t length;
};
struct RightsMessage {
  uint64_t length;
  int32_t level, type;
  int32_t fd;
  int32_t pad;
};
struct SockFprog {
  uint16_t length;
  uint64_t filter;
};

// Waits for a request: one byte and the memory file of the new stub's thread page. -1 when the sentry is gone.
STUB_INLINE int ReceiveRequest(int socket) {
  char byte;
  Iovec iov = {&byte, 1};
  RightsMessage rights;
  MsgHdr message;
  message.name = nullptr;
  message.name_length = 0;
  message.iov = &iov;
  message.iov_length = 1;
  message.control = &rights;
  message.control_length = sizeof(rights);
  message.flags = 0;
  for (;;) {
    const long r = Call3(kSysRecvmsg, static_cast<uint64_t>(socket), reinterpret_cast<uint64_t>(&message), 0);
    if (r == -4) continue;  // EINTR
    if (r <= 0 || message.control_length < 20) return -1;
    return rights.fd;
  }
}

STUB_INLINE void __attribute__((noreturn)) PoolStub(int socket, int page_fd) {
  Call3(kSysClose, static_cast<uint64_t>(socket));
  const uint64_t slot = SlotAddress(0);
  Call6(kSysMmap, slot, kSlotSharedSize, kProtReadWrite, kMapShared | kMapFixed, static_cast<uint64_t>(page_fd), 0);
  Call3(kSysMadvise, slot, kSlotSharedSize, kAdviceDontFork);
  Call3(kSysClose, static_cast<uint64_t>(page_fd));
  Call3(kSysPrctl, /*PR_SET_PDEATHSIG*/ 1, /*SIGKILL*/ 9);
  auto* page = reinterpret_cast<ThreadPage*>(slot);
  page->host_pid = static_cast<int32_t>(Call3(kSysGetpid, 0));
  const auto* config = reinterpret_cast<const Config*>(kConfigStart);
  SockFprog program;
  program.length = static_cast<uint16_t>(config->filter_length);
  program.filter = config->filter_address;
  const long listener =
      Call3(kSysSeccomp, /*SECCOMP_SET_MODE_FILTER*/ 1,
            /*NEW_LISTENER | WAIT_KILLABLE_RECV*/ (1 << 3) | (1 << 5), reinterpret_cast<uint64_t>(&program));
  page->listener_fd = static_cast<int32_t>(listener);
  SetAndWake(&page->listener_ready);
  if (listener < 0) Call3(kSysExitGroup, 1);
  WaitNonZero(&page->listener_taken);
  // A guest that held its own listener could approve its own calls. The sentry runs no guest code here before the
  // hello below, which comes after this.
  Call3(kSysClose, static_cast<uint64_t>(listener));
  StubHelloInsn();
  __builtin_unreachable();
}

}  // namespace

void StubRelocate(char* block, long socket) {
  const uint64_t start = reinterpret_cast<uint64_t>(block);
  const uint64_t end = start + kRelocationBlock;
  const uint64_t filled = kTextMax + kConfigSize;
  Call3(kSysMunmap, 0, start);
  Call3(kSysMunmap, end, kRegionEnd - end);
  const long flags = kMapPrivate | kMapAnonymous | kMapFixed;
  if (Call6(kSysMmap, kTextStart, filled, kProtReadWrite, flags, ~0ull, 0) != static_cast<long>(kTextStart)) {
    Call3(kSysExitGroup, 1);
  }
  CopyBytes(reinterpret_cast<void*>(kTextStart), block, filled);
  Call3(kSysMprotect, kTextStart, kTextMax, /*PROT_READ|PROT_EXEC*/ 5);
  Call3(kSysMprotect, kConfigStart, kConfigSize, /*PROT_READ*/ 1);
  const bool clock = reinterpret_cast<const Config*>(kConfigStart)->has_clock_page;
  Call6(kSysMmap, kClockPage, kSlotPageSize, /*PROT_READ*/ 1,
        clock ? kMapShared | kMapFixed : kMapPrivate | kMapAnonymous | kMapFixed, clock ? 1 : ~0ull, 0);
  if (clock) Call3(kSysClose, 1);
  Call6(kSysMmap, SlotAddress(0), kSlotSize, kProtReadWrite, flags, ~0ull, 0);
  // Addresses inside the block are relative to the instruction pointer, so the target is computed from the block.
  const uint64_t main = reinterpret_cast<uint64_t>(&StubZygoteMain) - start + kTextStart;
  asm volatile(
      "mov %[stack], %%rsp\n"
      "call *%[main]\n"
      :
      : [stack] "r"(SlotAddress(0) + kSlotFastStackEnd), [main] "r"(main), "D"(block), "S"(socket)
      : "memory");
  __builtin_unreachable();
}

void StubZygoteMain(char* block, long socket) {
  // What programs start with: pool stubs inherit it. Protection keys stay what they are, as in signal_frame.cc.
  asm volatile("xrstor64 (%0)" : : "r"(GetConfig()->initial_state), "a"(~(1u << 9)), "d"(~0u) : "memory");
  Call3(kSysMunmap, reinterpret_cast<uint64_t>(block), kRelocationBlock);
  for (;;) {
    const int page_fd = ReceiveRequest(static_cast<int>(socket));
    if (page_fd < 0) Call3(kSysExitGroup, 0);
    const long pid = Call6(kSysClone, kCloneParent | kSigChld, 0, 0, 0, 0, 0);
    if (pid == 0) PoolStub(static_cast<int>(socket), page_fd);
    Call3(kSysClose, static_cast<uint64_t>(page_fd));
    const int32_t answer = static_cast<int32_t>(pid);
    Call6(kSysSendto, static_cast<uint64_t>(socket), reinterpret_cast<uint64_t>(&answer), sizeof(answer), 0, 0, 0);
  }
}

}  // namespace sandbox::platform::stub
