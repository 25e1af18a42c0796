// Further containers of a sandbox (Kubernetes pods): each has its own root and gofer, stand-in, control group and,
// unless its bundle shares one, pid namespace.
#include <algorithm>
#include <cstring>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "runsc/boot/control_server.h"
#include "runsc/boot/documents.h"
#include "runsc/boot/mounts.h"
#include "runsc/boot/sysctls.h"
#include "sentry/fs/gofer/client.h"

namespace sandbox::boot {
namespace {

using control::Message;
using Kind = control::Message::Kind;

// What came with the request, by its use.
struct JoinFds {
  UniqueFd gofer, stand_in;
  std::vector<UniqueFd> streams;  // 0, 1, 2, then the preserved ones
  CgroupHost host;
};

absl::StatusOr<JoinFds> Sort(const BootConfig& config, std::vector<UniqueFd> fds) {
  const size_t files = config.cgroup_files.size(), procs = static_cast<size_t>(std::max(config.cgroup_procs, 0));
  const size_t preserved = static_cast<size_t>(std::max(config.preserved_fds, 0));
  constexpr size_t kStreamCount = 3;
  if (fds.size() != kJoinStreams + kStreamCount + files + procs + preserved) {
    return absl::InvalidArgumentError("create: the wrong number of descriptors");
  }
  JoinFds sorted;
  sorted.gofer = std::move(fds[kJoinGofer]);
  sorted.stand_in = std::move(fds[kJoinStandIn]);
  auto next = fds.begin() + kJoinStreams;
  const auto take = [&](size_t count, std::vector<UniqueFd>& to) {
    std::move(next, next + static_cast<ptrdiff_t>(count), std::back_inserter(to));
    next += static_cast<ptrdiff_t>(count);
  };
  take(kStreamCount, sorted.streams);
  sorted.host.unified = config.cgroup_unified;
  for (const std::string& name : config.cgroup_files) sorted.host.files[name] = std::move(*next++);
  take(procs, sorted.host.processes);
  take(preserved, sorted.streams);
  return sorted;
}

}  // namespace

absl::StatusOr<ContainerPlace> ControlServer::PlaceOf(const BootConfig& config, CgroupHost host) {
  const auto shared = [&](const std::string& id) -> absl::StatusOr<ContainerRef> {
    if (id.empty()) return ContainerRef();
    ContainerRef found = Find(id);
    if (found == nullptr)
      return absl::FailedPreconditionError(
          absl::StrCat("container ", id, ", whose namespaces are to be shared, is not running"));
    return found;
  };
  auto pids = shared(config.share_pids), ipc = shared(config.share_ipc), uts = shared(config.share_uts);
  for (const auto* one : {&pids, &ipc, &uts}) {
    if (!one->ok()) return one->status();
  }
  ContainerPlace place;
  place.own_pids = *pids == nullptr;
  place.pids =
      *pids == nullptr ? MakeRef<PidNamespace>(kernel_.root_pids(), UserNamespace::Root()) : (*pids)->place().pids;
  place.cgroup = MakeRef<Cgroup>(kernel_, config.limits, std::move(host));
  place.ipc = *ipc == nullptr ? MakeRef<IpcNamespace>(UserNamespace::Root()) : (*ipc)->place().ipc;
  place.uts =
      *uts == nullptr ? MakeRef<UtsNamespace>(config.spec.hostname, config.spec.domainname) : (*uts)->place().uts;
  return place;
}

absl::StatusOr<ControlServer::ContainerRef> ControlServer::Join(std::vector<UniqueFd> fds) {
  if (fds.size() <= kJoinConfig) return absl::InvalidArgumentError("create without a configuration");
  const auto text = ReadDocument(fds[kJoinConfig].borrow());
  if (!text.ok()) return text.status();
  const auto config = ParseBootConfig(*text);
  if (!config.ok()) return config.status();
  auto sorted = Sort(*config, std::move(fds));
  if (!sorted.ok()) return sorted.status();
  {
    MutexLock lock(mu_);
    if (config->id.empty() || config->id == first_->id() || !others_.try_emplace(config->id).second) {
      return absl::AlreadyExistsError(absl::StrCat("the sandbox has a container ", config->id, " already"));
    }
  }
  const auto make = [&]() -> absl::StatusOr<ContainerRef> {
    auto place = PlaceOf(*config, std::move(sorted->host));
    if (!place.ok()) return place.status();
    const OwnNamespaces own = {config->share_ipc.empty(), config->share_uts.empty(), false};
    if (auto status = ApplySysctls(config->spec.linux_.sysctl, own, *place->ipc, *place->uts); !status.ok())
      return status;
    auto gofer = GoferClient::Connect(std::move(sorted->gofer));
    if (!gofer.ok()) return absl::InternalError(absl::StrCat("gofer: ", std::strerror(gofer.error().value())));
    auto mounts = BuildMounts(*config, *gofer, place->ipc, place->pids);
    if (!mounts.ok()) return mounts.status();
    auto init = LoadInit(kernel_, *config, *place, *mounts, std::move(sorted->streams));
    if (!init.ok()) return init.status();
    return std::make_shared<GuestContainer>(kernel_, config->id, *std::move(init), std::move(sorted->stand_in),
                                            GuestContainer::State::kCreated);
  };
  auto made = make();
  MutexLock lock(mu_);
  if (made.ok()) {
    others_[config->id] = *made;
  } else {
    others_.erase(config->id);
  }
  return made;
}

void ControlServer::ServeStandIn(const ContainerRef& container) {
  for (;;) {
    const auto message = control::Receive(container->stand_in());
    if (!message.ok()) break;
    (void)container->Signal(*message);
  }
  container->Kill();
}

void ControlServer::RunCreate(const Connection& connection, std::vector<UniqueFd> fds) {
  const BorrowedFd socket = connection->borrow();
  const auto made = Join(std::move(fds));
  if (!made.ok()) return Fail(socket, made.status());
  const ContainerRef container = *made;
  kernel_.OnExit(container->group(), [this, container](int wait_status) {
    // Those that share its pid namespace with others do not end by themselves.
    container->place().cgroup->SendSignal(SIGKILL);
    container->Ended(wait_status);
    MutexLock lock(mu_);
    others_.erase(container->id());
  });
  try {
    std::thread([this, container] { ServeStandIn(container); }).detach();
  } catch (const std::system_error&) {  // the sandbox's pids limit
    container->Kill();
    return Fail(socket, absl::UnavailableError("no thread for a further container"));
  }
  (void)control::Send(socket, {Kind::kStarted, 0, ""});
  const auto message = control::Receive(socket);
  if (!message.ok() || message->kind != Kind::kDetach) container->Kill();
}

}  // namespace sandbox::boot
