// Arguments and results of hot calls: buffers at the edges of mappings, in memory of every kind, that overlap, that
// another thread takes away, and programs that look at a result at once from another process or thread. Each case is
// repeated so often that call sites worth it are rewritten.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <csignal>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/util/guest.h"

namespace guest {
namespace {

constexpr int kHot = 600;
constexpr size_t kPage = 4096;

class CallData : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/call_data_XXXXXX";
    fd_ = mkstemp(name);
    ASSERT_GE(fd_, 0);
    ASSERT_EQ(unlink(name), 0);
    for (size_t i = 0; i < sizeof(bytes_); ++i) bytes_[i] = static_cast<char>(i * 7 + i / 251);
    ASSERT_EQ(write(fd_, bytes_, sizeof(bytes_)), static_cast<ssize_t>(sizeof(bytes_)));
    memory_ = static_cast<char*>(mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(memory_, MAP_FAILED);
    ASSERT_EQ(munmap(memory_ + 3 * kPage, kPage), 0);
    end_ = memory_ + 3 * kPage;
  }
  void TearDown() override {
    munmap(memory_, 3 * kPage);
    close(fd_);
  }
  // What a read of `size` bytes at the start of the file has to look like.
  bool Good(const char* data, size_t size) const { return std::memcmp(data, bytes_, size) == 0; }

  int fd_ = -1;
  char bytes_[64 * 1024];
  char* memory_ = nullptr;
  char* end_ = nullptr;  // nothing is mapped here
};

TEST_F(CallData, ResultsAtTheEndOfAMapping) {
  struct stat want;
  ASSERT_EQ(fstat(fd_, &want), 0);
  for (int i = 0; i < kHot; ++i) {
    auto* const fits = reinterpret_cast<struct stat*>(end_ - sizeof(struct stat));
    ASSERT_EQ(fstat(fd_, fits), 0);
    ASSERT_EQ(fits->st_size, want.st_size);
    ASSERT_EQ(fits->st_ino, want.st_ino);
    if (i % 16 != 0) continue;
    ASSERT_EQ(fstat(fd_, reinterpret_cast<struct stat*>(end_ - sizeof(struct stat) + 1)), -1);
    ASSERT_EQ(errno, EFAULT);
    ASSERT_EQ(fstat(fd_, reinterpret_cast<struct stat*>(end_)), -1);
    ASSERT_EQ(errno, EFAULT);
    ASSERT_EQ(fstat(fd_, reinterpret_cast<struct stat*>(8)), -1);
    ASSERT_EQ(errno, EFAULT);
    ASSERT_EQ(fstat(fd_, reinterpret_cast<struct stat*>(-4096l)), -1);
    ASSERT_EQ(errno, EFAULT);
  }
}

TEST_F(CallData, ReadsOfEverySize) {
  std::vector<char> buffer(sizeof(bytes_) + 2);
  for (int round = 0; round < 40; ++round) {
    for (const size_t size :
         {0, 1, 7, 15, 16, 17, 255, 4095, 4096, 4097, 8191, 8192, 8193, 24576, 24577, 40960, 65536}) {
      std::memset(buffer.data(), 'z', buffer.size());
      ASSERT_EQ(pread(fd_, buffer.data() + 1, size, 0), static_cast<ssize_t>(size));
      ASSERT_TRUE(Good(buffer.data() + 1, size)) << size;
      ASSERT_EQ(buffer[0], 'z');
      ASSERT_EQ(buffer[size + 1], 'z');
    }
    // Past the end of the file: no more than there is.
    ASSERT_EQ(pread(fd_, buffer.data(), 8192, sizeof(bytes_) - 100), 100);
    ASSERT_EQ(pread(fd_, buffer.data(), 8192, sizeof(bytes_)), 0);
  }
}

TEST_F(CallData, ReadsStopAtAHole) {
  for (int i = 0; i < kHot; ++i) {
    std::memset(memory_, 0, 3 * kPage);
    ASSERT_EQ(pread(fd_, end_ - 1000, 5000, 0), 1000);
    ASSERT_TRUE(Good(end_ - 1000, 1000));
    ASSERT_EQ(pread(fd_, end_, 10, 0), -1);
    ASSERT_EQ(errno, EFAULT);
    ASSERT_EQ(pread(fd_, end_, 0, 0), 0);
  }
}

TEST_F(CallData, ReadsIntoMemoryOfOtherKinds) {
  char* const shared =
      static_cast<char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(shared, MAP_FAILED);
  // Only the first page of the mapping has a file behind it.
  const int small = memfd_create("small", 0);
  ASSERT_EQ(ftruncate(small, kPage), 0);
  char* const file = static_cast<char*>(mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, small, 0));
  ASSERT_NE(file, MAP_FAILED);
  char* const constant = static_cast<char*>(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(constant, MAP_FAILED);
  for (int i = 0; i < kHot; ++i) {
    ASSERT_EQ(pread(fd_, shared, 2 * kPage, 0), static_cast<ssize_t>(2 * kPage));
    ASSERT_TRUE(Good(shared, 2 * kPage));
    ASSERT_EQ(pread(fd_, file + kPage - 8, 16, 0), 8);
    ASSERT_TRUE(Good(file + kPage - 8, 8));
    ASSERT_EQ(pread(fd_, file + kPage, 16, 0), -1);
    ASSERT_EQ(errno, EFAULT);
    ASSERT_EQ(pread(fd_, constant, 16, 0), -1);
    ASSERT_EQ(errno, EFAULT);
    std::memset(shared, 0, kPage);
  }
  munmap(shared, 2 * kPage);
  munmap(file, 2 * kPage);
  munmap(constant, kPage);
  close(small);
}

TEST_F(CallData, TheLastOfOverlappingBuffersWins) {
  std::vector<char> buffer(32 * 1024);
  for (int i = 0; i < kHot; ++i) {
    const iovec parts[] = {{buffer.data() + 8, 100}, {buffer.data(), 200}, {buffer.data() + 4, 16}};
    ASSERT_EQ(preadv(fd_, parts, 3, 0), 316);
    ASSERT_EQ(std::memcmp(buffer.data(), bytes_ + 100, 4), 0);
    ASSERT_EQ(std::memcmp(buffer.data() + 4, bytes_ + 300, 16), 0);
    ASSERT_EQ(std::memcmp(buffer.data() + 20, bytes_ + 120, 180), 0);
    const iovec large[] = {{buffer.data() + 8, 100}, {buffer.data(), 30 * 1024}};
    ASSERT_EQ(preadv(fd_, large, 2, 0), 100 + 30 * 1024);
    ASSERT_EQ(std::memcmp(buffer.data(), bytes_ + 100, 30 * 1024), 0);
  }
}

TEST_F(CallData, ArgumentsAtTheEndOfAMapping) {
  char* const path = end_ - sizeof("/tmp");
  for (int i = 0; i < kHot; ++i) {
    std::memcpy(path, "/tmp", sizeof("/tmp"));
    ASSERT_EQ(access(path, F_OK), 0);
    path[4] = 'x';  // not terminated any more
    ASSERT_EQ(access(path, F_OK), -1);
    ASSERT_EQ(errno, EFAULT);
    ASSERT_EQ(access(end_, F_OK), -1);
    ASSERT_EQ(errno, EFAULT);
    // Over the edge of a page, and longer than what is taken along.
    std::string longer(600, '/');
    longer += "tmp";
    char* const across = memory_ + kPage - 300;
    std::memcpy(across, longer.c_str(), longer.size() + 1);
    ASSERT_EQ(access(across, F_OK), 0);
    ASSERT_EQ(access(std::string(PATH_MAX, 'x').c_str(), F_OK), -1);
    ASSERT_EQ(errno, ENAMETOOLONG);
  }
}

TEST_F(CallData, WritesOfEverySizeAndUpToAHole) {
  std::vector<char> back(64 * 1024);
  for (int round = 0; round < 40; ++round) {
    for (const size_t size : {1, 16, 255, 4096, 8191, 8192, 8193, 40000}) {
      ASSERT_EQ(pwrite(fd_, bytes_ + round, size, 0), static_cast<ssize_t>(size));
      ASSERT_EQ(pread(fd_, back.data(), size, 0), static_cast<ssize_t>(size));
      ASSERT_EQ(std::memcmp(back.data(), bytes_ + round, size), 0);
    }
    std::memset(memory_, 'a' + round % 20, 3 * kPage);
    ASSERT_EQ(pwrite(fd_, end_ - 100, 300, 0), 100);
    ASSERT_EQ(pread(fd_, back.data(), 101, 0), 101);
    ASSERT_EQ(back[99], 'a' + round % 20);
    ASSERT_EQ(pwrite(fd_, end_, 300, 0), -1);
    ASSERT_EQ(errno, EFAULT);
  }
}

TEST_F(CallData, WrittenBytesAreThoseOfTheCall) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  for (uint64_t i = 0; i < 5 * kHot; ++i) {
    uint64_t value = i, got = 0;
    ASSERT_EQ(write(ends[1], &value, sizeof(value)), 8);
    value = ~i;
    ASSERT_EQ(read(ends[0], &got, sizeof(got)), 8);
    ASSERT_EQ(got, i);
  }
  close(ends[0]);
  close(ends[1]);
}

TEST_F(CallData, BufferTakenAwayByAnotherThread) {
  char* const page =
      static_cast<char*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(page, MAP_FAILED);
  std::atomic<bool> stop = false;
  std::thread other([&] {
    while (!stop.load()) {
      mprotect(page, kPage, PROT_NONE);
      mprotect(page, kPage, PROT_READ | PROT_WRITE);
    }
  });
  int good = 0;
  for (int i = 0; i < 4000; ++i) {
    const ssize_t got = pread(fd_, page, kPage, 0);
    if (got < 0) {
      EXPECT_EQ(errno, EFAULT);
    } else {
      EXPECT_GT(got, 0);
      good += got == static_cast<ssize_t>(kPage);
    }
    const ssize_t put = pwrite(fd_, page, 64, sizeof(bytes_));
    if (put < 0) {
      EXPECT_EQ(errno, EFAULT);
    } else {
      EXPECT_GT(put, 0);
    }
    // Whatever the page spells.
    if (access(page, F_OK) < 0) {
      EXPECT_TRUE(errno == EFAULT || errno == ENOENT || errno == ENAMETOOLONG) << errno;
    }
  }
  stop = true;
  other.join();
  EXPECT_GT(good, 0);
  ASSERT_EQ(pread(fd_, page, kPage, 0), static_cast<ssize_t>(kPage));
  EXPECT_TRUE(Good(page, kPage));
  munmap(page, kPage);
}

TEST_F(CallData, ForkedChildHasTheResult) {
  for (int i = 0; i < 60; ++i) {
    uint64_t word = 0;
    for (int warm = 0; warm < 20; ++warm) ASSERT_EQ(pread(fd_, &word, sizeof(word), warm), 8);
    ASSERT_EQ(pread(fd_, &word, sizeof(word), i), 8);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      uint64_t again = 0;
      _exit(std::memcmp(&word, bytes_ + i, 8) == 0 && pread(fd_, &again, 8, i) == 8 && again == word ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
  }
}

std::atomic<int> ticks = 0;

// The handler's own calls come between the result of the interrupted one and its use.
TEST_F(CallData, SignalsBetweenCallAndResult) {
  static int fd;
  fd = fd_;
  struct sigaction action = {};
  action.sa_handler = [](int) {
    char other[64];
    if (pread(fd, other, sizeof(other), 1000) != 64) abort();
    ticks.fetch_add(1);
  };
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGALRM, &action, nullptr), 0);
  const itimerval often = {{0, 300}, {0, 300}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  while (ticks.load() < 200) {
    char data[512];
    ASSERT_EQ(pread(fd_, data, sizeof(data), 0), static_cast<ssize_t>(sizeof(data)));
    ASSERT_TRUE(Good(data, sizeof(data)));
    struct stat st = {};
    ASSERT_EQ(fstat(fd_, &st), 0);
    ASSERT_EQ(st.st_size, static_cast<off_t>(sizeof(bytes_)));
  }
  const itimerval never = {};
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
}

}  // namespace
}  // namespace guest
