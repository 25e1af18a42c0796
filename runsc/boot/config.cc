#include "runsc/boot/config.h"

#include "runsc/spec/spec_fields.h"

namespace sandbox::boot {

template <typename Archive>
void Fields(Archive& ar, BootConfig& v) {
  using spec::Presence;
  ar("spec", v.spec, Presence::kRequired);
  ar("platform", v.platform, Presence::kRequired);
  ar("network", v.network, Presence::kRequired);
  ar("overlay", v.overlay, Presence::kRequired);
  ar("strace", v.strace);
  ar("rewrite", v.rewrite);
  ar("profile", v.profile);
  ar("debug", v.debug);
  ar("jsonLog", v.json_log);
  ar("rootless", v.rootless);
  ar("goferConnections", v.gofer_connections);
  ar("exports", v.exports);
}

std::string ToJson(const BootConfig& config) {
  nlohmann::json json;
  spec::JsonWriter writer(json);
  Fields(writer, const_cast<BootConfig&>(config));
  return json.dump();
}

absl::StatusOr<BootConfig> ParseBootConfig(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("boot configuration: not valid JSON");
  BootConfig config;
  absl::Status status;
  spec::JsonReader reader(json, "", status);
  if (status.ok()) Fields(reader, config);
  if (!status.ok()) return status;
  return config;
}

}  // namespace sandbox::boot
