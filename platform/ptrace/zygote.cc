#include "platform/ptrace/zygote.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/rseq.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "platform/ptrace/stub.h"
#include "platform/ptrace/stub_filter.h"

namespace sandbox::platform::ptrace {
namespace {

struct ChildArgs {
  int socket;
  pid_t parent;
};

[[noreturn]] void Die(int code) {
  for (;;) syscall(SYS_exit_group, code);
}

void DropPrivileges() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct none[2] = {};
  if (syscall(SYS_capset, &header, none) != 0) Die(11);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Die(12);
  // process_vm_readv and PTRACE_SEIZE by a sentry without capabilities need it; a uid change clears it.
  if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) Die(13);
}

// What glibc registered with the kernel points into memory that is about to vanish.
void ForgetLibc() {
  if (__rseq_size != 0) {
    char* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
    syscall(SYS_rseq, area, sizeof(struct rseq), RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
  }
  syscall(SYS_set_robust_list, nullptr, 24);
  syscall(SYS_set_tid_address, nullptr);
}

void MapStub() {
  void* text = mmap(reinterpret_cast<void*>(kStubText), kStubEnd - kStubText, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (text != reinterpret_cast<void*>(kStubText)) Die(14);
  std::memcpy(text, kStubCode, sizeof(kStubCode));
  if (mprotect(text, kPageSize, PROT_READ | PROT_EXEC) != 0) Die(15);
}

// Runs in the child on a stack of its own: the stub pages may replace the stack it was born on.
int ChildMain(void* opaque) {
  const ChildArgs args = *static_cast<const ChildArgs*>(opaque);
  prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid() != args.parent) Die(16);
  syscall(SYS_setsid);
  // A blocked fault is still delivered (the kernel unblocks it), so only the outside world is shut out.
  uint64_t all = ~uint64_t{0};
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof(all));
  // Dispositions must be default: an ignored fault would otherwise be one more case to think about.
  for (int signo = 1; signo <= 64; ++signo) {
    struct {
      void* handler;
      unsigned long flags;
      void* restorer;
      uint64_t mask;
    } action = {};
    syscall(SYS_rt_sigaction, signo, &action, nullptr, sizeof(action.mask));
  }
  rlimit stack;
  if (getrlimit(RLIMIT_STACK, &stack) == 0) {  // the sentry limits guest stacks, not the host
    stack.rlim_cur = stack.rlim_max;
    (void)setrlimit(RLIMIT_STACK, &stack);
  }
  prctl(PR_SET_NAME, "runsc-guest", 0, 0, 0);
  if (dup2(args.socket, kStubSocketFd) != kStubSocketFd) Die(17);
  if (syscall(SYS_close_range, kStubSocketFd + 1, ~0u, 0) != 0) Die(18);
  if (chdir("/") != 0) Die(19);
  DropPrivileges();
  ForgetLibc();
  MapStub();
  // From here on the parent may attach at any time; it waits for rip to be in the stub page.
  if (write(kStubSocketFd, "", 1) != 1) Die(21);
  const auto filter = StubFilter();
  const sock_fprog program = {static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) Die(20);
  asm volatile("jmp *%0" : : "r"(kParkEntry));
  __builtin_unreachable();
}

}  // namespace

Result<Zygote> StartZygote() {
  int ends[2];
  // Sequential packets: one message is one descriptor, and boundaries survive a receiver that died.
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return LastErrno();
  Zygote zygote;
  zygote.send = UniqueFd(ends[0]);
  zygote.receive = UniqueFd(ends[1]);
  // Descriptor 0 of the child must not be the source of the dup2 it is the target of.
  if (zygote.receive.get() == kStubSocketFd) return Err(EBADF);

  constexpr size_t kStackSize = 64 * 1024;
  void* stack = mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) return LastErrno();
  ChildArgs args = {zygote.receive.get(), getpid()};
  zygote.pid = clone(ChildMain, static_cast<char*>(stack) + kStackSize, 0, &args);
  const int error = errno;
  munmap(stack, kStackSize);
  if (zygote.pid < 0) return Err(error);
  char ready;
  // The child's copy of our own receiving end keeps this from seeing end of file, so its death must be looked for.
  pollfd ends_of_child[] = {{.fd = zygote.send.get(), .events = POLLIN, .revents = 0}};
  int status;
  while (poll(ends_of_child, 1, 10) == 0) {
    if (waitpid(zygote.pid, &status, WNOHANG | __WALL) == zygote.pid) return Err(EPERM);
  }
  if (read(zygote.send.get(), &ready, 1) != 1) return Err(EPERM);
  return zygote;
}

}  // namespace sandbox::platform::ptrace
