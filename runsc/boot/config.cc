#include "runsc/boot/config.h"

#include "runsc/spec/spec_fields.h"

namespace sandbox {

// Where its argument's name is looked for.
template <typename Archive>
void Fields(Archive& ar, CgroupLimits& v) {
  ar("memoryBytes", v.memory_bytes);
  ar("memoryReservationBytes", v.memory_reservation_bytes);
  ar("swapBytes", v.swap_bytes);
  ar("pids", v.pids);
  ar("cpuQuotaUs", v.cpu_quota_us);
  ar("cpuPeriodUs", v.cpu_period_us);
  ar("cpuShares", v.cpu_shares);
}

}  // namespace sandbox

namespace sandbox::boot {

template <typename Archive>
void Fields(Archive& ar, BootConfig& v) {
  using spec::Presence;
  ar("id", v.id);
  ar("spec", v.spec, Presence::kRequired);
  ar("platform", v.platform, Presence::kRequired);
  ar("network", v.network, Presence::kRequired);
  ar("overlay", v.overlay, Presence::kRequired);
  ar("rootTreeReadOnly", v.root_tree_read_only);
  ar("strace", v.strace);
  ar("rewrite", v.rewrite);
  ar("profile", v.profile);
  ar("debug", v.debug);
  ar("jsonLog", v.json_log);
  ar("rootless", v.rootless);
  ar("goferConnections", v.gofer_connections);
  ar("exports", v.exports);
  ar("container", v.container);
  ar("pod", v.pod);
  ar("lowPorts", v.low_ports);
  ar("preservedFds", v.preserved_fds);
  ar("limits", v.limits);
  ar("cgroupUnified", v.cgroup_unified);
  ar("cgroupFiles", v.cgroup_files);
  ar("cgroupProcs", v.cgroup_procs);
  ar("sharePids", v.share_pids);
  ar("shareIpc", v.share_ipc);
  ar("shareUts", v.share_uts);
}

namespace {

template <typename T>
std::string Print(const T& value) {
  nlohmann::json json;
  spec::JsonWriter writer(json);
  Fields(writer, const_cast<T&>(value));
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

template <typename T>
absl::StatusOr<T> Parse(std::string_view text, const char* what) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError(std::string(what) + ": not valid JSON");
  T value;
  absl::Status status;
  spec::JsonReader reader(json, "", status);
  if (status.ok()) Fields(reader, value);
  if (!status.ok()) return status;
  return value;
}

}  // namespace

std::string ToJson(const BootConfig& config) { return Print(config); }
absl::StatusOr<BootConfig> ParseBootConfig(std::string_view text) {
  return Parse<BootConfig>(text, "boot configuration");
}

std::string ToJson(const CgroupLimits& limits) { return Print(limits); }
absl::StatusOr<CgroupLimits> ParseLimits(std::string_view text) { return Parse<CgroupLimits>(text, "limits"); }

}  // namespace sandbox::boot
