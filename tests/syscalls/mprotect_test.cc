// mprotect(2), pkey_mprotect(2).
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

namespace guest {
namespace {

TEST(MprotectTest, EachProtectionAllowsWhatItSays) {
  Mapping memory(1);
  const struct {
    int prot;
    int on_read, on_write;
  } cases[] = {{PROT_NONE, SIGSEGV, SIGSEGV},       {PROT_READ, 0, SIGSEGV},
               {PROT_READ | PROT_WRITE, 0, 0},      {PROT_WRITE, 0, 0},  // x86 has no pages that can only be written
               {PROT_READ | PROT_EXEC, 0, SIGSEGV}, {PROT_READ | PROT_WRITE | PROT_EXEC, 0, 0}};
  for (const auto& c : cases) {
    ASSERT_OK(mprotect(memory.page(), kPage, c.prot));
    EXPECT_EQ(SignalOfRead(memory.page()), c.on_read) << c.prot;
    EXPECT_EQ(SignalOfWrite(memory.page()), c.on_write) << c.prot;
  }
}

TEST(MprotectTest, SystemCallsObeyIt) {
  Mapping memory(2);
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  ASSERT_OK(mprotect(memory.page(1), kPage, PROT_NONE));
  EXPECT_ERRNO(EFAULT, write(pipes[1], memory.page(1), 1));
  EXPECT_EQ(write(pipes[1], memory.page(1) - 10, 10), 10);
  ASSERT_OK(mprotect(memory.page(1), kPage, PROT_READ));
  EXPECT_ERRNO(EFAULT, read(pipes[0], memory.page(1), 1));
  EXPECT_EQ(read(pipes[0], memory.page(), 20), 10);
  close(pipes[0]);
  close(pipes[1]);
}

TEST(MprotectTest, ChangesUpToTheHole) {
  Mapping memory(3);
  ASSERT_OK(munmap(memory.page(1), kPage));
  ASSERT_OK(mprotect(memory.page(0), kPage, PROT_NONE));
  EXPECT_ERRNO(ENOMEM, mprotect(memory.page(), 3 * kPage, PROT_READ));
  EXPECT_EQ(SignalOfRead(memory.page(0)), 0);
  EXPECT_EQ(SignalOfWrite(memory.page(2)), 0) << "behind the hole nothing changed";
}

TEST(MprotectTest, Errors) {
  Mapping memory(2);
  EXPECT_ERRNO(EINVAL, mprotect(memory.page() + 1, kPage, PROT_READ));
  EXPECT_ERRNO(EINVAL, mprotect(memory.page(), kPage, 0x40));
  EXPECT_ERRNO(EINVAL, mprotect(memory.page(), kPage, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP));
  EXPECT_ERRNO(EINVAL, mprotect(memory.page(), kPage, PROT_READ | PROT_GROWSDOWN));
  EXPECT_ERRNO(ENOMEM, mprotect(memory.page(), ~size_t{0} - 10 * kPage, PROT_READ));
  EXPECT_ERRNO(ENOMEM, mprotect(reinterpret_cast<void*>(kPage), kPage, PROT_READ));
  EXPECT_OK(mprotect(memory.page(), 0, 0x40));
  EXPECT_OK(mprotect(reinterpret_cast<void*>(kPage), 0, PROT_READ));
  EXPECT_ERRNO(EINVAL, syscall(SYS_pkey_mprotect, memory.page(), kPage, PROT_READ, 15));
  EXPECT_OK(syscall(SYS_pkey_mprotect, memory.page(), kPage, PROT_READ, -1));
}

TEST(MprotectTest, ASharedFileNeedsTheAccessOfItsDescriptor) {
  TempDir dir;
  WriteFileText(dir / "f", "text");
  ScopedFd fd(open((dir / "f").c_str(), O_RDONLY));
  Mapping shared(1, PROT_READ, MAP_SHARED, fd.get()), copy(1, PROT_READ, MAP_PRIVATE, fd.get());
  EXPECT_ERRNO(EACCES, mprotect(shared.page(), kPage, PROT_READ | PROT_WRITE));
  EXPECT_OK(mprotect(copy.page(), kPage, PROT_READ | PROT_WRITE));
  copy.page()[0] = 'n';
  EXPECT_EQ(shared.page()[0], 't');
}

TEST(MprotectTest, WrittenCodeRuns) {
  Mapping memory(1);
  const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};  // mov $42, %eax; ret
  std::memcpy(memory.page(), code, sizeof(code));
  ASSERT_OK(mprotect(memory.page(), kPage, PROT_READ | PROT_EXEC));
  EXPECT_EQ(reinterpret_cast<int (*)()>(memory.page())(), 42);
}

}  // namespace
}  // namespace guest
