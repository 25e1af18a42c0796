// pipe(2), pipe(7), fifo(7).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "tests/util/sleeping.h"

namespace {

struct Pipe {
  explicit Pipe(int flags = 0) { EXPECT_EQ(pipe2(fds, flags), 0); }
  ~Pipe() {
    CloseReader();
    CloseWriter();
  }
  int reader() const { return fds[0]; }
  int writer() const { return fds[1]; }
  void CloseReader() { Close(fds[0]); }
  void CloseWriter() { Close(fds[1]); }

 private:
  static void Close(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
  int fds[2] = {-1, -1};
};

// Fills until a non-blocking write finds no room; returns the bytes that fitted.
size_t Fill(int fd, size_t step) {
  const std::vector<char> data(step, 'f');
  size_t total = 0;
  for (;;) {
    const ssize_t n = write(fd, data.data(), data.size());
    if (n < 0) {
      EXPECT_EQ(errno, EAGAIN);
      return total;
    }
    total += n;
  }
}

TEST(PipeTest, CarriesBytesInOrder) {
  Pipe p;
  ASSERT_EQ(write(p.writer(), "hello ", 6), 6);
  ASSERT_EQ(write(p.writer(), "world", 5), 5);
  char buffer[32] = {};
  EXPECT_EQ(read(p.reader(), buffer, 3), 3);
  EXPECT_EQ(read(p.reader(), buffer + 3, sizeof(buffer) - 4), 8);
  EXPECT_STREQ(buffer, "hello world");
}

TEST(PipeTest, FlagsAreCheckedAndApplied) {
  int fds[2];
  EXPECT_EQ(pipe2(fds, 0x40000000), -1);
  EXPECT_EQ(errno, EINVAL);
  Pipe p(O_CLOEXEC | O_NONBLOCK);
  EXPECT_EQ(fcntl(p.reader(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(p.reader(), F_GETFL), O_RDONLY | O_NONBLOCK);
  EXPECT_EQ(fcntl(p.writer(), F_GETFL), O_WRONLY | O_NONBLOCK);
  char c;
  EXPECT_EQ(read(p.reader(), &c, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST(PipeTest, BadPointerLeavesNoDescriptors) {
  const int before = dup(0);
  close(before);
  EXPECT_EQ(syscall(SYS_pipe2, 8L, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  const int after = dup(0);
  close(after);
  EXPECT_EQ(before, after);
}

TEST(PipeTest, WrongEndIsRefused) {
  Pipe p;
  char c = 0;
  EXPECT_EQ(read(p.writer(), &c, 1), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(write(p.reader(), &c, 1), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(lseek(p.reader(), 0, SEEK_CUR), -1);
  EXPECT_EQ(errno, ESPIPE);
  EXPECT_EQ(pread(p.reader(), &c, 1, 0), -1);
  EXPECT_EQ(errno, ESPIPE);
}

TEST(PipeTest, EndOfFileAfterLastWriter) {
  Pipe p;
  ASSERT_EQ(write(p.writer(), "x", 1), 1);
  p.CloseWriter();
  char c;
  EXPECT_EQ(read(p.reader(), &c, 1), 1);
  EXPECT_EQ(read(p.reader(), &c, 1), 0);
  pollfd request = {p.reader(), POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_EQ(request.revents, POLLHUP);
}

TEST(PipeTest, WriteWithoutReaderRaisesSigpipe) {
  Pipe p;
  p.CloseReader();
  const pid_t child = fork();
  if (child == 0) {
    (void)!write(p.writer(), "x", 1);
    _exit(0);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
  signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(write(p.writer(), "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  pollfd request = {p.writer(), POLLOUT, 0};
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_EQ(request.revents, POLLOUT | POLLERR);
  signal(SIGPIPE, SIG_DFL);
}

TEST(PipeTest, HoldsExactlyItsCapacity) {
  for (const size_t step : {size_t{1}, size_t{512}, size_t{4096}, size_t{65536}}) {
    Pipe p(O_NONBLOCK);
    EXPECT_EQ(Fill(p.writer(), step), 65536u) << step;
    int queued;
    EXPECT_EQ(ioctl(p.reader(), FIONREAD, &queued), 0);
    EXPECT_EQ(queued, 65536);
  }
}

TEST(PipeTest, SmallWritesAreAllOrNothing) {
  Pipe p(O_NONBLOCK);
  Fill(p.writer(), 4096);
  char buffer[4096];
  ASSERT_EQ(read(p.reader(), buffer, 4095), 4095);
  EXPECT_EQ(write(p.writer(), buffer, 4096), -1);
  EXPECT_EQ(errno, EAGAIN);
  ASSERT_EQ(read(p.reader(), buffer, 1), 1);
  EXPECT_EQ(write(p.writer(), buffer, 4096), 4096);
}

TEST(PipeTest, LargeWriteIsPartialWhenNonBlocking) {
  Pipe p(O_NONBLOCK);
  const std::vector<char> data(100000, 'x');
  EXPECT_EQ(write(p.writer(), data.data(), data.size()), 65536);
}

TEST(PipeTest, SizeCanBeChanged) {
  Pipe p(O_NONBLOCK);
  EXPECT_EQ(fcntl(p.reader(), F_GETPIPE_SZ), 65536);
  EXPECT_EQ(fcntl(p.reader(), F_SETPIPE_SZ, 5000), 8192);
  EXPECT_EQ(Fill(p.writer(), 4096), 8192u);
  EXPECT_EQ(fcntl(p.reader(), F_SETPIPE_SZ, 4096), -1);
  EXPECT_EQ(errno, EBUSY);
  EXPECT_EQ(fcntl(p.reader(), F_SETPIPE_SZ, 1 << 20), 1 << 20);
  EXPECT_EQ(Fill(p.writer(), 4096), (1u << 20) - 8192);
  EXPECT_EQ(fcntl(0, F_SETPIPE_SZ, 0), -1);
}

TEST(PipeTest, PacketModeKeepsBoundaries) {
  Pipe p(O_DIRECT);
  ASSERT_EQ(write(p.writer(), "first", 5), 5);
  ASSERT_EQ(write(p.writer(), "second", 6), 6);
  char buffer[64];
  EXPECT_EQ(read(p.reader(), buffer, 3), 3);  // the rest of the packet is dropped
  EXPECT_EQ(read(p.reader(), buffer, sizeof(buffer)), 6);
}

TEST(PipeTest, VectorsAreOneWrite) {
  Pipe p;
  char a[] = "abc", b[] = "defg";
  iovec out[] = {{a, 3}, {nullptr, 0}, {b, 4}};
  ASSERT_EQ(writev(p.writer(), out, 3), 7);
  char x[2], y[10];
  iovec in[] = {{x, sizeof(x)}, {y, sizeof(y)}};
  EXPECT_EQ(readv(p.reader(), in, 2), 7);
  EXPECT_EQ(std::string(y, 5), "cdefg");
}

TEST(PipeTest, FaultsAreReportedAndLoseNothing) {
  Pipe p(O_NONBLOCK);
  char* page = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_EQ(munmap(page + 4096, 4096), 0);
  EXPECT_EQ(write(p.writer(), page + 4096, 10), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(write(p.writer(), page + 4000, 200), -1);
  EXPECT_EQ(errno, EFAULT);
  ASSERT_EQ(write(p.writer(), "data", 4), 4);
  EXPECT_EQ(read(p.reader(), page + 4096, 4), -1);
  EXPECT_EQ(errno, EFAULT);
  char buffer[8];
  EXPECT_EQ(read(p.reader(), buffer, sizeof(buffer)), 4);
  munmap(page, 4096);
}

TEST(PipeTest, ZeroBytes) {
  Pipe p(O_NONBLOCK);
  EXPECT_EQ(write(p.writer(), nullptr, 0), 0);
  EXPECT_EQ(read(p.reader(), nullptr, 0), 0);
}

TEST(PipeTest, BlockedWriterContinuesUntilAllIsTaken) {
  Pipe p;
  std::vector<char> data(1 << 20);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31);
  std::thread writer(
      [&] { EXPECT_EQ(write(p.writer(), data.data(), data.size()), static_cast<ssize_t>(data.size())); });
  std::vector<char> got;
  char buffer[7001];
  while (got.size() < data.size()) {
    const ssize_t n = read(p.reader(), buffer, sizeof(buffer));
    ASSERT_GT(n, 0);
    got.insert(got.end(), buffer, buffer + n);
  }
  writer.join();
  EXPECT_EQ(got, data);
}

std::atomic<int> alarms;
void OnAlarm(int) { ++alarms; }

TEST(PipeTest, SignalInterruptsOrRestarts) {
  Pipe p;
  struct sigaction action = {};
  action.sa_handler = OnAlarm;
  sigaction(SIGALRM, &action, nullptr);
  char c;
  {
    guest::WhenAsleepIn later(SYS_read, [] { kill(getpid(), SIGALRM); });
    EXPECT_EQ(read(p.reader(), &c, 1), -1);
    EXPECT_EQ(errno, EINTR);
  }
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  alarms = 0;
  const pid_t self = gettid();
  guest::WhenAsleepIn later(SYS_read, [&] {
    kill(getpid(), SIGALRM);
    while (alarms == 0) sched_yield();
    guest::AwaitSleepIn(self, SYS_read);
    (void)!write(p.writer(), "r", 1);
  });
  EXPECT_EQ(read(p.reader(), &c, 1), 1);
  EXPECT_EQ(alarms, 1);
  signal(SIGALRM, SIG_DFL);
}

TEST(PipeTest, ManyWritersKeepSmallMessagesWhole) {
  Pipe p;
  constexpr int kThreads = 4, kMessages = 300, kSize = 100;
  std::vector<std::thread> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&, t] {
      const std::string message(kSize, static_cast<char>('a' + t));
      for (int i = 0; i < kMessages; ++i) ASSERT_EQ(write(p.writer(), message.data(), kSize), kSize);
    });
  }
  std::string all;
  char buffer[4096];
  while (all.size() < size_t{kThreads} * kMessages * kSize) {
    const ssize_t n = read(p.reader(), buffer, sizeof(buffer));
    ASSERT_GT(n, 0);
    all.append(buffer, n);
  }
  for (auto& w : writers) w.join();
  for (size_t i = 0; i < all.size(); i += kSize) {
    ASSERT_EQ(all.substr(i, kSize), std::string(kSize, all[i]));
  }
}

TEST(PipeTest, StatSaysFifo) {
  Pipe p;
  struct stat st;
  ASSERT_EQ(fstat(p.reader(), &st), 0);
  EXPECT_TRUE(S_ISFIFO(st.st_mode));
  char link[64] = {};
  const std::string proc = "/proc/self/fd/" + std::to_string(p.reader());
  ASSERT_GT(readlink(proc.c_str(), link, sizeof(link) - 1), 0);
  EXPECT_EQ(std::string(link), "pipe:[" + std::to_string(st.st_ino) + "]");
}

// More threads wait at once than any implementation has cheap places for, and each is woken by its own writer.
TEST(PipeTest, ManyWaitersAreAllWoken) {
  constexpr int kWaiters = 60;
  std::vector<std::unique_ptr<Pipe>> pipes;
  for (int i = 0; i < kWaiters; ++i) pipes.push_back(std::make_unique<Pipe>());
  std::vector<int> got(kWaiters, -1);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWaiters; ++i) {
    threads.emplace_back([&, i] {
      char byte = 0;
      if (read(pipes[i]->reader(), &byte, 1) == 1) got[i] = byte;
    });
  }
  for (int i = kWaiters - 1; i >= 0; --i) {
    const char byte = static_cast<char>(i);
    ASSERT_EQ(write(pipes[i]->writer(), &byte, 1), 1);
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(got[i], i);
}

// A token goes round a ring of processes: each is woken by its neighbour and wakes the next.
TEST(PipeTest, RingOfProcesses) {
  constexpr int kMembers = 24, kRounds = 50;
  std::vector<std::unique_ptr<Pipe>> pipes;
  for (int i = 0; i <= kMembers; ++i) pipes.push_back(std::make_unique<Pipe>());
  std::vector<pid_t> children;
  for (int i = 0; i < kMembers; ++i) {
    children.push_back(fork());
    ASSERT_GE(children.back(), 0);
    if (children.back() != 0) continue;
    for (int round = 0; round < kRounds; ++round) {
      int token = 0;
      if (read(pipes[i]->reader(), &token, sizeof(token)) != sizeof(token)) _exit(1);
      ++token;
      if (write(pipes[i + 1]->writer(), &token, sizeof(token)) != sizeof(token)) _exit(2);
    }
    _exit(0);
  }
  int token = 0;
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_EQ(write(pipes[0]->writer(), &token, sizeof(token)), static_cast<ssize_t>(sizeof(token)));
    ASSERT_EQ(read(pipes[kMembers]->reader(), &token, sizeof(token)), static_cast<ssize_t>(sizeof(token)));
  }
  EXPECT_EQ(token, kMembers * kRounds);
  for (const pid_t child : children) {
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

class FifoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char dir[] = "/tmp/fifo_testXXXXXX";
    ASSERT_NE(mkdtemp(dir), nullptr);
    dir_ = dir;
    path_ = dir_ + "/fifo";
    ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  }
  void TearDown() override {
    unlink(path_.c_str());
    rmdir(dir_.c_str());
  }
  std::string dir_, path_;
};

TEST_F(FifoTest, NonBlockingOpenRules) {
  EXPECT_EQ(open(path_.c_str(), O_WRONLY | O_NONBLOCK), -1);
  EXPECT_EQ(errno, ENXIO);
  const int reader = open(path_.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  pollfd request = {reader, POLLIN, 0};
  EXPECT_EQ(poll(&request, 1, 0), 0);  // no hang-up before the first writer
  char c;
  EXPECT_EQ(read(reader, &c, 1), 0);
  const int writer = open(path_.c_str(), O_WRONLY | O_NONBLOCK);
  ASSERT_GE(writer, 0);
  EXPECT_EQ(read(reader, &c, 1), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(write(writer, "ab", 2), 2);
  close(writer);
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_EQ(request.revents, POLLIN | POLLHUP);
  close(reader);
}

TEST_F(FifoTest, OpensMeet) {
  std::thread other([&] {
    const int writer = open(path_.c_str(), O_WRONLY);
    ASSERT_GE(writer, 0);
    EXPECT_EQ(write(writer, "meet", 4), 4);
    close(writer);
  });
  const int reader = open(path_.c_str(), O_RDONLY);
  ASSERT_GE(reader, 0);
  char buffer[8];
  EXPECT_EQ(read(reader, buffer, sizeof(buffer)), 4);
  EXPECT_EQ(read(reader, buffer, sizeof(buffer)), 0);
  other.join();
  close(reader);
}

TEST_F(FifoTest, BothWaysNeverBlocks) {
  const int fd = open(path_.c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(write(fd, "self", 4), 4);
  char buffer[8];
  EXPECT_EQ(read(fd, buffer, sizeof(buffer)), 4);
  close(fd);
}

TEST_F(FifoTest, BlockingOpenIsInterrupted) {
  struct sigaction action = {};
  action.sa_handler = OnAlarm;
  sigaction(SIGALRM, &action, nullptr);
  guest::WhenAsleepIn later(SYS_openat, [] { kill(getpid(), SIGALRM); });
  EXPECT_EQ(open(path_.c_str(), O_RDONLY), -1);
  EXPECT_EQ(errno, EINTR);
  signal(SIGALRM, SIG_DFL);
}

}  // namespace
