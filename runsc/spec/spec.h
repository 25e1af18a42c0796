// The OCI runtime specification's config.json, as far as this runtime acts on it. Field names follow the spec.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace sandbox::spec {

struct Rlimit {
  std::string type;  // "RLIMIT_NOFILE"
  uint64_t soft = 0;
  uint64_t hard = 0;
};

struct Capabilities {
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;  // "CAP_CHOWN"
};

struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<uint32_t> umask;
  std::vector<uint32_t> additional_gids;
};

struct ConsoleSize {
  uint32_t height = 0, width = 0;
};

struct Process {
  bool terminal = false;
  ConsoleSize console_size;
  User user;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd = "/";
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::optional<int32_t> oom_score_adj;
};

struct Root {
  std::string path;
  bool readonly = false;
};

struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
};

struct Namespace {
  std::string type;
  std::string path;
};

struct Linux {
  std::vector<Namespace> namespaces;
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::map<std::string, std::string> sysctl;
  std::string rootfs_propagation;
  std::string cgroups_path;
};

struct Spec {
  std::string oci_version;
  Process process;
  Root root;
  std::vector<Mount> mounts;
  std::string hostname;
  std::string domainname;
  std::map<std::string, std::string> annotations;
  Linux linux_;
};

// Parses and validates config.json. The error names the field: "process.args: must not be empty".
absl::StatusOr<Spec> ParseSpec(std::string_view json);
// The inverse; ParseSpec(ToJson(s)) == s.
std::string ToJson(const Spec& spec);

// What `runsc spec` prints and `runsc do` starts from: a shell in a container with the usual mounts.
Spec DefaultSpec();

// Bits of CAP_* names; InvalidArgument for an unknown name.
absl::StatusOr<uint64_t> CapabilityMask(const std::vector<std::string>& names);
// Every CAP_* name, in bit order.
std::vector<std::string> AllCapabilityNames();
// Number of an RLIMIT_* name.
absl::StatusOr<int> RlimitNumber(std::string_view name);

}  // namespace sandbox::spec
