// eventfd(2).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

namespace {

uint64_t Take(int fd) {
  uint64_t value = 0;
  EXPECT_EQ(read(fd, &value, sizeof(value)), 8);
  return value;
}
void Put(int fd, uint64_t value) { EXPECT_EQ(write(fd, &value, sizeof(value)), 8); }

TEST(EventfdTest, AddsAndTakesAll) {
  const int fd = eventfd(3, 0);
  ASSERT_GE(fd, 0);
  Put(fd, 4);
  EXPECT_EQ(Take(fd), 7u);
  close(fd);
}

TEST(EventfdTest, SemaphoreTakesOne) {
  const int fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
  EXPECT_EQ(Take(fd), 1u);
  EXPECT_EQ(Take(fd), 1u);
  uint64_t value;
  EXPECT_EQ(read(fd, &value, 8), -1);
  EXPECT_EQ(errno, EAGAIN);
  close(fd);
}

TEST(EventfdTest, ChecksArguments) {
  EXPECT_EQ(eventfd(0, 1 << 20), -1);
  EXPECT_EQ(errno, EINVAL);
  const int fd = eventfd(1, EFD_NONBLOCK);
  uint64_t value = ~uint64_t{0};
  EXPECT_EQ(write(fd, &value, 8), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(write(fd, &value, 7), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(read(fd, &value, 4), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(write(fd, reinterpret_cast<void*>(8), 8), -1);
  EXPECT_EQ(errno, EFAULT);
  close(fd);
}

TEST(EventfdTest, OverflowWaits) {
  const int fd = eventfd(0, EFD_NONBLOCK);
  Put(fd, ~uint64_t{0} - 1);
  uint64_t one = 1;
  EXPECT_EQ(write(fd, &one, 8), -1);
  EXPECT_EQ(errno, EAGAIN);
  pollfd request = {fd, POLLIN | POLLOUT, 0};
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_EQ(request.revents, POLLIN);
  EXPECT_EQ(Take(fd), ~uint64_t{0} - 1);
  EXPECT_EQ(poll(&request, 1, 0), 1);
  EXPECT_EQ(request.revents, POLLOUT);
  close(fd);
}

TEST(EventfdTest, WakesAReader) {
  const int fd = eventfd(0, 0);
  std::thread writer([&] {
    for (int i = 0; i < 1000; ++i) Put(fd, 1);
  });
  uint64_t total = 0;
  while (total < 1000) total += Take(fd);
  writer.join();
  EXPECT_EQ(total, 1000u);
  close(fd);
}

}  // namespace
