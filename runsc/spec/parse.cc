#include <linux/capability.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runsc/spec/spec.h"
#include "runsc/spec/spec_fields.h"

namespace sandbox::spec {
namespace {

constexpr std::array kCapabilityNames = {"CAP_CHOWN",
                                         "CAP_DAC_OVERRIDE",
                                         "CAP_DAC_READ_SEARCH",
                                         "CAP_FOWNER",
                                         "CAP_FSETID",
                                         "CAP_KILL",
                                         "CAP_SETGID",
                                         "CAP_SETUID",
                                         "CAP_SETPCAP",
                                         "CAP_LINUX_IMMUTABLE",
                                         "CAP_NET_BIND_SERVICE",
                                         "CAP_NET_BROADCAST",
                                         "CAP_NET_ADMIN",
                                         "CAP_NET_RAW",
                                         "CAP_IPC_LOCK",
                                         "CAP_IPC_OWNER",
                                         "CAP_SYS_MODULE",
                                         "CAP_SYS_RAWIO",
                                         "CAP_SYS_CHROOT",
                                         "CAP_SYS_PTRACE",
                                         "CAP_SYS_PACCT",
                                         "CAP_SYS_ADMIN",
                                         "CAP_SYS_BOOT",
                                         "CAP_SYS_NICE",
                                         "CAP_SYS_RESOURCE",
                                         "CAP_SYS_TIME",
                                         "CAP_SYS_TTY_CONFIG",
                                         "CAP_MKNOD",
                                         "CAP_LEASE",
                                         "CAP_AUDIT_WRITE",
                                         "CAP_AUDIT_CONTROL",
                                         "CAP_SETFCAP",
                                         "CAP_MAC_OVERRIDE",
                                         "CAP_MAC_ADMIN",
                                         "CAP_SYSLOG",
                                         "CAP_WAKE_ALARM",
                                         "CAP_BLOCK_SUSPEND",
                                         "CAP_AUDIT_READ",
                                         "CAP_PERFMON",
                                         "CAP_BPF",
                                         "CAP_CHECKPOINT_RESTORE"};
static_assert(kCapabilityNames.size() == CAP_LAST_CAP + 1);

constexpr std::pair<std::string_view, int> kRlimitNames[] = {
    {"RLIMIT_CPU", RLIMIT_CPU},           {"RLIMIT_FSIZE", RLIMIT_FSIZE},
    {"RLIMIT_DATA", RLIMIT_DATA},         {"RLIMIT_STACK", RLIMIT_STACK},
    {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_RSS", RLIMIT_RSS},
    {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_NOFILE", RLIMIT_NOFILE},
    {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},   {"RLIMIT_AS", RLIMIT_AS},
    {"RLIMIT_LOCKS", RLIMIT_LOCKS},       {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
    {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
    {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},     {"RLIMIT_RTTIME", RLIMIT_RTTIME}};

// Debian builds Abseil with its own string_view, so text crosses to it as std::string.
absl::Status Bad(const std::string& field, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

absl::Status ValidateProcess(const Process& process) {
  if (process.args.empty()) return Bad("process.args", "must not be empty");
  if (process.cwd.empty() || process.cwd[0] != '/') return Bad("process.cwd", "must be an absolute path");
  for (size_t i = 0; i < process.rlimits.size(); ++i) {
    const Rlimit& limit = process.rlimits[i];
    if (!RlimitNumber(limit.type).ok()) {
      return Bad(absl::StrCat("process.rlimits[", i, "].type"), absl::StrCat("unknown limit \"", limit.type, "\""));
    }
    if (limit.soft > limit.hard)
      return Bad(absl::StrCat("process.rlimits[", i, "]"), "soft limit exceeds the hard limit");
  }
  if (!process.capabilities) return absl::OkStatus();
  const Capabilities& caps = *process.capabilities;
  const std::pair<const char*, const std::vector<std::string>*> sets[] = {{"bounding", &caps.bounding},
                                                                          {"effective", &caps.effective},
                                                                          {"inheritable", &caps.inheritable},
                                                                          {"permitted", &caps.permitted},
                                                                          {"ambient", &caps.ambient}};
  for (const auto& [name, set] : sets) {
    if (auto mask = CapabilityMask(*set); !mask.ok()) {
      return Bad(absl::StrCat("process.capabilities.", name), std::string(mask.status().message()));
    }
  }
  return absl::OkStatus();
}

bool IsIdMapped(const Mount& mount) {
  const auto names = [&](const char* option) {
    return std::find(mount.options.begin(), mount.options.end(), option) != mount.options.end();
  };
  return !mount.uid_mappings.empty() || !mount.gid_mappings.empty() || names("idmap") || names("ridmap");
}

constexpr std::array<std::string_view, 9> kPropagations = {"",        "shared", "slave",    "private",    "unbindable",
                                                           "rshared", "rslave", "rprivate", "runbindable"};

absl::Status Validate(const Spec& spec) {
  if (spec.oci_version.rfind("1.", 0) != 0) {
    return Bad("ociVersion", absl::StrCat("unsupported version \"", spec.oci_version, "\" (want 1.x)"));
  }
  if (spec.root.path.empty()) return Bad("root.path", "must not be empty");
  for (size_t i = 0; i < spec.mounts.size(); ++i) {
    const std::string& to = spec.mounts[i].destination;
    if (to.empty() || to[0] != '/') return Bad(absl::StrCat("mounts[", i, "].destination"), "must be an absolute path");
    if (IsIdMapped(spec.mounts[i])) return Bad(absl::StrCat("mounts[", i, "]"), "id-mapped mounts are not supported");
  }
  if (spec.hostname.size() > 64) return Bad("hostname", "is longer than 64 bytes");
  if (spec.domainname.size() > 64) return Bad("domainname", "is longer than 64 bytes");
  if (std::find(kPropagations.begin(), kPropagations.end(), spec.linux_.rootfs_propagation) == kPropagations.end())
    return Bad("linux.rootfsPropagation", absl::StrCat("unknown propagation \"", spec.linux_.rootfs_propagation, "\""));
  if (spec.linux_.intel_rdt) return Bad("linux.intelRdt", "Intel RDT is not supported");
  for (const auto& [clock, offset] : spec.linux_.time_offsets) {
    if (clock != "monotonic" && clock != "boottime")
      return Bad("linux.timeOffsets", absl::StrCat("unknown clock \"", clock, "\""));
  }
  return ValidateProcess(spec.process);
}

template <typename T>
absl::StatusOr<T> Parse(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("not valid JSON");
  T value;
  absl::Status status;
  JsonReader reader(json, "", status);
  if (status.ok()) Fields(reader, value);
  if (!status.ok()) return status;
  return value;
}

template <typename T>
std::string Print(const T& value, int indent) {
  nlohmann::json json;
  JsonWriter writer(json);
  Fields(writer, const_cast<T&>(value));
  return json.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<Spec> ParseSpec(std::string_view text) {
  auto spec = Parse<Spec>(text);
  if (!spec.ok()) return spec;
  if (auto status = Validate(*spec); !status.ok()) return status;
  return spec;
}

absl::StatusOr<Process> ParseProcess(std::string_view text) {
  auto process = Parse<Process>(text);
  if (!process.ok()) return process;
  if (auto status = ValidateProcess(*process); !status.ok()) return status;
  return process;
}

absl::StatusOr<Resources> ParseResources(std::string_view text) { return Parse<Resources>(text); }

std::string ToJson(const Spec& spec) { return Print(spec, 2); }
std::string ToJson(const Process& process) { return Print(process, -1); }

const Namespace* FindNamespace(const Spec& spec, std::string_view type) {
  for (const Namespace& ns : spec.linux_.namespaces) {
    if (ns.type == type) return &ns;
  }
  return nullptr;
}

absl::StatusOr<uint64_t> CapabilityMask(const std::vector<std::string>& names) {
  uint64_t mask = 0;
  for (const std::string& name : names) {
    size_t bit = 0;
    while (bit < kCapabilityNames.size() && name != kCapabilityNames[bit]) ++bit;
    if (bit == kCapabilityNames.size())
      return absl::InvalidArgumentError(absl::StrCat("unknown capability \"", name, "\""));
    mask |= uint64_t{1} << bit;
  }
  return mask;
}

std::vector<std::string> AllCapabilityNames() { return {kCapabilityNames.begin(), kCapabilityNames.end()}; }

absl::StatusOr<int> RlimitNumber(std::string_view name) {
  for (const auto& [known, number] : kRlimitNames) {
    if (name == known) return number;
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown limit \"", std::string(name), "\""));
}

Spec DefaultSpec() {
  Spec spec;
  spec.oci_version = "1.0.2";
  spec.process.terminal = true;
  spec.process.args = {"sh"};
  spec.process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"};
  const std::vector<std::string> caps = {"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"};
  spec.process.capabilities = Capabilities{caps, caps, {}, caps, {}};
  spec.process.rlimits = {{"RLIMIT_NOFILE", 1024, 1024}};
  spec.process.no_new_privileges = true;
  spec.root = {"rootfs", true};
  spec.hostname = "runsc";
  spec.mounts = {
      {"/proc", "proc", "proc", {}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
      {"/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
      {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
      {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
      {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
  };
  spec.linux_.namespaces = {{"pid", ""}, {"network", ""}, {"ipc", ""}, {"uts", ""}, {"mount", ""}};
  return spec;
}

}  // namespace sandbox::spec
