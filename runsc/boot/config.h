// What runsc hands to the sentry it starts: the container's spec and the runtime's options, as JSON over a pipe.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runsc/spec/spec.h"

namespace sandbox::boot {

// What the host side limits and the guest can see: /proc/meminfo, the number of CPUs, fork's EAGAIN. 0 = no limit.
struct Limits {
  uint64_t memory_bytes = 0, swap_bytes = 0;  // swap: without memory
  int32_t pids = 0;                           // guest tasks
  uint64_t cpu_quota_us = 0, cpu_period_us = 100000;
  uint64_t cpu_shares = 1024;
};

struct BootConfig {
  std::string id;                 // of the container
  spec::Spec spec;
  std::string platform = "systrap";
  std::string network = "none";   // "none" | "host"
  std::string overlay = "memory"; // "none" | "memory"
  bool root_tree_read_only = false;  // the gofer serves the root so
  bool strace = false;
  bool rewrite = true;            // call sites of guests, when the platform can
  bool profile = false;           // log where the time went when the container ends
  bool debug = false;             // debug messages to kLogFd; strace implies it
  bool json_log = false;
  bool rootless = false;          // the host side runs as an ordinary user
  int gofer_connections = 0;      // descriptors kGoferFd…
  std::vector<std::string> exports;  // mount destinations served by the gofer, in tree order; [0] is the root
  // A container with a life of its own: the process is loaded but waits for kStart on a connection to kListenerFd, the
  // gofer at kStandInFd stands for it, and standard streams are given up once the guest has them.
  bool container = false;
  int preserved_fds = 0;             // descriptors from kPreservedFd on are the process's 3, 4, …
  Limits limits;
  bool memory_usage = false;         // kMemoryUsageFd is there
};

std::string ToJson(const BootConfig& config);
std::string ToJson(const Limits& limits);
absl::StatusOr<Limits> ParseLimits(std::string_view json);
absl::StatusOr<BootConfig> ParseBootConfig(std::string_view json);

// Descriptors of a started sentry. Everything else is closed.
inline constexpr int kConfigFd = 3;   // JSON, read to the end
inline constexpr int kControlFd = 4;  // the boot connection to runsc (runsc/control/message.h)
inline constexpr int kLogFd = 5;      // debug log, may be standard error
inline constexpr int kGoferFd = 6;    // first gofer connection
inline constexpr int kListenerFd = 7; // container: control connections are accepted here
inline constexpr int kStandInFd = 8;  // container: the init process's stand-in
inline constexpr int kMemoryUsageFd = 9;  // the host's count of the container's memory (cgroups), read-only
inline constexpr int kPreservedFd = 10;

}  // namespace sandbox::boot
