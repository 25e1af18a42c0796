#include "sentry/kernel/seccomp_notify.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "sentry/kernel/task.h"

namespace sandbox {

Result<std::optional<int64_t>> SeccompListener::Ask(Task& task, const seccomp_data& data, bool wait_killable) {
  uint64_t id;
  {
    MutexLock lock(mu_);
    if (closed_) return Err(ENOSYS);
    id = next_id_++;
    requests_[id] = {.task = &task, .data = data};
  }
  queue_.Notify(kReadable);
  for (;;) {
    bool received;
    {
      MutexLock lock(mu_);
      Request& request = requests_[id];
      if (request.state == State::kAnswered || closed_) {
        const Request answered = request;
        requests_.erase(id);
        if (answered.state != State::kAnswered) return Err(ENOSYS);
        if (answered.proceed) return std::optional<int64_t>();
        return std::optional<int64_t>(answered.result);
      }
      received = request.state == State::kReceived;
    }
    const auto slept = received && wait_killable ? task.BlockKillable(std::nullopt) : task.Block(std::nullopt);
    if (slept.ok()) continue;
    MutexLock lock(mu_);
    const Request& request = requests_[id];
    if (request.state == State::kAnswered) continue;
    // A signal that came before the call was taken up does not withdraw it when the filter wants
    // that.
    if (wait_killable && request.state == State::kReceived && !task.killed()) continue;
    requests_.erase(id);
    return Err(kErestartsys);
  }
}

void SeccompListener::FilterGone() {
  {
    MutexLock lock(mu_);
    filter_gone_ = true;
  }
  queue_.Notify(kEventHup);
}

void SeccompListener::Close() {
  MutexLock lock(mu_);
  closed_ = true;
  for (auto& [id, request] : requests_) request.task->Wake();
}

EventMask SeccompListener::Readiness() {
  EventMask events = 0;
  MutexLock lock(mu_);
  for (const auto& [id, request] : requests_) {
    if (request.state == State::kNew) events |= kReadable;
    if (request.state == State::kReceived) events |= kWritable;
  }
  if (filter_gone_) events |= kEventHup;
  return events;
}

Result<void> SeccompListener::TryReceive(seccomp_notif* out) {
  MutexLock lock(mu_);
  for (auto& [id, request] : requests_) {
    if (request.state != State::kNew) continue;
    request.state = State::kReceived;
    out->id = id;
    out->pid = request.task->tid();
    out->data = request.data;
    return {};
  }
  if (filter_gone_) return Err(ENOENT);
  return Err(EAGAIN);
}

Result<void> SeccompListener::Send(const seccomp_notif_resp& response) {
  if (response.flags & ~uint32_t{SECCOMP_USER_NOTIF_FLAG_CONTINUE}) return Err(EINVAL);
  const bool proceed = response.flags & SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  if (proceed && (response.error != 0 || response.val != 0)) return Err(EINVAL);
  MutexLock lock(mu_);
  const auto found = requests_.find(response.id);
  if (found == requests_.end()) return Err(ENOENT);
  Request& request = found->second;
  if (request.state != State::kReceived) return Err(EINPROGRESS);
  request.state = State::kAnswered;
  request.proceed = proceed;
  request.result = response.error != 0 ? response.error : response.val;
  request.task->Wake();
  return {};
}

Result<void> SeccompListener::CheckId(uint64_t id) {
  MutexLock lock(mu_);
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second.state != State::kReceived) return Err(ENOENT);
  return {};
}

Result<int64_t> SeccompListener::AddDescriptor(Task& supervisor, const seccomp_notif_addfd& request) {
  if (request.newfd_flags & ~uint32_t{O_CLOEXEC}) return Err(EINVAL);
  if (request.flags & ~uint32_t{SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND}) return Err(EINVAL);
  const bool at = request.flags & SECCOMP_ADDFD_FLAG_SETFD;
  if (request.newfd != 0 && !at) return Err(EINVAL);
  const FileRef file = TRY(supervisor.fds().Get(Fd(static_cast<int32_t>(request.srcfd))));
  TaskRef target;
  {
    MutexLock lock(mu_);
    const auto found = requests_.find(request.id);
    if (found == requests_.end()) return Err(ENOENT);
    if (found->second.state != State::kReceived) return Err(EINPROGRESS);
    target = found->second.task->shared_from_this();
  }
  const RefPtr<FdTable> table = target->fds_ref();
  if (table == nullptr) return Err(ENOENT);
  const bool close_on_exec = request.newfd_flags & O_CLOEXEC;
  Fd fd(static_cast<int32_t>(request.newfd));
  if (at) {
    TRY(table->InstallAt(*target, fd, file, close_on_exec));
  } else {
    fd = TRY(table->Install(*target, file, close_on_exec));
  }
  if (request.flags & SECCOMP_ADDFD_FLAG_SEND) {
    seccomp_notif_resp response = {};
    response.id = request.id;
    response.val = fd.number();
    TRY(Send(response));
  }
  return fd.number();
}

Result<int64_t> SeccompListenerFile::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  Task* const task = Task::Of(context);
  if (task == nullptr) return Err(EINVAL);
  GuestMemory& memory = task->memory();
  const GuestAddr addr(argument);
  switch (request) {
    case SECCOMP_IOCTL_NOTIF_RECV: {
      seccomp_notif notif = TRY(InPtr<seccomp_notif>(addr).Read(memory));
      const auto bytes = std::as_bytes(std::span(&notif, 1));
      if (std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{0}; })) return Err(EINVAL);
      TRY(BlockUntil(*task, listener_->queue_, kReadable | kEventHup, std::nullopt,
                     [&] { return listener_->TryReceive(&notif); }));
      TRY(OutPtr<seccomp_notif>(addr).Write(memory, notif));
      return 0;
    }
    case SECCOMP_IOCTL_NOTIF_SEND:
      TRY(listener_->Send(TRY(InPtr<seccomp_notif_resp>(addr).Read(memory))));
      return 0;
    case SECCOMP_IOCTL_NOTIF_ID_VALID:
      TRY(listener_->CheckId(TRY(InPtr<uint64_t>(addr).Read(memory))));
      return 0;
    case SECCOMP_IOCTL_NOTIF_ADDFD:
      return listener_->AddDescriptor(*task, TRY(InPtr<seccomp_notif_addfd>(addr).Read(memory)));
    default:
      return Err(EINVAL);
  }
}

}  // namespace sandbox
