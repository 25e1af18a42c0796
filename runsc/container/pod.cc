#include "runsc/container/pod.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runsc/container/store.h"

namespace sandbox {
namespace {

// containerd's and CRI-O's annotations: what the container is, and whose sandbox it joins.
constexpr std::pair<const char*, const char*> kNames[] = {
    {"io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"},
    {"io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"}};

struct NamespaceId {
  dev_t dev = 0;
  ino_t ino = 0;
  friend bool operator==(const NamespaceId&, const NamespaceId&) = default;
};

absl::StatusOr<NamespaceId> Identity(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  return NamespaceId{st.st_dev, st.st_ino};
}

std::string PathOf(const ContainerState& container, const char* type) {
  return absl::StrCat("/proc/", container.container.pid, "/ns/", type);
}

// The container of the pod that `path` is a namespace of.
absl::StatusOr<std::string> OwnerOf(const std::string& root, const ContainerState& pod, const std::string& path,
                                    const char* type) {
  const auto wanted = Identity(path);
  if (!wanted.ok()) return wanted.status();
  for (const std::string& id : ContainerDir::List(root)) {
    const auto dir = ContainerDir::Open(root, id, false);
    const auto state = dir.ok() ? dir->Load() : dir.status();
    if (!state.ok() || (id != pod.id && state->sandbox != pod.id) || !IsAlive(state->container)) continue;
    const auto theirs = Identity(PathOf(*state, type));
    if (theirs.ok() && *theirs == *wanted) return id;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("linux.namespaces: ", path, " belongs to no container of the pod ", pod.id));
}

}  // namespace

bool IsPod(const std::map<std::string, std::string>& annotations) {
  return std::any_of(std::begin(kNames), std::end(kNames), [&](const auto& names) {
    const auto kind = annotations.find(names.first);
    return kind != annotations.end() && kind->second == "sandbox";
  });
}

std::string PodOf(const std::map<std::string, std::string>& annotations) {
  for (const auto& [type, id] : kNames) {
    const auto kind = annotations.find(type), sandbox = annotations.find(id);
    if (kind != annotations.end() && kind->second == "container" && sandbox != annotations.end())
      return sandbox->second;
  }
  return "";
}

absl::StatusOr<ContainerState> FindPod(const std::string& root, const std::string& id) {
  const auto dir = ContainerDir::Open(root, id, false);
  auto state = dir.ok() ? dir->Load() : dir.status();
  if (!state.ok())
    return absl::FailedPreconditionError(
        absl::StrCat("joining sandbox ", id, ": ", std::string(state.status().message())));
  const Status status = CurrentStatus(*state);
  if (!state->sandbox.empty())
    return absl::FailedPreconditionError(absl::StrCat("joining sandbox ", id, ": it is in another's itself"));
  if (status == Status::kCreating || status == Status::kStopped) {
    return absl::FailedPreconditionError(absl::StrCat("joining sandbox ", id, ": it is ", StatusName(status)));
  }
  return state;
}

absl::Status ShareNamespaces(const std::string& root, const ContainerState& pod, const spec::Spec& spec,
                             boot::BootConfig& config) {
  const std::pair<const char*, std::string*> kinds[] = {
      {"pid", &config.share_pids}, {"ipc", &config.share_ipc}, {"uts", &config.share_uts}};
  for (const auto& [type, share] : kinds) {
    const spec::Namespace* ns = spec::FindNamespace(spec, type);
    if (ns == nullptr) {
      *share = pod.id;
    } else if (!ns->path.empty()) {
      auto owner = OwnerOf(root, pod, ns->path, type);
      if (!owner.ok()) return owner.status();
      *share = *std::move(owner);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPodNetwork(const ContainerState& pod) {
  const auto own = Identity("/proc/self/ns/net"), theirs = Identity(PathOf(pod, "net"));
  if (!own.ok()) return own.status();
  if (!theirs.ok()) return theirs.status();
  if (*own == *theirs) return absl::OkStatus();
  return absl::InvalidArgumentError("linux.namespaces: the network must be that of the sandbox " + pod.id);
}

absl::Status CheckPodTime(const ContainerState& pod, const spec::Spec& spec) {
  const spec::Namespace* time = spec::FindNamespace(spec, "time");
  if (time == nullptr) return absl::OkStatus();
  const auto own = Identity(time->path), theirs = Identity(PathOf(pod, "time"));
  if (own.ok() && theirs.ok() && *own == *theirs) return absl::OkStatus();
  return absl::InvalidArgumentError("linux.namespaces: the time must be that of the sandbox " + pod.id);
}

}  // namespace sandbox
