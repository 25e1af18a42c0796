#include "platform/systrap/zygote.h"

#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <span>

#include "base/io/pass_fds.h"
#include "base/io/whole_file.h"
#include "base/log.h"
#include "platform/systrap/zygote_child.h"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace sandbox::platform::systrap {
namespace {

// A trusted stub takes microseconds; minutes mean that the machine, not the stub, is in trouble.
constexpr int kStartTimeoutMs = 60'000;

// smaps of the largest address space that the map count limit allows, with room.
constexpr size_t kMaxProcessFile = size_t{128} << 20;

// Waits for a message of the type of `data`. Returns the descriptor beside it, if there is one; EPIPE when nothing but
// the end comes.
template <typename T>
Result<UniqueFd> ReceiveWithFd(BorrowedFd socket, T* data) {
  iovec iov = {data, sizeof(*data)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t got;
  do got = ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got < 0) return LastErrno();
  UniqueFd fd;
  if (const cmsghdr* const rights = CMSG_FIRSTHDR(&message); rights != nullptr) {
    int number;
    std::memcpy(&number, CMSG_DATA(rights), sizeof(number));
    fd.reset(number);
  }
  if (got != sizeof(*data)) return Err(EPIPE);
  return fd;
}

struct SocketPair {
  UniqueFd ours, theirs;
};
Result<SocketPair> MakeSocketPair() {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return LastErrno();
  return SocketPair{UniqueFd(sockets[0]), UniqueFd(sockets[1])};
}

}  // namespace

Result<std::unique_ptr<Zygote>> Zygote::Create(const std::vector<sock_filter>& filter, const InputTable& inputs,
                                               ZygoteFds fds) {
  SocketPair sockets = TRY(MakeSocketPair());
  const pid_t pid = ::_Fork();  // without fork handlers: nothing of the sentry is to run in the child
  if (pid < 0) return LastErrno();
  fds.socket = sockets.theirs.borrow();
  if (pid == 0) BecomeZygote(fds, filter, inputs);
  // Both sides, whoever runs first: the reaper depends on the group.
  (void)::setpgid(pid, pid);
  return std::unique_ptr<Zygote>(new Zygote(pid, std::move(sockets.ours)));
}

Zygote::~Zygote() { Shutdown(); }

void Zygote::Shutdown() { (void)::shutdown(socket_.get(), SHUT_RDWR); }

Result<std::string> Zygote::ReadProcess(pid_t pid, stub::ProcessFile file) {
  const stub::ZygoteRequest request{stub::ZygoteCall::kOpen, file, pid};
  int32_t answer = 0;
  UniqueFd fd;
  {
    MutexLock lock(mu_);
    TRY(SendWithFds(socket_.borrow(), std::as_bytes(std::span(&request, 1)), {}));
    fd = TRY(ReceiveWithFd(socket_.borrow(), &answer));
  }
  if (answer < 0) return Err(-answer);
  return ReadAll(fd.borrow(), kMaxProcessFile);
}

Result<PoolStub> Zygote::ForkStub() {
  UniqueFd fd;
  RefPtr<SharedPage> page = TRY(SharedPage::Create(&fd));
  SocketPair sockets = TRY(MakeSocketPair());
  const stub::ZygoteRequest request{stub::ZygoteCall::kFork, {}, 0};
  const BorrowedFd beside[] = {fd.borrow(), sockets.theirs.borrow()};
  TRY(SendWithFds(socket_.borrow(), std::as_bytes(std::span(&request, 1)), beside));
  return PoolStub(std::move(page), std::move(sockets.ours));
}

Result<PoolStub::Report> PoolStub::Await() {
  pollfd poll = {socket_.get(), POLLIN, 0};
  int ready;
  do ready = ::poll(&poll, 1, kStartTimeoutMs);
  while (ready < 0 && errno == EINTR);
  if (ready != 1) return Err(EAGAIN);
  stub::StubReport report;
  auto listener = ReceiveWithFd(socket_.borrow(), &report);
  if (!listener.ok() || !listener->valid()) return Err(EAGAIN);
  // Wake the other side on this CPU: the two never run at the same time. Since Linux 6.6; slower without.
  if (::ioctl(listener->get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) != 0) {
    LOGF(kDebug, "no synchronous notifications: %s", std::strerror(errno));
  }
  return Report{report.pid, std::move(*listener)};
}

}  // namespace sandbox::platform::systrap
