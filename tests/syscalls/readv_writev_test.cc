// readv(2), writev(2), preadv(2), pwritev(2), preadv2(2), pwritev2(2).
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <climits>
#include <vector>

#include "tests/util/guest.h"

namespace guest {
namespace {

class VectorTest : public testing::Test {
 protected:
  VectorTest() : fd_(open((dir_ / "file").c_str(), O_CREAT | O_RDWR, 0644)) {}
  TempDir dir_;
  ScopedFd fd_;
};

TEST_F(VectorTest, GathersAndScatters) {
  char a[] = "abc", b[] = "defg";
  iovec out[] = {{a, 3}, {nullptr, 0}, {b, 4}};
  EXPECT_EQ(writev(fd_.get(), out, 3), 7);
  char x[3] = {}, y[6] = {};
  iovec in[] = {{x, 2}, {y, 6}};
  EXPECT_EQ(preadv(fd_.get(), in, 2, 0), 7);
  EXPECT_EQ(std::string(x, 2), "ab");
  EXPECT_EQ(std::string(y, 5), "cdefg");
  EXPECT_EQ(pwritev(fd_.get(), out, 1, 7), 3);
  EXPECT_EQ(ReadFileText(dir_ / "file"), "abcdefgabc");
}

TEST_F(VectorTest, Errors) {
  char a[] = "abc";
  iovec one[] = {{a, 3}};
  volatile int negative_count = -1;
  EXPECT_ERRNO(EINVAL, writev(fd_.get(), one, negative_count));
  std::vector<iovec> many(IOV_MAX + 1, one[0]);
  EXPECT_ERRNO(EINVAL, writev(fd_.get(), many.data(), IOV_MAX + 1));
  EXPECT_ERRNO(EFAULT, writev(fd_.get(), static_cast<iovec*>(BadPointer()), 1));
  iovec negative[] = {{a, SIZE_MAX}};
  EXPECT_ERRNO(EINVAL, writev(fd_.get(), negative, 1));
  EXPECT_ERRNO(EBADF, readv(-1, one, 1));
  EXPECT_ERRNO(EINVAL, preadv(fd_.get(), one, 1, -1));
  EXPECT_ERRNO(EOPNOTSUPP, preadv2(fd_.get(), one, 1, 0, 1 << 20));
  EXPECT_EQ(writev(fd_.get(), one, 0), 0);
}

TEST_F(VectorTest, ABadEntryEndsTheTransfer) {
  char a[] = "abc";
  iovec out[] = {{a, 3}, {BadPointer(), 4}};
  EXPECT_EQ(writev(fd_.get(), out, 2), 3);
  iovec bad[] = {{BadPointer(), 4}, {a, 3}};
  EXPECT_ERRNO(EFAULT, writev(fd_.get(), bad, 2));
}

TEST_F(VectorTest, OffsetMinusOneUsesThePosition) {
  char a[] = "abc";
  iovec out[] = {{a, 3}};
  EXPECT_EQ(pwritev2(fd_.get(), out, 1, -1, 0), 3);
  EXPECT_EQ(lseek(fd_.get(), 0, SEEK_CUR), 3);
  EXPECT_EQ(pwritev2(fd_.get(), out, 1, 0, RWF_APPEND), 3);
  EXPECT_EQ(ReadFileText(dir_ / "file"), "abcabc");
  EXPECT_EQ(pwritev2(fd_.get(), out, 1, 0, RWF_SYNC), 3);
}

TEST_F(VectorTest, NowaitDoesNotBlockOnAPipe) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  char byte;
  iovec in[] = {{&byte, 1}};
  EXPECT_ERRNO(EAGAIN, preadv2(pipes[0], in, 1, -1, RWF_NOWAIT));
  close(pipes[0]);
  close(pipes[1]);
}

}  // namespace
}  // namespace guest
