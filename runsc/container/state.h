// What a container's state folder remembers: state.json, replaced atomically. Everything that can be seen from outside
// (whether the processes live) is not in it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runsc/container/process_id.h"
#include "runsc/spec/spec.h"

namespace sandbox {

enum class Status { kCreating, kCreated, kRunning, kPaused, kStopped };
const char* StatusName(Status status);

struct ContainerState {
  std::string id;
  std::string bundle;                 // absolute
  std::string created;                // RFC 3339
  uint32_t owner = 0;                 // uid of who created it
  Status status = Status::kCreating;  // as last written; see CurrentStatus
  ProcessId creator;                  // runsc create, while kCreating
  ProcessId container;                // the gofer: the pid that engines know
  ProcessId sentry;                   // of the pod's sandbox, for a further container of one
  std::string sandbox;                // id of the container whose sandbox this one is in; empty = its own
  std::string network;                // --network it was created with
  std::string platform;
  std::vector<std::string> cgroups;  // folders made for it, absolute
  std::string upper;                 // folder that has its writes (--overlay=dir); empty = none
  spec::Spec spec;                   // config.json as it was at create, paths absolute
};

// kStopped once the container's process or, while it was being created, its creator is gone.
Status CurrentStatus(const ContainerState& state);
// The OCI state document as `state` and `list` print it: with rootfs, created and owner as well.
std::string OciState(const ContainerState& state);
// The document that hooks get. Those of create get "created": by then step 2 of the specification's lifecycle is over.
std::string HookState(const ContainerState& state, Status status);

std::string ToJson(const ContainerState& state);
absl::StatusOr<ContainerState> ParseState(std::string_view json);

}  // namespace sandbox
