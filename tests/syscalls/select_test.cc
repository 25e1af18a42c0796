// select(2), pselect6(2), ppoll(2): sets of any size, masks, errors. The raw calls.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "tests/util/guest.h"
#include "tests/util/memory.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

struct MaskArgument {
  const void* set;
  size_t size;
};

// A set of descriptors larger than fd_set's 1024.
class Set {
 public:
  explicit Set(int count) : words_((count + 63) / 64) {}
  void Add(int fd) { words_[fd / 64] |= 1ul << fd % 64; }
  bool Has(int fd) const { return words_[fd / 64] >> fd % 64 & 1; }
  void* data() { return words_.data(); }

 private:
  std::vector<unsigned long> words_;
};

class SelectTest : public testing::Test {
 protected:
  SelectTest() { EXPECT_OK(pipe(pipe_)); }
  ~SelectTest() override {
    close(pipe_[0]);
    close(pipe_[1]);
  }
  int pipe_[2];
  const timespec now_ = {};
};

TEST_F(SelectTest, DescriptorsBeyondFdSetSize) {
  const int high = fcntl(pipe_[0], F_DUPFD, 3000);
  if (high < 0) return;  // a hard limit below that
  ASSERT_EQ(write(pipe_[1], "x", 1), 1);
  Set in(high + 1);
  in.Add(high);
  timeval zero = {};
  EXPECT_EQ(syscall(SYS_select, high + 1, in.data(), nullptr, nullptr, &zero), 1);
  EXPECT_TRUE(in.Has(high));
  close(high);
}

TEST_F(SelectTest, OnlyBitsBelowTheCountMatter) {
  Set in(64);
  in.Add(pipe_[0]);
  in.Add(63);  // not open
  timespec zero = {};
  EXPECT_EQ(syscall(SYS_pselect6, pipe_[0] + 1, in.data(), nullptr, nullptr, &zero, nullptr), 0);
  EXPECT_FALSE(in.Has(63)) << "whole words are written back";
  in.Add(63);
  EXPECT_ERRNO(EBADF, syscall(SYS_pselect6, 64, in.data(), nullptr, nullptr, &zero, nullptr));
}

TEST_F(SelectTest, OneDescriptorCountsInEachSet) {
  int pair[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
  ASSERT_EQ(write(pair[1], "x", 1), 1);
  Set in(64), out(64), except(64);
  for (Set* set : {&in, &out, &except}) set->Add(pair[0]);
  EXPECT_EQ(syscall(SYS_select, pair[0] + 1, in.data(), out.data(), except.data(), nullptr), 2);
  EXPECT_FALSE(except.Has(pair[0]));
  close(pair[0]);
  close(pair[1]);
}

TEST_F(SelectTest, HangUpIsReadableAndErrorWritable) {
  Set in(64), out(64);
  in.Add(pipe_[0]);
  close(pipe_[1]);
  EXPECT_EQ(syscall(SYS_select, pipe_[0] + 1, in.data(), nullptr, nullptr, nullptr), 1);
  ASSERT_OK(pipe(pipe_));
  close(pipe_[0]);
  out.Add(pipe_[1]);
  EXPECT_EQ(syscall(SYS_select, pipe_[1] + 1, nullptr, out.data(), nullptr, nullptr), 1);
  EXPECT_TRUE(out.Has(pipe_[1]));
}

TEST_F(SelectTest, Errors) {
  Set in(64);
  timeval bad = {0, -1};
  EXPECT_ERRNO(EINVAL, syscall(SYS_select, 0, nullptr, nullptr, nullptr, &bad));
  EXPECT_ERRNO(EFAULT, syscall(SYS_select, -1, nullptr, nullptr, nullptr, BadPointer())) << "the time first";
  EXPECT_ERRNO(EINVAL, syscall(SYS_select, -1, nullptr, nullptr, nullptr, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_select, 64, in.data(), BadPointer(), nullptr, nullptr));
  timespec late = {0, 1'000'000'000};
  EXPECT_ERRNO(EINVAL, syscall(SYS_pselect6, 0, nullptr, nullptr, nullptr, &late, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_pselect6, 0, nullptr, nullptr, nullptr, nullptr, BadPointer()));
  sigset_t set;
  sigemptyset(&set);
  MaskArgument mask = {&set, 4};
  timespec zero = {};
  EXPECT_ERRNO(EINVAL, syscall(SYS_pselect6, 0, nullptr, nullptr, nullptr, &zero, &mask));
  mask = {BadPointer(), 8};
  EXPECT_ERRNO(EFAULT, syscall(SYS_pselect6, 0, nullptr, nullptr, nullptr, &zero, &mask));
  mask = {nullptr, 4};
  EXPECT_OK(syscall(SYS_pselect6, 0, nullptr, nullptr, nullptr, &zero, &mask)) << "no mask, no size";
  pollfd request = {pipe_[0], POLLIN, 0};
  EXPECT_ERRNO(EINVAL, syscall(SYS_ppoll, &request, 1, &zero, &set, 4));
  EXPECT_ERRNO(EFAULT, syscall(SYS_ppoll, &request, 1, &zero, BadPointer(), 8));
  EXPECT_ERRNO(EINVAL, syscall(SYS_ppoll, &request, 1, &late, nullptr, 8));
  EXPECT_ERRNO(EFAULT, syscall(SYS_ppoll, BadPointer(), 1, &zero, nullptr, 8));
}

TEST_F(SelectTest, AnEdgeOfMemoryIsEnough) {
  EdgeBuffer edge(8);
  std::memset(edge.front(), 0, 8);
  edge.front()[pipe_[0] / 8] = static_cast<char>(1 << pipe_[0] % 8);
  timespec zero = {};
  ASSERT_LT(pipe_[0], 64);
  EXPECT_EQ(syscall(SYS_pselect6, pipe_[0] + 1, edge.front(), nullptr, nullptr, &zero, nullptr), 0);
}

TEST_F(SelectTest, TheMaskHoldsOnlyDuringTheWait) {
  EXPECT_EQ(RunInChild([&] {
              static int signals;
              signals = 0;
              signal(SIGUSR1, [](int) { ++signals; });
              sigset_t blocked, none;
              sigemptyset(&none);
              sigemptyset(&blocked);
              sigaddset(&blocked, SIGUSR1);
              sigprocmask(SIG_SETMASK, &blocked, nullptr);
              raise(SIGUSR1);
              const MaskArgument mask = {&none, 8};
              EXPECT_ERRNO(EINTR, syscall(SYS_pselect6, 0, nullptr, nullptr, nullptr, nullptr, &mask));
              EXPECT_EQ(signals, 1);
              raise(SIGUSR1);
              EXPECT_EQ(signals, 1) << "blocked again";
              Set in(64);
              in.Add(pipe_[0]);
              (void)!write(pipe_[1], "x", 1);
              EXPECT_EQ(syscall(SYS_pselect6, pipe_[0] + 1, in.data(), nullptr, nullptr, nullptr, &mask), 1)
                  << "what is ready comes first";
              EXPECT_EQ(signals, 1) << "and the signal stays pending";
              return 0;
            }),
            0);
}

TEST_F(SelectTest, AnInterruptedWaitWritesTheTimeBack) {
  Interrupter interrupter(/*restart=*/true);
  timeval timeout = {1000, 0};
  Set in(64);
  in.Add(pipe_[0]);
  EXPECT_ERRNO(EINTR, syscall(SYS_select, pipe_[0] + 1, in.data(), nullptr, nullptr, &timeout));
  EXPECT_LT(timeout.tv_sec, 1000);
  EXPECT_TRUE(in.Has(pipe_[0])) << "the sets are not touched";
}

}  // namespace
}  // namespace guest
