#include "runsc/boot/control_server.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include "base/image_pages.h"
#include "runsc/boot/documents.h"
#include "runsc/boot/processes.h"
#include "runsc/boot/profile.h"
#include "sentry/core/outside.h"

namespace sandbox::boot {
namespace {

using control::Message;
using Kind = control::Message::Kind;

const BorrowedFd kBoot(kControlFd);
// Each has a thread. Beyond it connections wait in the socket's backlog.
constexpr int kMaxConnections = 256;

absl::Status Update(const GuestContainer& container, const std::string& text) {
  auto limits = ParseLimits(text);
  if (!limits.ok()) return limits.status();
  container.place().cgroup->SetLimits(*limits);
  return absl::OkStatus();
}

}  // namespace

ControlServer::ControlServer(Kernel& kernel, const BootConfig& config, HostStarted init)
    : kernel_(kernel),
      config_(config),
      first_(std::make_shared<GuestContainer>(
          kernel, config.id, std::move(init), UniqueFd(config.container ? kStandInFd : -1),
          config.container ? GuestContainer::State::kCreated : GuestContainer::State::kRunning)) {}

void ControlServer::Serve() {
  bool detached = false;
  // poll(2) skips negative descriptors; a container's are there in a container only.
  pollfd fds[3] = {{kControlFd, POLLIN, 0},
                   {config_.container ? kStandInFd : -1, POLLIN, 0},
                   {config_.container ? kListenerFd : -1, POLLIN, 0}};
  for (;;) {
    if (::poll(fds, 3, -1) < 0 && errno != EINTR) ::_exit(1);
    if (fds[0].revents != 0) {
      const auto message = control::Receive(kBoot);
      if (!message.ok()) {
        if (!detached) ::_exit(1);
        fds[0].fd = -1;
      } else if (message->kind == Kind::kSignal) {
        (void)first_->Signal(*message);
      } else if (message->kind == Kind::kDetach) {
        detached = true;
        ForgetImagePages();  // it may live long, and wait
      }
    }
    if (fds[1].revents != 0) {
      const auto message = control::Receive(first_->stand_in());
      if (!message.ok()) ::_exit(1);  // killed: so is the container
      // One that is no signal or finds nobody is no error.
      (void)first_->Signal(*message);
    }
    if (fds[2].revents != 0) {
      auto connection = std::make_shared<UniqueFd>(::accept4(kListenerFd, nullptr, nullptr, SOCK_CLOEXEC));
      if (connection->valid()) ServeConnection(connection);
    }
  }
}

void ControlServer::Finish(const std::function<void()>& before_exit) {
  const int wait_status = kernel_.WaitForExit(first_->group());
  before_exit();
  SettleOutside();
  if (!config_.container) (void)control::Send(kBoot, {Kind::kExited, wait_status, ""});
  first_->Ended(wait_status);
  // The sandbox is over: nothing is torn down that the host takes down by itself.
  ::_exit(0);
}

void ControlServer::ServeConnection(const Connection& connection) {
  {
    MutexLock lock(mu_);
    if (connections_ >= kMaxConnections)
      return Fail(connection->borrow(), absl::UnavailableError("too many control connections"));
    ++connections_;
  }
  try {
    std::thread([this, connection] {
      for (;;) {
        std::vector<UniqueFd> fds;
        const auto request = control::Receive(connection->borrow(), &fds);
        if (!request.ok() || !Answer(connection, *request, std::move(fds))) break;
      }
      MutexLock lock(mu_);
      --connections_;
    }).detach();
  } catch (const std::system_error&) {  // the container's pids limit
    MutexLock lock(mu_);
    --connections_;
    Fail(connection->borrow(), absl::UnavailableError("no thread for a control connection"));
  }
}

ControlServer::ContainerRef ControlServer::Find(const std::string& id) {
  if (id.empty() || id == first_->id()) return first_;
  MutexLock lock(mu_);
  const auto found = others_.find(id);
  return found == others_.end() ? nullptr : found->second;
}

bool ControlServer::Answer(const Connection& connection, const Message& request, std::vector<UniqueFd> fds) {
  if (request.kind == Kind::kCreate) {
    RunCreate(connection, std::move(fds));
    return false;
  }
  const ContainerRef container = Find(request.container);
  if (container == nullptr) {
    Fail(connection->borrow(), absl::FailedPreconditionError("container not running"));
    return true;
  }
  if (request.kind == Kind::kExec) {
    RunExec(connection, container, std::move(fds));
    return false;
  }
  if (request.kind == Kind::kWait) {
    container->AddWaiter(connection);
    return true;
  }
  Message answer{Kind::kOk, 0, ""};
  const absl::Status status = Do(container, request, answer.text);
  if (!status.ok()) {
    Fail(connection->borrow(), status);
    return true;
  }
  return control::Send(connection->borrow(), answer).ok();
}

absl::Status ControlServer::Do(const ContainerRef& container, const Message& request, std::string& text) {
  switch (request.kind) {
    case Kind::kStart:
      DoubtOutside();
      return container->Start();
    case Kind::kSignal:
      return container->Signal(request);
    case Kind::kPause: {
      const auto status = container->Pause();
      SettleOutside();  // whoever pauses to look at the files (docker commit) finds what guests did
      return status;
    }
    case Kind::kResume:
      return container->Resume();
    case Kind::kUpdate:
      return Update(*container, request.text);
    case Kind::kProcesses:
      text = ProcessesJson(kernel_, *container->place().cgroup);
      return absl::OkStatus();
    case Kind::kProfile:
      text = ProfileJson();
      return absl::OkStatus();
    case Kind::kStatus:
      text = container->StatusName();
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError("not a request");
  }
}

void ControlServer::RunExec(const Connection& connection, const ContainerRef& container, std::vector<UniqueFd> fds) {
  const BorrowedFd socket = connection->borrow();
  if (fds.empty()) return Fail(socket, absl::InvalidArgumentError("exec without a process"));
  DoubtOutside();  // whoever put files into the container wants to find them
  const auto text = ReadDocument(fds[0].borrow());
  if (!text.ok()) return Fail(socket, text.status());
  const auto process = spec::ParseProcess(*text);
  if (!process.ok()) return Fail(socket, process.status());
  if (auto status = container->CheckExec(); !status.ok()) return Fail(socket, status);
  fds.erase(fds.begin());
  const auto started = Exec(kernel_, *process, container->mounts(), std::move(fds), container->init());
  if (!started.ok()) return Fail(socket, started.status());
  const ThreadGroupRef group = started->task->group().shared_from_this();
  (void)control::Send(socket, {Kind::kStarted, group->tgid(), ""});
  kernel_.OnExit(*group, [connection](int wait_status) {
    SettleOutside();
    (void)control::Send(connection->borrow(), {Kind::kExited, wait_status, ""});
    (void)::shutdown(connection->get(), SHUT_RDWR);  // ends the loop below
  });
  for (;;) {
    const auto message = control::Receive(socket);
    if (!message.ok()) break;
    if (message->kind == Kind::kSignal) DeliverSignal(kernel_, *started, *message);
  }
  // Without its stand-in the process goes too: that is how SIGKILL reaches it.
  if (!group->zombie()) (void)group->SendSignal(SignalInfo::User(SIGKILL, 0, 0), SignalOrigin::kHost);
}

}  // namespace sandbox::boot
