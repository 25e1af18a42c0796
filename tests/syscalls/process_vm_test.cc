// process_vm_readv(2), process_vm_writev(2).
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/memory.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

constexpr pid_t kNobodyHere = 0x3fffffff;

long Transfer(bool write, pid_t pid, const iovec* local, unsigned long locals, const iovec* remote,
              unsigned long remotes, unsigned long flags = 0) {
  return syscall(write ? SYS_process_vm_writev : SYS_process_vm_readv, pid, local, locals, remote, remotes, flags);
}

// A child with a copy of this process's memory, waiting.
class Child {
 public:
  explicit Child(const std::function<void()>& prepare = [] {}) : pid_(fork()) {
    if (pid_ == 0) {
      prepare();
      for (;;) pause();
    }
    AwaitSleepIn(pid_, SYS_pause);
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }

 private:
  const pid_t pid_;
};

char area[64];

TEST(ProcessVmTest, ReadsAndWritesAnothersMemory) {
  std::strcpy(area, "parent");
  Child child([] { std::strcpy(area, "child"); });
  char text[64] = {};
  // Pieces of different sizes on both sides.
  const iovec local[] = {{text, 2}, {text + 2, 0}, {text + 2, 20}}, remote[] = {{area, 3}, {area + 3, 3}};
  EXPECT_EQ(Transfer(false, child.pid(), local, 3, remote, 2), 6);
  EXPECT_STREQ(text, "child");
  char word[] = "CH";
  const iovec from = {word, 2}, to = {area, 2};
  EXPECT_EQ(Transfer(true, child.pid(), &from, 1, &to, 1), 2);
  EXPECT_EQ(Transfer(false, child.pid(), local, 3, remote, 2), 6);
  EXPECT_STREQ(text, "CHild");
  EXPECT_STREQ(area, "parent");
}

TEST(ProcessVmTest, StopsAtABadPage) {
  Mapping memory(2);
  std::memset(memory.page(), 'x', 2 * kPage);
  ASSERT_OK(munmap(memory.page(1), kPage));
  std::vector<char> buffer(2 * kPage);
  const iovec local = {buffer.data(), buffer.size()};
  const iovec whole[] = {{memory.page(), kPage}, {memory.page(1), 10}};
  EXPECT_EQ(Transfer(false, getpid(), &local, 1, whole, 2), static_cast<long>(kPage));
  EXPECT_ERRNO(EFAULT, Transfer(false, getpid(), &local, 1, whole + 1, 1));
  const iovec bad_local = {BadPointer(), 10};
  EXPECT_ERRNO(EFAULT, Transfer(false, getpid(), &bad_local, 1, whole, 1));
  EXPECT_ERRNO(EFAULT, Transfer(true, getpid(), &bad_local, 1, whole, 1));
}

TEST(ProcessVmTest, Errors) {
  char byte = 0;
  const iovec one = {&byte, 1}, none = {&byte, 0}, huge = {&byte, SIZE_MAX};
  EXPECT_ERRNO(EINVAL, Transfer(false, getpid(), &one, 1, &one, 1, 1));
  EXPECT_ERRNO(EINVAL, Transfer(false, getpid(), &one, IOV_MAX + 1, &one, 1));
  EXPECT_ERRNO(EINVAL, Transfer(false, getpid(), &one, 1, &one, IOV_MAX + 1));
  EXPECT_ERRNO(EINVAL, Transfer(false, getpid(), &huge, 1, &one, 1));
  EXPECT_ERRNO(EINVAL, Transfer(false, getpid(), &one, 1, &huge, 1));
  EXPECT_ERRNO(EFAULT, Transfer(false, getpid(), static_cast<iovec*>(BadPointer()), 1, &one, 1));
  EXPECT_ERRNO(EFAULT, Transfer(false, getpid(), &one, 1, static_cast<iovec*>(BadPointer()), 1));
  EXPECT_ERRNO(ESRCH, Transfer(false, kNobodyHere, &one, 1, &one, 1));
  EXPECT_OK(Transfer(false, kNobodyHere, &none, 1, &one, 1)) << "nothing to do, nobody asked for";
  EXPECT_OK(Transfer(false, kNobodyHere, &one, 1, &none, 1));
  EXPECT_OK(Transfer(false, kNobodyHere, &one, 0, &one, 1));
}

TEST(ProcessVmTest, NeedsTheRightsOfATracer) {
  char byte = 0;
  const iovec one = {&byte, 1}, remote = {area, 1};
  Child root, same([] { (void)!setresuid(1000, 1000, 1000); }), hidden([] {
    (void)!setresgid(1000, 1000, 1000);
    (void)!setresuid(1000, 1000, 1000);
    prctl(PR_SET_DUMPABLE, 0);
  }),
      open([] {
        (void)!setresgid(1000, 1000, 1000);
        (void)!setresuid(1000, 1000, 1000);
        prctl(PR_SET_DUMPABLE, 1);
      });
  EXPECT_EQ(RunInChild([&] {
              if (setresgid(1000, 1000, 1000) != 0 || setresuid(1000, 1000, 1000) != 0) return 1;
              EXPECT_ERRNO(EPERM, Transfer(false, root.pid(), &one, 1, &remote, 1));
              EXPECT_ERRNO(EPERM, Transfer(false, same.pid(), &one, 1, &remote, 1)) << "another group";
              EXPECT_ERRNO(EPERM, Transfer(false, hidden.pid(), &one, 1, &remote, 1));
              EXPECT_EQ(Transfer(false, open.pid(), &one, 1, &remote, 1), 1);
              return 0;
            }),
            0);
  EXPECT_EQ(Transfer(false, hidden.pid(), &one, 1, &remote, 1), 1);
}

}  // namespace
}  // namespace guest
