// io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2).
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

long IoSetup(unsigned size, aio_context_t* context) { return syscall(SYS_io_setup, size, context); }
long IoDestroy(aio_context_t context) { return syscall(SYS_io_destroy, context); }
long IoSubmit(aio_context_t context, long count, iocb** requests) {
  return syscall(SYS_io_submit, context, count, requests);
}
long IoGetevents(aio_context_t context, long least, long most, io_event* events, const timespec* timeout = nullptr) {
  return syscall(SYS_io_getevents, context, least, most, events, timeout);
}

iocb Request(int opcode, int fd, void* data, size_t size, int64_t offset) {
  iocb request{};
  request.aio_lio_opcode = static_cast<uint16_t>(opcode);
  request.aio_fildes = static_cast<uint32_t>(fd);
  request.aio_buf = reinterpret_cast<uint64_t>(data);
  request.aio_nbytes = size;
  request.aio_offset = offset;
  request.aio_data = 0x1234;
  return request;
}

class AioTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_OK(IoSetup(4, &context_)); }
  void TearDown() override {
    if (context_ != 0) {
      EXPECT_OK(IoDestroy(context_));
    }
  }
  // Submits one request: 1, or -1 with errno.
  long Submit(iocb& request) {
    iocb* list[] = {&request};
    return IoSubmit(context_, 1, list);
  }
  io_event One() {
    io_event event{};
    EXPECT_EQ(IoGetevents(context_, 1, 1, &event), 1);
    return event;
  }

  TempDir dir_;
  aio_context_t context_ = 0;
};

TEST_F(AioTest, WritesAndReads) {
  const ScopedFd fd(open((dir_ / "f").c_str(), O_CREAT | O_RDWR, 0600));
  char text[] = "hello";
  iocb write = Request(IOCB_CMD_PWRITE, fd.get(), text, 5, 3);
  ASSERT_EQ(Submit(write), 1);
  io_event event = One();
  EXPECT_EQ(event.res, 5);
  EXPECT_EQ(event.data, 0x1234u);
  EXPECT_EQ(event.obj, reinterpret_cast<uint64_t>(&write));
  char back[16] = {};
  iovec parts[] = {{back, 4}, {back + 4, 8}};
  iocb read = Request(IOCB_CMD_PREADV, fd.get(), parts, 2, 0);
  iocb sync = Request(IOCB_CMD_FSYNC, fd.get(), nullptr, 0, 0);
  iocb* list[] = {&read, &sync};
  ASSERT_EQ(IoSubmit(context_, 2, list), 2);
  io_event events[4];
  ASSERT_EQ(IoGetevents(context_, 2, 4, events), 2);
  EXPECT_EQ(events[0].res, 8);
  EXPECT_EQ(std::memcmp(back, "\0\0\0hello", 8), 0);
}

TEST_F(AioTest, EventfdIsTold) {
  const ScopedFd fd(open((dir_ / "f").c_str(), O_CREAT | O_RDWR, 0600));
  const ScopedFd told(eventfd(0, EFD_NONBLOCK));
  char text[] = "x";
  iocb write = Request(IOCB_CMD_PWRITE, fd.get(), text, 1, 0);
  write.aio_flags = IOCB_FLAG_RESFD;
  write.aio_resfd = static_cast<uint32_t>(told.get());
  ASSERT_EQ(Submit(write), 1);
  EXPECT_EQ(One().res, 1);
  uint64_t count = 0;
  EXPECT_EQ(read(told.get(), &count, sizeof(count)), 8);
  EXPECT_EQ(count, 1u);
  write.aio_resfd = static_cast<uint32_t>(fd.get());
  EXPECT_ERRNO(EINVAL, Submit(write));
}

TEST_F(AioTest, PollFinishesLater) {
  int fds[2];
  ASSERT_OK(pipe(fds));
  iocb wait = Request(IOCB_CMD_POLL, fds[0], nullptr, 0, 0);
  wait.aio_buf = POLLIN;
  ASSERT_EQ(Submit(wait), 1);
  io_event event{};
  const timespec none{0, 0};
  EXPECT_EQ(IoGetevents(context_, 1, 1, &event, &none), 0);
  ASSERT_EQ(write(fds[1], "x", 1), 1);
  event = One();
  EXPECT_NE(event.res & POLLIN, 0);
  close(fds[0]);
  close(fds[1]);
}

TEST_F(AioTest, CancelOfAPoll) {
  int fds[2];
  ASSERT_OK(pipe(fds));
  iocb wait = Request(IOCB_CMD_POLL, fds[0], nullptr, 0, 0);
  wait.aio_buf = POLLIN;
  ASSERT_EQ(Submit(wait), 1);
  io_event event{};
  EXPECT_ERRNO(EINPROGRESS, syscall(SYS_io_cancel, context_, &wait, &event));
  EXPECT_EQ(One().obj, reinterpret_cast<uint64_t>(&wait));
  EXPECT_ERRNO(EINVAL, syscall(SYS_io_cancel, context_, &wait, &event));
  close(fds[0]);
  close(fds[1]);
}

TEST_F(AioTest, Errors) {
  const ScopedFd fd(open((dir_ / "f").c_str(), O_CREAT | O_RDONLY, 0600));
  char text[] = "x";
  iocb request = Request(IOCB_CMD_PWRITE, fd.get(), text, 1, 0);
  EXPECT_ERRNO(EBADF, Submit(request));
  request = Request(IOCB_CMD_PREAD, -1, text, 1, 0);
  EXPECT_ERRNO(EBADF, Submit(request));
  request = Request(77, fd.get(), text, 1, 0);
  EXPECT_ERRNO(EINVAL, Submit(request));
  request = Request(IOCB_CMD_PREAD, fd.get(), text, static_cast<size_t>(-1), 0);
  EXPECT_ERRNO(EINVAL, Submit(request));
  iocb* bad[] = {static_cast<iocb*>(BadPointer())};
  EXPECT_ERRNO(EFAULT, IoSubmit(context_, 1, bad));
  EXPECT_ERRNO(EFAULT, IoSubmit(context_, 1, static_cast<iocb**>(BadPointer())));
  EXPECT_ERRNO(EINVAL, IoSubmit(context_, -1, bad));
  EXPECT_EQ(IoSubmit(context_, 0, nullptr), 0);
  EXPECT_ERRNO(EINVAL, IoSubmit(context_ + 0x1000, 1, bad));
  io_event event;
  EXPECT_ERRNO(EINVAL, IoGetevents(context_, 2, 1, &event));
  EXPECT_ERRNO(EINVAL, IoGetevents(context_, -1, 1, &event));
  EXPECT_ERRNO(EFAULT, IoGetevents(context_, 1, 1, &event, static_cast<timespec*>(BadPointer())));
  aio_context_t other = 1;
  EXPECT_ERRNO(EINVAL, IoSetup(4, &other));
  other = 0;
  EXPECT_ERRNO(EINVAL, IoSetup(0, &other));
  EXPECT_ERRNO(EFAULT, IoSetup(4, static_cast<aio_context_t*>(BadPointer())));
  EXPECT_ERRNO(EINVAL, IoDestroy(0));
}

TEST_F(AioTest, SignalInterruptsTheWait) {
  Interrupter interrupter;
  io_event event;
  EXPECT_ERRNO(EINTR, IoGetevents(context_, 1, 1, &event));
}

TEST_F(AioTest, ContextsAreNotInherited) {
  EXPECT_EQ(RunInChild([&] {
              io_event event;
              const timespec none{0, 0};
              return IoGetevents(context_, 0, 1, &event, &none) == -1 && errno == EINVAL ? 0 : 1;
            }),
            0);
}

}  // namespace
}  // namespace guest
