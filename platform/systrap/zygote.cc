#include "platform/systrap/zygote.h"

#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

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

// Takes the listener out of a starting stub. SCM_RIGHTS would not do: the call that sends it would already be notified.
Result<UniqueFd> TakeListener(pid_t pid, SharedPage& page) {
  if (!FutexWaitSet(&page->listener_ready, kStartTimeoutMs)) return Err(ETIMEDOUT);
  const int remote = page->listener_fd;
  if (remote < 0) return Err(-remote);
  const UniqueFd pidfd(::syscall(SYS_pidfd_open, pid, 0));
  if (!pidfd.valid()) return LastErrno();
  UniqueFd listener(::syscall(SYS_pidfd_getfd, pidfd.get(), remote, 0));
  if (!listener.valid()) return LastErrno();
  // Wake the other side on this CPU: the two never run at the same time. Since Linux 6.6; slower without.
  if (::ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) != 0) {
    LOGF(kDebug, "no synchronous notifications: %s", std::strerror(errno));
  }
  return listener;
}

}  // namespace

Result<std::unique_ptr<Zygote>> Zygote::Create(const std::vector<sock_filter>& filter, const InputTable& inputs,
                                               ZygoteFds fds) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return LastErrno();
  UniqueFd ours(sockets[0]), theirs(sockets[1]);
  const pid_t pid = ::_Fork();  // without fork handlers: nothing of the sentry is to run in the child
  if (pid < 0) return LastErrno();
  fds.socket = theirs.borrow();
  if (pid == 0) BecomeZygote(fds, filter, inputs);
  // Both sides, whoever runs first: the reaper depends on the group.
  (void)::setpgid(pid, pid);
  return std::unique_ptr<Zygote>(new Zygote(pid, std::move(ours)));
}

Zygote::~Zygote() { Shutdown(); }

void Zygote::Shutdown() { (void)::shutdown(socket_.get(), SHUT_RDWR); }

Result<int32_t> Zygote::Ask(const stub::ZygoteRequest& request, std::span<const BorrowedFd> fds, UniqueFd* fd) {
  int32_t answer = 0;
  iovec iov = {&answer, sizeof(answer)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  MutexLock lock(mu_);
  TRY(SendWithFds(socket_.borrow(), std::as_bytes(std::span(&request, 1)), fds));
  ssize_t got;
  do got = ::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  if (got != sizeof(answer)) return Err(ESRCH);
  if (answer < 0) return Err(-answer);
  if (const cmsghdr* const rights = CMSG_FIRSTHDR(&message); rights != nullptr && fd != nullptr) {
    int number;
    std::memcpy(&number, CMSG_DATA(rights), sizeof(number));
    fd->reset(number);
  }
  return answer;
}

Result<std::string> Zygote::ReadProcess(pid_t pid, stub::ProcessFile file) {
  UniqueFd fd;
  TRY(Ask({stub::ZygoteCall::kOpen, file, pid}, {}, &fd));
  return ReadAll(fd.borrow(), kMaxProcessFile);
}

Result<PoolStub> Zygote::ForkStub() {
  PoolStub stub;
  UniqueFd fd;
  stub.page = TRY(SharedPage::Create(&fd));
  const BorrowedFd page = fd.borrow();
  stub.pid = TRY(Ask({stub::ZygoteCall::kFork, {}, 0}, {&page, 1}, nullptr));
  auto listener = TakeListener(stub.pid, *stub.page);
  if (!listener.ok()) {
    (void)::kill(stub.pid, SIGKILL);
    return listener.error();
  }
  stub.listener = std::move(listener).value();
  FutexSetAndWake(&(*stub.page)->listener_taken);
  return stub;
}

}  // namespace sandbox::platform::systrap
