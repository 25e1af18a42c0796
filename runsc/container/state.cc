#include "runsc/container/state.h"

#include <pwd.h>

#include <array>

#include "runsc/cli/version.h"
#include "runsc/spec/spec_fields.h"

namespace sandbox {

// Outside the unnamed namespace: found by its argument's.
template <typename Archive>
void Fields(Archive& ar, ProcessId& v) {
  ar("pid", v.pid);
  ar("startTime", v.start_time);
}

namespace {

constexpr std::array kStatusNames = {"creating", "created", "running", "paused", "stopped"};

// What the file holds; the status by name.
struct StateFile {
  ContainerState& state;
  std::string status;
};

template <typename Archive>
void Fields(Archive& ar, StateFile& v) {
  using spec::Presence;
  ContainerState& state = v.state;
  ar("id", state.id, Presence::kRequired);
  ar("bundle", state.bundle, Presence::kRequired);
  ar("created", state.created);
  ar("owner", state.owner);
  ar("status", v.status, Presence::kRequired);
  ar("creator", state.creator);
  ar("container", state.container);
  ar("sentry", state.sentry);
  ar("sandbox", state.sandbox);
  ar("network", state.network);
  ar("platform", state.platform);
  ar("cgroups", state.cgroups);
  ar("upper", state.upper);
  ar("spec", state.spec, Presence::kRequired);
}

nlohmann::ordered_json CommonFields(const ContainerState& state, Status status) {
  return {{"ociVersion", cli::kOciVersion},
          {"id", state.id},
          {"pid", status == Status::kStopped ? 0 : state.container.pid},
          {"status", StatusName(status)},
          {"bundle", state.bundle}};
}

std::string Dump(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

const char* StatusName(Status status) { return kStatusNames[static_cast<size_t>(status)]; }

Status CurrentStatus(const ContainerState& state) {
  if (state.status == Status::kCreating && IsAlive(state.creator)) return Status::kCreating;
  if (state.status == Status::kCreating || !IsAlive(state.container)) return Status::kStopped;
  return state.status;
}

std::string OciState(const ContainerState& state) {
  nlohmann::ordered_json json = CommonFields(state, CurrentStatus(state));
  json["rootfs"] = state.spec.root.path;
  json["created"] = state.created;
  if (!state.spec.annotations.empty()) json["annotations"] = state.spec.annotations;
  // Known users by name, as runc; nobody looks past the id for others.
  const passwd* user = state.owner == 0 ? nullptr : ::getpwuid(state.owner);
  json["owner"] = state.owner == 0 ? "root" : user != nullptr ? user->pw_name : std::to_string(state.owner);
  return Dump(json, 2);
}

std::string HookState(const ContainerState& state, Status status) {
  nlohmann::ordered_json json = CommonFields(state, status);
  if (!state.spec.annotations.empty()) json["annotations"] = state.spec.annotations;
  return Dump(json, -1);
}

std::string ToJson(const ContainerState& state) {
  nlohmann::json json;
  spec::JsonWriter writer(json);
  StateFile file{const_cast<ContainerState&>(state), StatusName(state.status)};
  Fields(writer, file);
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

absl::StatusOr<ContainerState> ParseState(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::DataLossError("state file: not valid JSON");
  ContainerState state;
  StateFile file{state, ""};
  absl::Status status;
  spec::JsonReader reader(json, "", status);
  if (status.ok()) Fields(reader, file);
  if (!status.ok()) return absl::DataLossError("state file: " + std::string(status.message()));
  size_t number = 0;
  while (number < kStatusNames.size() && file.status != kStatusNames[number]) ++number;
  if (number == kStatusNames.size()) return absl::DataLossError("state file: unknown status");
  state.status = static_cast<Status>(number);
  return state;
}

}  // namespace sandbox
