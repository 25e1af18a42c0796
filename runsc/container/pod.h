// Pods: several containers in one sandbox. The first one's is made for it; the others name it in their annotations and
// join.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "runsc/boot/config.h"
#include "runsc/container/state.h"
#include "runsc/spec/spec.h"

namespace sandbox {

// The container whose sandbox this one joins, as container managers of Kubernetes say it (containerd and CRI-O): empty
// for a sandbox of its own.
std::string PodOf(const std::map<std::string, std::string>& annotations);

// The container's sandbox is made for others to join.
bool IsPod(const std::map<std::string, std::string>& annotations);

// The state of the container `id`, which a sandbox was made for and which lives. FailedPrecondition.
absl::StatusOr<ContainerState> FindPod(const std::string& root, const std::string& id);

// Says in `config` whose namespaces a container of the pod shares: those of the container that the bundle's path
// belongs to (its process's, /proc/PID/ns/…), new ones for an entry without a path, the sandbox's for none.
// InvalidArgument for a path of somebody outside the pod.
absl::Status ShareNamespaces(const std::string& root, const ContainerState& pod, const spec::Spec& spec,
                             boot::BootConfig& config);

// That the calling process is in the network namespace of the sandbox, where the container's sockets will be.
// InvalidArgument.
absl::Status CheckPodNetwork(const ContainerState& pod);
// That the bundle has no other time namespace than the sandbox. InvalidArgument.
absl::Status CheckPodTime(const ContainerState& pod, const spec::Spec& spec);

}  // namespace sandbox
