// rseq(2), membarrier(2).
#include <linux/membarrier.h>
#include <linux/rseq.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "tests/util/guest.h"

namespace {

constexpr uint32_t kSignature = 0x53053053;

// The C library registers an area of its own for each thread; raw clones of a process without one are the way to a
// thread that has none. Here: unregister glibc's.
int Rseq(void* area, uint32_t length, int flags, uint32_t signature) {
  return static_cast<int>(syscall(SYS_rseq, area, length, flags, signature));
}

extern "C" {
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned __rseq_size __attribute__((weak));
}

void DropLibraryArea() {
  if (&__rseq_size == nullptr || __rseq_size == 0) return;
  char* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  if (Rseq(area, 32, RSEQ_FLAG_UNREGISTER, kSignature) != 0) {
    EXPECT_OK(Rseq(area, __rseq_size, RSEQ_FLAG_UNREGISTER, kSignature));
  }
}

struct alignas(32) Area {
  struct rseq r;
};

Area area;

TEST(RseqTest, Registration) {
  EXPECT_EQ(guest::RunInChild([] {
              DropLibraryArea();
              area.r.cpu_id = static_cast<uint32_t>(RSEQ_CPU_ID_UNINITIALIZED);
              EXPECT_ERRNO(EINVAL, Rseq(&area, 32, 0x100, kSignature));
              EXPECT_ERRNO(EINVAL, Rseq(&area, 31, 0, kSignature));
              EXPECT_ERRNO(EINVAL, Rseq(reinterpret_cast<char*>(&area) + 4, 32, 0, kSignature));
              EXPECT_ERRNO(EFAULT, Rseq(reinterpret_cast<void*>(~0ul << 12), 32, 0, kSignature));
              EXPECT_ERRNO(EINVAL, Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature));
              EXPECT_OK(Rseq(&area, 32, 0, kSignature));
              EXPECT_ERRNO(EBUSY, Rseq(&area, 32, 0, kSignature));
              EXPECT_ERRNO(EPERM, Rseq(&area, 32, 0, kSignature + 1));
              EXPECT_ERRNO(EINVAL, Rseq(&area, 64, 0, kSignature));
              sched_yield();
              EXPECT_LT(area.r.cpu_id, static_cast<uint32_t>(CPU_SETSIZE));
              EXPECT_EQ(area.r.cpu_id_start, area.r.cpu_id);
              EXPECT_ERRNO(EPERM, Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature + 1));
              EXPECT_OK(Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature));
              EXPECT_EQ(area.r.cpu_id, static_cast<uint32_t>(RSEQ_CPU_ID_UNINITIALIZED));
              EXPECT_ERRNO(EINVAL, Rseq(&area, 32, RSEQ_FLAG_UNREGISTER, kSignature));
              return 0;
            }),
            0);
}

TEST(RseqTest, ForkKeepsTheRegistration) {
  EXPECT_EQ(guest::RunInChild([] {
              DropLibraryArea();
              EXPECT_OK(Rseq(&area, 32, 0, kSignature));
              const pid_t pid = fork();
              if (pid == 0) _exit(Rseq(&area, 32, 0, kSignature) == -1 && errno == EBUSY ? 0 : 1);
              int status = -1;
              waitpid(pid, &status, 0);
              EXPECT_EQ(status, 0);
              return 0;
            }),
            0);
}

TEST(RseqTest, ThreadsStartWithout) {
  EXPECT_EQ(guest::RunInChild([] {
              for (int i = 0; i < 20; ++i) {
                pthread_t thread;
                const auto body = [](void*) -> void* {
                  DropLibraryArea();
                  static thread_local Area own;
                  EXPECT_OK(Rseq(&own, 32, 0, kSignature));
                  return nullptr;  // exits registered; the joiner frees the stack the area is on
                };
                EXPECT_EQ(pthread_create(&thread, nullptr, body, nullptr), 0);
                EXPECT_EQ(pthread_join(thread, nullptr), 0);
              }
              return 0;
            }),
            0);
}

TEST(RseqTest, CpuFollowsAffinity) {
  EXPECT_EQ(guest::RunInChild([] {
              DropLibraryArea();
              cpu_set_t all;
              EXPECT_OK(sched_getaffinity(0, sizeof(all), &all));
              EXPECT_OK(Rseq(&area, 32, 0, kSignature));
              for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
                if (!CPU_ISSET(cpu, &all)) continue;
                cpu_set_t one;
                CPU_ZERO(&one);
                CPU_SET(cpu, &one);
                EXPECT_OK(sched_setaffinity(0, sizeof(one), &one));
                EXPECT_EQ(area.r.cpu_id, static_cast<uint32_t>(cpu));
                unsigned now = ~0u;
                EXPECT_OK(syscall(SYS_getcpu, &now, nullptr, nullptr));
                EXPECT_EQ(now, static_cast<unsigned>(cpu));
              }
              return 0;
            }),
            0);
}

// Spins in a critical section until something aborts it: 1 when it was aborted by a signal's handler, whose flag ends
// the wait.
extern "C" int SpinInSection(struct rseq* r, std::atomic<int>* stop);
asm(".pushsection .text\n"
    ".globl SpinInSection\n"
    "SpinInSection:\n"
    "  leaq section_descriptor(%rip), %rax\n"
    "  movq %rax, 8(%rdi)\n"
    "section_start:\n"
    "  pause\n"
    "  cmpl $0, (%rsi)\n"
    "  je section_start\n"
    "section_end:\n"
    "  xorl %eax, %eax\n"
    "  ret\n"
    "  .long 0x53053053\n"
    "section_abort:\n"
    "  movl $1, %eax\n"
    "  ret\n"
    ".popsection\n"
    ".pushsection .data\n"
    ".balign 32\n"
    "section_descriptor:\n"
    "  .long 0, 0\n"
    "  .quad section_start, section_end - section_start, section_abort\n"
    ".popsection\n");

TEST(RseqTest, SignalAbortsTheSection) {
  EXPECT_EQ(guest::RunInChild([] {
              DropLibraryArea();
              EXPECT_OK(Rseq(&area, 32, 0, kSignature));
              static std::atomic<int> stop;
              signal(SIGALRM, [](int) {});
              itimerval timer = {{0, 0}, {0, 20000}};
              EXPECT_OK(setitimer(ITIMER_REAL, &timer, nullptr));
              // Being preempted aborts it just as well.
              EXPECT_EQ(SpinInSection(&area.r, &stop), 1);
              EXPECT_EQ(area.r.rseq_cs, 0u);
              return 0;
            }),
            0);
}

int Membarrier(int command, unsigned flags = 0) { return static_cast<int>(syscall(SYS_membarrier, command, flags, 0)); }

TEST(MembarrierTest, Query) {
  const int offered = Membarrier(MEMBARRIER_CMD_QUERY);
  EXPECT_TRUE(offered & MEMBARRIER_CMD_GLOBAL);
  EXPECT_TRUE(offered & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
  EXPECT_TRUE(offered & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
  EXPECT_ERRNO(EINVAL, Membarrier(MEMBARRIER_CMD_QUERY, 1u << 30));
  EXPECT_ERRNO(EINVAL, Membarrier(1 << 30));
  EXPECT_OK(Membarrier(MEMBARRIER_CMD_GLOBAL));
}

TEST(MembarrierTest, PrivateExpeditedNeedsRegistration) {
  EXPECT_EQ(guest::RunInChild([] {
              EXPECT_ERRNO(EPERM, Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
              EXPECT_OK(Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
              EXPECT_OK(Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
              const pid_t pid = fork();
              if (pid == 0) _exit(Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0 ? 0 : 1);
              int status = -1;
              waitpid(pid, &status, 0);
              EXPECT_EQ(status, 0);
              return 0;
            }),
            0);
}

}  // namespace
