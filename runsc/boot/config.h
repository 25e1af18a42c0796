// What runsc hands to the sentry it starts: the container's spec and the runtime's options, as JSON over a pipe.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runsc/spec/spec.h"
#include "sentry/kernel/cgroup_limits.h"

namespace sandbox::boot {

struct BootConfig {
  std::string id;  // of the container
  spec::Spec spec;
  std::string platform = "systrap";
  std::string network = "none";      // "none" | "host"
  std::string overlay = "memory";    // "none" | "memory"
  bool root_tree_read_only = false;  // the gofer serves the root so
  bool strace = false;
  bool rewrite = true;   // call sites of guests, when the platform can
  bool profile = false;  // log where the time went when the container ends
  bool debug = false;    // debug messages to kLogFd; strace implies it
  bool json_log = false;
  bool rootless = false;             // the host side runs as an ordinary user
  int gofer_connections = 0;         // descriptors kGoferFd…
  std::vector<std::string> exports;  // mount destinations served by the gofer, in tree order; [0] is the root
  // A container with a life of its own: the process is loaded but waits for kStart on a connection to kListenerFd, the
  // gofer at kStandInFd stands for it, and standard streams are given up once the guest has them.
  bool container = false;
  bool low_ports = false;  // the gofer binds ports below 1024 in the host's network
  bool pod = false;        // others may join its sandbox
  int preserved_fds = 0;   // the last descriptors are the process's 3, 4, …
  CgroupLimits limits;
  bool cgroup_unified = true;             // the host's groups are version 2's
  std::vector<std::string> cgroup_files;  // names of the container's files of the host's control groups
  // A further container of a sandbox only. Files to move its stubs with; the ids of the containers whose namespaces it
  // is in, empty = new ones.
  int cgroup_procs = 0;
  std::string share_pids, share_ipc, share_uts;
};

std::string ToJson(const BootConfig& config);
std::string ToJson(const CgroupLimits& limits);
absl::StatusOr<CgroupLimits> ParseLimits(std::string_view json);
absl::StatusOr<BootConfig> ParseBootConfig(std::string_view json);

// Descriptors of a started sentry. Everything else is closed.
inline constexpr int kConfigFd = 3;    // JSON, read to the end
inline constexpr int kControlFd = 4;   // the boot connection to runsc (runsc/control/message.h)
inline constexpr int kLogFd = 5;       // debug log, may be standard error
inline constexpr int kGoferFd = 6;     // first gofer connection
inline constexpr int kListenerFd = 7;  // container: control connections are accepted here
inline constexpr int kStandInFd = 8;   // container: the init process's stand-in
inline constexpr int kCgroupFd = 9;    // container: first of config.cgroup_files; after them, the preserved ones

// Descriptors of a control::Message::Kind::kCreate.
inline constexpr size_t kJoinConfig = 0, kJoinGofer = 1, kJoinStandIn = 2;
inline constexpr size_t kJoinStreams =
    3;  // 0, 1 and 2; after them config.cgroup_files, config.cgroup_procs, the preserved ones

}  // namespace sandbox::boot
