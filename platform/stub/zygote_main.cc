// The zygote's loop and the first steps of a fresh stub. Trusted: no guest code has run in these processes yet, and
// the zygote's memory is never reachable from a guest.
#include "platform/stub/stub_syscall.h"
#include "platform/stub/zygote_request.h"

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
  int32_t fds[kMaxStartFiles];
};
struct SockFprog {
  uint16_t length;
  uint64_t filter;
};

// A message of one block, with descriptors beside it.
struct Message {
  MsgHdr header;
  Iovec iov;
  RightsMessage rights;
};
constexpr uint64_t RightsLength(uint64_t fds) { return 16 + fds * sizeof(int32_t); }  // CMSG_LEN

STUB_INLINE void SetUpMessage(Message* message, void* data, uint64_t length, uint64_t fds) {
  message->iov.base = data;
  message->iov.length = length;
  message->header.name = nullptr;
  message->header.name_length = 0;
  message->header.iov = &message->iov;
  message->header.iov_length = 1;
  message->header.control = &message->rights;
  message->header.control_length = (RightsLength(fds) + 7) & ~uint64_t{7};
  message->header.flags = 0;
}

// Waits for a message of `length` bytes, with at most kMaxStartFiles descriptors beside it: those that are not there
// are -1. False when the sentry is gone.
STUB_INLINE bool Receive(int socket, Message* message, void* data, uint64_t length) {
  for (;;) {
    for (int32_t& fd : message->rights.fds) *const_cast<volatile int32_t*>(&fd) = -1;
    SetUpMessage(message, data, length, kMaxStartFiles);
    const long r = Call3(kSysRecvmsg, socket, reinterpret_cast<uint64_t>(&message->header), 0);
    if (r != -4) return r == static_cast<long>(length);  // EINTR
  }
}

STUB_INLINE void Send(int socket, void* data, uint64_t length) {
  Call6(kSysSendto, socket, reinterpret_cast<uint64_t>(data), length, 0, 0, 0);
}

STUB_INLINE void SendWithFd(int socket, void* data, uint64_t length, int fd) {
  Message message;
  SetUpMessage(&message, data, length, 1);
  message.rights.length = RightsLength(1);
  message.rights.level = 1;  // SOL_SOCKET
  message.rights.type = 1;   // SCM_RIGHTS
  message.rights.fds[0] = fd;
  message.rights.fds[1] = 0;
  Call3(kSysSendmsg, socket, reinterpret_cast<uint64_t>(&message.header), 0);
}

// "<pid>/<name>". Names are numbers, because there is no place for string literals.
STUB_INLINE void PutPath(char* out, const ZygoteRequest* request) {
  char digits[10];
  int count = 0;
  for (uint32_t left = static_cast<uint32_t>(request->pid); left != 0 && count < 10; left /= 10) {
    digits[count++] = static_cast<char>('0' + left % 10);
  }
  while (count > 0) *out++ = digits[--count];
  *out++ = '/';
  uint64_t name = 0x7375'7461'7473;                                 // "status"
  if (request->file == ProcessFile::kStat) name = 0x7461'7473;      // "stat"
  if (request->file == ProcessFile::kSmaps) name = 0x73'7061'6d73;  // "smaps"
  for (; name != 0; name >>= 8) *out++ = static_cast<char>(name & 0xff);
  *out = 0;
}

STUB_INLINE void OpenForSentry(const ZygoteRequest* request) {
  char path[24];
  PutPath(path, request);
  const long fd = Call4(kSysOpenat, kZygoteProc, reinterpret_cast<uint64_t>(path), /*O_CLOEXEC*/ 02000000, 0);
  int32_t answer = fd < 0 ? static_cast<int32_t>(fd) : 0;
  if (fd < 0) return Send(kZygoteSocket, &answer, sizeof(answer));
  SendWithFd(kZygoteSocket, &answer, sizeof(answer), static_cast<int>(fd));
  Call3(kSysClose, static_cast<uint64_t>(fd));
}

STUB_INLINE void MapPage(uint64_t slot, int page_fd) {
  Call6(kSysMmap, slot, kSlotSharedSize, kProtReadWrite, kMapShared | kMapFixed, static_cast<uint64_t>(page_fd), 0);
  Call3(kSysMadvise, slot, kSlotSharedSize, kAdviceDontFork);
  Call3(kSysClose, static_cast<uint64_t>(page_fd));
}

// From here on every call is under the filter. The report tells of it, with the listener.
STUB_INLINE void EnterFilter() {
  const Config* const config = GetConfig();
  SockFprog program;
  program.length = static_cast<uint16_t>(config->filter_length);
  program.filter = config->filter_address;
  StubReport report;
  report.pid = static_cast<int32_t>(Call3(kSysGetpid, 0));
  const long listener =
      Call3(kSysSeccomp, /*SECCOMP_SET_MODE_FILTER*/ 1,
            /*NEW_LISTENER | WAIT_KILLABLE_RECV*/ (1 << 3) | (1 << 5), reinterpret_cast<uint64_t>(&program));
  if (listener < 0) Call3(kSysExitGroup, 1);
  SendWithFd(kStubSocket, &report, sizeof(report), static_cast<int>(listener));
  // A guest that held its own listener could approve its own calls.
  Call3(kSysClose, static_cast<uint64_t>(listener));
}

STUB_INLINE void __attribute__((noreturn)) PoolStub(int page_fd, int socket) {
  Call3(kSysClose, kZygoteSocket);
  if (socket != kStubSocket) {
    Call3(kSysDup2, socket, kStubSocket);  // in the place of the zygote's directory
    Call3(kSysClose, socket);
  }
  const uint64_t slot = SlotAddress(0);
  MapPage(slot, page_fd);
  Call3(kSysPrctl, /*PR_SET_PDEATHSIG*/ 1, /*SIGKILL*/ 9);
  EnterFilter();
  StubStart start;
  Message message;
  if (!Receive(kStubSocket, &message, &start, sizeof(start))) Call3(kSysExitGroup, 0);
  Call3(kSysClose, kStubSocket);
  StartStub(reinterpret_cast<ThreadPage*>(slot), message.rights.fds);
}

}  // namespace

void StubRelocate(char* block) {
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
        clock ? kMapShared | kMapFixed : kMapPrivate | kMapAnonymous | kMapFixed, clock ? kZygoteClock : ~0ull, 0);
  if (clock) Call3(kSysClose, kZygoteClock);
  Call6(kSysMmap, SlotAddress(0), kSlotSize, kProtReadWrite, flags, ~0ull, 0);
  // Addresses inside the block are relative to the instruction pointer, so the target is computed from the block.
  const uint64_t main = reinterpret_cast<uint64_t>(&StubZygoteMain) - start + kTextStart;
  asm volatile(
      "mov %[stack], %%rsp\n"
      "call *%[main]\n"
      :
      : [stack] "r"(SlotAddress(0) + kSlotFastStackEnd), [main] "r"(main), "D"(block)
      : "memory");
  __builtin_unreachable();
}

void StubZygoteMain(char* block) {
  // What programs start with: pool stubs inherit it. Protection keys stay what they are, as in signal_frame.cc.
  asm volatile("xrstor64 (%0)" : : "r"(GetConfig()->initial_state), "a"(~(1u << 9)), "d"(~0u) : "memory");
  Call3(kSysMunmap, reinterpret_cast<uint64_t>(block), kRelocationBlock);
  for (;;) {
    ZygoteRequest request;
    Message message;
    if (!Receive(kZygoteSocket, &message, &request, sizeof(request))) Call3(kSysExitGroup, 0);
    if (request.call == ZygoteCall::kOpen) {
      OpenForSentry(&request);
      continue;
    }
    const int page = message.rights.fds[0], socket = message.rights.fds[1];
    if (Call6(kSysClone, kCloneParent | kSigChld, 0, 0, 0, 0, 0) == 0) PoolStub(page, socket);
    Call3(kSysClose, static_cast<uint64_t>(page));
    Call3(kSysClose, static_cast<uint64_t>(socket));
  }
}

}  // namespace sandbox::platform::stub
