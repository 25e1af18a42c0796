#include "runsc/boot/guest_container.h"

#include <signal.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace sandbox::boot {
namespace {

using control::Message;
using Kind = control::Message::Kind;

// What an unhandled signal does to a process that has not run yet (signal(7)).
bool EndsByDefault(int signo) {
  switch (signo) {
    case SIGCHLD:
    case SIGCONT:
    case SIGURG:
    case SIGWINCH:
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
      return false;
    default:
      return true;
  }
}

absl::Status NotRunning() { return absl::FailedPreconditionError("container not running"); }

}  // namespace

void DeliverSignal(Kernel& kernel, const HostStarted& process, const Message& message) {
  ThreadGroup& group = process.task->group();
  if (message.text != control::kFromTerminal) {
    (void)group.SendSignal(SignalInfo::User(message.number, 0, 0), SignalOrigin::kHost);
  } else if (process.terminal != nullptr) {
    (void)kernel.SendSignalToForeground(*process.terminal, message.number);
  } else {
    (void)kernel.SendSignalToProcessGroup(group.pgid(), message.number);
  }
}

RefPtr<MountNamespace> GuestContainer::mounts() const {
  const TaskRef leader = group_->leader();
  return leader == nullptr || group_->zombie() ? nullptr : leader->mounts();
}

absl::Status GuestContainer::Start() {
  {
    MutexLock lock(mu_);
    if (ended_) return NotRunning();
    if (state_ != State::kCreated) return absl::FailedPreconditionError("cannot start an already running container");
    state_ = State::kRunning;
  }
  init_.task->thread().Start();
  return absl::OkStatus();
}

absl::Status GuestContainer::CheckExec() {
  MutexLock lock(mu_);
  return ended_ ? NotRunning() : absl::OkStatus();
}

absl::Status GuestContainer::Signal(const Message& message) {
  if (message.number < 1 || message.number > 64)
    return absl::InvalidArgumentError(absl::StrCat("invalid signal ", message.number));
  {
    MutexLock lock(mu_);
    if (ended_) return NotRunning();
    if (state_ == State::kCreated) {
      if (!EndsByDefault(message.number)) return absl::OkStatus();
      // It ends at its first instruction.
      state_ = State::kRunning;
      group_->BeginGroupExit(message.number);
      init_.task->thread().Start();
      return absl::OkStatus();
    }
  }
  if (message.text == control::kToAll) {
    place().cgroup->SendSignal(message.number);
  } else {
    DeliverSignal(kernel_, init_, message);
  }
  return absl::OkStatus();
}

void GuestContainer::Kill() {
  // The first one, if it has not run, ends at its first instruction.
  (void)Signal({Kind::kSignal, SIGKILL, control::kToAll});
}

absl::Status GuestContainer::Pause() {
  {
    MutexLock lock(mu_);
    if (ended_) return NotRunning();
  }
  const auto frozen = place().cgroup->Freeze();
  return frozen.ok() ? absl::OkStatus() : absl::DeadlineExceededError("the container's processes do not stop");
}

absl::Status GuestContainer::Resume() {
  place().cgroup->Thaw();
  return absl::OkStatus();
}

const char* GuestContainer::StatusName() {
  MutexLock lock(mu_);
  if (ended_) return "stopped";
  switch (state_) {
    case State::kCreated:
      return "created";
    case State::kRunning:
      return place().cgroup->frozen() ? "paused" : "running";
  }
  return "";
}

void GuestContainer::AddWaiter(const Connection& connection) {
  MutexLock lock(mu_);
  if (ended_) {
    (void)control::Send(connection->borrow(), {Kind::kExited, wait_status_, ""});
  } else {
    waiters_.push_back(connection);
  }
}

void GuestContainer::Ended(int wait_status) {
  std::vector<Connection> waiters;
  {
    MutexLock lock(mu_);
    if (std::exchange(ended_, true)) return;
    wait_status_ = wait_status;
    waiters = std::move(waiters_);
  }
  const Message exited = {Kind::kExited, wait_status, ""};
  (void)control::Send(stand_in(), exited);
  for (const Connection& waiter : waiters) (void)control::Send(waiter->borrow(), exited);
}

}  // namespace sandbox::boot
