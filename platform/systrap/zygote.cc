#include "platform/systrap/zygote.h"

#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "base/io/pass_fds.h"
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

Result<void> SendRequest(BorrowedFd socket, BorrowedFd page) {
  return SendWithFds(socket, std::as_bytes(std::span("f", 1)), {&page, 1});
}

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
                                               BorrowedFd clock_page) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return LastErrno();
  UniqueFd ours(sockets[0]), theirs(sockets[1]);
  const pid_t pid = ::_Fork();  // without fork handlers: nothing of the sentry is to run in the child
  if (pid < 0) return LastErrno();
  if (pid == 0) BecomeZygote(theirs.get(), filter, inputs, clock_page);
  // Both sides, whoever runs first: the reaper depends on the group.
  (void)::setpgid(pid, pid);
  return std::unique_ptr<Zygote>(new Zygote(pid, std::move(ours)));
}

Zygote::~Zygote() { Shutdown(); }

void Zygote::Shutdown() { (void)::shutdown(socket_.get(), SHUT_RDWR); }

Result<PoolStub> Zygote::ForkStub() {
  PoolStub stub;
  UniqueFd fd;
  stub.page = TRY(SharedPage::Create(&fd));
  {
    MutexLock lock(mu_);
    TRY(SendRequest(socket_.borrow(), fd.borrow()));
    int32_t answer = 0;
    ssize_t got;
    do got = ::recv(socket_.get(), &answer, sizeof(answer), 0);
    while (got < 0 && errno == EINTR);
    if (got != sizeof(answer)) return Err(ESRCH);
    if (answer < 0) return Err(-answer);
    stub.pid = answer;
  }
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
