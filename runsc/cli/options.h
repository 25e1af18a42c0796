// The global options, with runc's names where runc has them.
#pragma once

#include <string>

namespace sandbox::cli {

struct GlobalOptions {
  std::string root;  // --root: where container state lives; default by user, see DefaultRoot
  std::string platform = "systrap";
  std::string network;  // --network: none, host; empty = none for `do`, the bundle's namespace for containers
  std::string log;      // --log: errors as engines read them
  std::string log_format = "text";
  std::string debug_log;  // --debug-log: file, or "-" for standard error
  bool debug = false;
  bool strace = false;
  std::string rewrite = "on";  // --rewrite: "off" leaves every system call to the trap
  bool profile = false;
  std::string rootless = "auto";  // "true": as an ordinary user, also for root
  bool systemd_cgroup = false;
};

// /run/runsc for root, $XDG_RUNTIME_DIR/runsc otherwise.
std::string DefaultRoot();

}  // namespace sandbox::cli
