#include "platform/ptrace/waker.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"

// long sandbox_ptrace_wait(const uint32_t* kicked, int* status)
asm(R"(
.text
.globl sandbox_ptrace_wait
.hidden sandbox_ptrace_wait, sandbox_ptrace_wait_begin, sandbox_ptrace_wait_syscall, sandbox_ptrace_wait_out
.type sandbox_ptrace_wait, @function
sandbox_ptrace_wait:
  mov %rdi, %r8
sandbox_ptrace_wait_begin:
  cmpl $0, (%r8)
  jne sandbox_ptrace_wait_out
  mov $-1, %rdi
  mov $0x60000000, %edx   /* __WALL | __WNOTHREAD */
  xor %r10d, %r10d
  mov $61, %eax           /* __NR_wait4 */
sandbox_ptrace_wait_syscall:
  syscall
  ret
sandbox_ptrace_wait_out:
  mov $-4, %rax           /* -EINTR */
  ret
.size sandbox_ptrace_wait, . - sandbox_ptrace_wait
)");

extern "C" {
long sandbox_ptrace_wait(const uint32_t* kicked, int* status);
extern const char sandbox_ptrace_wait_begin[];
extern const char sandbox_ptrace_wait_syscall[];
extern const char sandbox_ptrace_wait_out[];
}

namespace sandbox::platform::ptrace {
namespace {

static_assert((__WALL | __WNOTHREAD) == 0x60000000);
static_assert(SYS_wait4 == 61 && EINTR == 4);

int KickSignal() { return SIGRTMAX - 2; }

void OnKick(int, siginfo_t*, void* context) {
  greg_t& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  const auto begin = reinterpret_cast<greg_t>(sandbox_ptrace_wait_begin);
  const auto last = reinterpret_cast<greg_t>(sandbox_ptrace_wait_syscall);
  if (rip >= begin && rip <= last) rip = reinterpret_cast<greg_t>(sandbox_ptrace_wait_out);
}

long Futex(std::atomic<uint32_t>& word, int op, uint32_t value) {
  return syscall(SYS_futex, &word, op | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

}  // namespace

void Event::Set() {
  if (state_.exchange(1, std::memory_order_acq_rel) == 2) Futex(state_, FUTEX_WAKE, 1);
}

void Event::Wait() {
  uint32_t expected = 0;
  if (state_.compare_exchange_strong(expected, 2, std::memory_order_acq_rel)) {
    while (state_.load(std::memory_order_acquire) == 2) Futex(state_, FUTEX_WAIT, 2);
  }
  state_.store(0, std::memory_order_relaxed);
}

void InterruptibleWait::BindToThisThread() {
  struct sigaction action = {};
  action.sa_sigaction = OnKick;
  action.sa_flags = SA_SIGINFO;  // without SA_RESTART: an interrupted wait4 returns EINTR
  CHECK(sigaction(KickSignal(), &action, nullptr) == 0);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, KickSignal());
  CHECK(pthread_sigmask(SIG_UNBLOCK, &set, nullptr) == 0);
  tgid_ = getpid();
  tid_ = gettid();
}

long InterruptibleWait::Wait(int* status) {
  static_assert(sizeof(kicked_) == sizeof(uint32_t));
  // Pairs with Kick: either it sees waiting_ and sends the signal, or the assembly sees kicked_.
  waiting_.store(1, std::memory_order_seq_cst);
  const long result = sandbox_ptrace_wait(reinterpret_cast<const uint32_t*>(&kicked_), status);
  if (result != -ECHILD) {
    waiting_.store(0, std::memory_order_relaxed);
    return result;
  }
  // Before the first tracee; a kick changes the word, so that the wait cannot miss it.
  waiting_.store(2, std::memory_order_seq_cst);
  while (kicked_.load(std::memory_order_seq_cst) == 0) Futex(kicked_, FUTEX_WAIT, 0);
  waiting_.store(0, std::memory_order_relaxed);
  return -EINTR;
}

void InterruptibleWait::Kick() {
  if (kicked_.exchange(1, std::memory_order_seq_cst) != 0) return;
  const uint32_t waiting = waiting_.load(std::memory_order_seq_cst);
  if (waiting == 0) return;
  if (waiting == 2) {
    Futex(kicked_, FUTEX_WAKE, 1);
    return;
  }
  // The thread may have left the wait since; the handler then changes nothing.
  (void)syscall(SYS_tgkill, tgid_, tid_, KickSignal());
}

}  // namespace sandbox::platform::ptrace
