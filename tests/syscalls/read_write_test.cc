// read(2), write(2), pread64(2), pwrite64(2), lseek(2).
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <thread>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

class ReadWriteTest : public testing::Test {
 protected:
  ReadWriteTest() : fd_(open((dir_ / "file").c_str(), O_CREAT | O_RDWR, 0644)) {}
  TempDir dir_;
  ScopedFd fd_;
};

TEST_F(ReadWriteTest, PositionMovesWithReadAndWrite) {
  EXPECT_EQ(write(fd_.get(), "abcdef", 6), 6);
  EXPECT_EQ(lseek(fd_.get(), 0, SEEK_CUR), 6);
  EXPECT_EQ(lseek(fd_.get(), 2, SEEK_SET), 2);
  char text[8] = {};
  EXPECT_EQ(read(fd_.get(), text, 3), 3);
  EXPECT_STREQ(text, "cde");
  EXPECT_EQ(read(fd_.get(), text, 8), 1);
  EXPECT_EQ(read(fd_.get(), text, 8), 0);
  EXPECT_EQ(pread(fd_.get(), text, 2, 0), 2);
  EXPECT_EQ(pwrite(fd_.get(), "Z", 1, 0), 1);
  EXPECT_EQ(lseek(fd_.get(), 0, SEEK_CUR), 6);
  EXPECT_EQ(ReadFileText(dir_ / "file"), "Zbcdef");
}

TEST_F(ReadWriteTest, AppendGoesToTheEnd) {
  ScopedFd append(open((dir_ / "file").c_str(), O_WRONLY | O_APPEND));
  EXPECT_EQ(write(fd_.get(), "12345", 5), 5);
  EXPECT_EQ(write(append.get(), "67", 2), 2);
  EXPECT_EQ(lseek(append.get(), 0, SEEK_CUR), 7);
  EXPECT_EQ(pwrite(append.get(), "8", 1, 0), 1);  // pwrite(2), BUGS: appends on Linux
  EXPECT_EQ(ReadFileText(dir_ / "file"), "12345678");
}

TEST_F(ReadWriteTest, Errors) {
  char byte = 0;
  EXPECT_ERRNO(EBADF, read(-1, &byte, 1));
  EXPECT_ERRNO(EBADF, write(1000, &byte, 1));
  ScopedFd read_only(open((dir_ / "file").c_str(), O_RDONLY));
  EXPECT_ERRNO(EBADF, write(read_only.get(), &byte, 1));
  ScopedFd write_only(open((dir_ / "file").c_str(), O_WRONLY));
  EXPECT_ERRNO(EBADF, read(write_only.get(), &byte, 1));
  EXPECT_ERRNO(EINVAL, pread(fd_.get(), &byte, 1, -1));
  EXPECT_ERRNO(EINVAL, pwrite(fd_.get(), &byte, 1, -1));
  ScopedFd directory(open(dir_.path().c_str(), O_RDONLY));
  EXPECT_ERRNO(EISDIR, read(directory.get(), &byte, 1));
  EXPECT_EQ(read(fd_.get(), &byte, 0), 0);
}

TEST_F(ReadWriteTest, BadPointersFaultAndPartlyBadOnesAreShort) {
  EXPECT_ERRNO(EFAULT, write(fd_.get(), BadPointer(), 4));
  ASSERT_EQ(write(fd_.get(), std::string(10000, 'x').data(), 10000), 10000);
  EXPECT_ERRNO(EFAULT, pread(fd_.get(), BadPointer(), 4, 0));
  EdgeBuffer buffer(5000);
  const ssize_t got = pread(fd_.get(), buffer.front(), 10000, 0);
  EXPECT_GT(got, 0);
  EXPECT_LE(got, 5000);
  for (ssize_t i = 0; i < got; ++i) ASSERT_EQ(buffer.front()[i], 'x');
  const ssize_t put = pwrite(fd_.get(), buffer.front(), 10000, 0);
  EXPECT_LE(put, 5000);
}

TEST_F(ReadWriteTest, SeekKnowsItsLimits) {
  ASSERT_EQ(write(fd_.get(), "abc", 3), 3);
  EXPECT_EQ(lseek(fd_.get(), -1, SEEK_END), 2);
  EXPECT_EQ(lseek(fd_.get(), 100, SEEK_SET), 100);
  EXPECT_ERRNO(EINVAL, lseek(fd_.get(), -200, SEEK_CUR));
  EXPECT_ERRNO(EINVAL, lseek(fd_.get(), 0, 77));
  EXPECT_ERRNO(EBADF, lseek(-1, 0, SEEK_SET));
  EXPECT_EQ(lseek(fd_.get(), 0, SEEK_CUR), 100);
  EXPECT_EQ(lseek(fd_.get(), 0, SEEK_DATA), 0);
  EXPECT_EQ(lseek(fd_.get(), 0, SEEK_HOLE), 3);
  EXPECT_ERRNO(ENXIO, lseek(fd_.get(), 3, SEEK_DATA));
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  EXPECT_ERRNO(ESPIPE, lseek(pipes[0], 0, SEEK_SET));
  char byte;
  EXPECT_ERRNO(ESPIPE, pread(pipes[0], &byte, 1, 0));
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(ReadWriteTest, WritingPastTheEndLeavesZeros) {
  ASSERT_EQ(pwrite(fd_.get(), "end", 3, 10), 3);
  EXPECT_EQ(ReadFileText(dir_ / "file"), std::string(10, '\0') + "end");
  struct stat st;
  ASSERT_OK(fstat(fd_.get(), &st));
  EXPECT_EQ(st.st_size, 13);
}

TEST_F(ReadWriteTest, DupSharesThePosition) {
  ScopedFd twin(dup(fd_.get()));
  ASSERT_EQ(write(fd_.get(), "abc", 3), 3);
  EXPECT_EQ(lseek(twin.get(), 0, SEEK_CUR), 3);
}

TEST_F(ReadWriteTest, LargeTransfersArriveWhole) {
  std::string data(5 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 >> 8);
  ASSERT_EQ(write(fd_.get(), data.data(), data.size()), static_cast<ssize_t>(data.size()));
  std::string back(data.size(), '\0');
  ASSERT_EQ(pread(fd_.get(), back.data(), back.size(), 0), static_cast<ssize_t>(back.size()));
  EXPECT_TRUE(back == data);
}

// Large enough to take another road than small ones may.
TEST_F(ReadWriteTest, LargeReadsStopAtTheEndAndAtBadMemory) {
  constexpr size_t kSize = 1 << 20, kPiece = 300'000, kEdge = 200'001;
  std::string data(kSize, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 >> 8);
  ASSERT_EQ(write(fd_.get(), data.data(), kSize), static_cast<ssize_t>(kSize));
  for (const int flags : {O_RDONLY, O_RDWR}) {
    const ScopedFd file(open((dir_ / "file").c_str(), flags));
    std::string back(kPiece, '\0');
    for (size_t at = 0; at < kSize; at += kPiece) {
      const size_t want = std::min(kPiece, kSize - at);
      ASSERT_EQ(read(file.get(), back.data(), kPiece), static_cast<ssize_t>(want));
      ASSERT_EQ(back.substr(0, want), data.substr(at, want));
      ASSERT_EQ(lseek(file.get(), 0, SEEK_CUR), static_cast<off_t>(at + want));
    }
    EXPECT_EQ(read(file.get(), back.data(), kPiece), 0);
    EXPECT_EQ(pread(file.get(), back.data(), kPiece, 2 * kSize), 0);
    EXPECT_ERRNO(EFAULT, pread(file.get(), BadPointer(), kPiece, 0));
    EdgeBuffer edge(kEdge);
    const ssize_t got = pread(file.get(), edge.front(), kPiece, 1);
    ASSERT_GT(got, 0);
    ASSERT_LE(got, static_cast<ssize_t>(kEdge));
    EXPECT_EQ(std::string_view(edge.front(), got), std::string_view(data).substr(1, got));
    std::string one(kPiece, '\0'), two(kPiece, '\0');
    const iovec parts[] = {{one.data(), kPiece}, {two.data(), kPiece}};
    ASSERT_EQ(preadv(file.get(), parts, 2, 7), static_cast<ssize_t>(2 * kPiece));
    EXPECT_EQ(one + two, data.substr(7, 2 * kPiece));
  }
}

TEST_F(ReadWriteTest, ConcurrentReadsOfOneDescriptionDoNotOverlap) {
  constexpr int kRecords = 4000;
  std::vector<int> values(kRecords);
  for (int i = 0; i < kRecords; ++i) values[i] = i;
  ASSERT_EQ(write(fd_.get(), values.data(), kRecords * sizeof(int)), static_cast<ssize_t>(kRecords * sizeof(int)));
  lseek(fd_.get(), 0, SEEK_SET);
  std::vector<int> seen[2];
  auto reader = [&](int which) {
    int value;
    while (read(fd_.get(), &value, sizeof(value)) == sizeof(value)) seen[which].push_back(value);
  };
  std::thread other(reader, 1);
  reader(0);
  other.join();
  std::vector<bool> once(kRecords);
  for (const auto& list : seen) {
    for (int value : list) {
      EXPECT_FALSE(once[value]);
      once[value] = true;
    }
  }
  EXPECT_EQ(seen[0].size() + seen[1].size(), static_cast<size_t>(kRecords));
}

TEST_F(ReadWriteTest, TheFileSizeLimitRaisesSigxfsz) {
  const std::string path = dir_ / "limited";
  auto body = [&](bool ignore) {
    const rlimit limit = {10, 10};
    setrlimit(RLIMIT_FSIZE, &limit);
    if (ignore) signal(SIGXFSZ, SIG_IGN);
    const int fd = open(path.c_str(), O_CREAT | O_RDWR | O_TRUNC, 0644);
    if (write(fd, "0123456789abc", 13) != 10) return 1;
    if (write(fd, "x", 1) != -1 || errno != EFBIG) return 2;
    if (ftruncate(fd, 11) != -1 || errno != EFBIG) return 3;
    return 0;
  };
  EXPECT_EQ(RunInChild([&] { return body(true); }), 0);
  EXPECT_EQ(RunInChild([&] { return body(false); }), 128 + SIGXFSZ);
}

TEST_F(ReadWriteTest, ReadsOfAnEmptyPipeAreInterrupted) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  char byte;
  {
    Interrupter interrupter;
    EXPECT_ERRNO(EINTR, read(pipes[0], &byte, 1));
  }
  {
    // Restarted: the data that comes later is what ends the call.
    Interrupter interrupter(true);
    const pid_t self = gettid();
    WhenAsleepIn writer(SYS_read, [&] {
      while (Interrupter::count() == 0) sched_yield();
      AwaitSleepIn(self, SYS_read);
      EXPECT_EQ(write(pipes[1], "x", 1), 1);
    });
    EXPECT_EQ(read(pipes[0], &byte, 1), 1);
    EXPECT_GT(Interrupter::count(), 0);
  }
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(ReadWriteTest, AWriteThatBlocksHalfwayReportsWhatItDid) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  const std::string data(200'000, 'x');
  Interrupter interrupter;
  const ssize_t put = write(pipes[1], data.data(), data.size());
  EXPECT_GT(put, 0);
  EXPECT_LT(put, static_cast<ssize_t>(data.size()));
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(ReadWriteTest, WritingDropsSetIdBits) {
  ASSERT_OK(fchmod(fd_.get(), 06777));
  EXPECT_EQ(RunAsNobody([&] {
              const int fd = open((dir_ / "file").c_str(), O_WRONLY);
              return write(fd, "x", 1) == 1 ? 0 : 1;
            }),
            0);
  struct stat st;
  ASSERT_OK(fstat(fd_.get(), &st));
  EXPECT_EQ(st.st_mode & 07777, 0777u);
}

}  // namespace
}  // namespace guest
