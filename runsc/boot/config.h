// What runsc hands to the sentry it starts: the container's spec and the runtime's options, as JSON over a pipe.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runsc/spec/spec.h"

namespace sandbox::boot {


struct BootConfig {
  spec::Spec spec;
  std::string platform = "systrap";
  std::string network = "none";   // "none" | "host"
  std::string overlay = "memory"; // "none" | "memory"
  bool strace = false;
  bool rewrite = true;            // call sites of guests, when the platform can
  bool profile = false;           // log where the time went when the container ends
  bool debug = false;             // debug messages to kLogFd; strace implies it
  bool json_log = false;
  bool rootless = false;          // the host side runs as an ordinary user
  int gofer_connections = 0;      // descriptors kGoferFd…
  std::vector<std::string> exports;  // mount destinations served by the gofer, in tree order; [0] is the root
};

std::string ToJson(const BootConfig& config);
absl::StatusOr<BootConfig> ParseBootConfig(std::string_view json);

// Descriptors of a started sentry. Everything else is closed.
inline constexpr int kConfigFd = 3;   // JSON, read to the end
inline constexpr int kControlFd = 4;  // SOCK_SEQPACKET to runsc (runsc/boot/control.h)
inline constexpr int kLogFd = 5;      // debug log, may be standard error
inline constexpr int kGoferFd = 6;    // first gofer connection

}  // namespace sandbox::boot
