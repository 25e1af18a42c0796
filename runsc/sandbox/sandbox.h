// A running sandbox as runsc sees it: the sentry and gofer processes, and the boot connection.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/boot/config.h"

namespace sandbox {

// What of mounts below a tree's folder is part of it (mount_namespaces(7)).
enum class TreeMounts {
  kFollow,   // those that the host has there at the time
  kCopyAll,  // those that the host had there when the tree was opened
  kCopyOne,  // none
};

// A host folder or file that the gofer serves.
struct HostTree {
  std::string host_path;
  std::string destination;  // mount point in the container; "/" for the root
  bool readonly = false;
  TreeMounts mounts = TreeMounts::kFollow;
  std::string upper;  // an empty folder that takes all changes; empty = the tree itself does
};

struct SandboxOptions {
  boot::BootConfig config;
  std::vector<HostTree> trees;
  int log_fd = 2;

  // The rest is for config.container, which outlives runsc. Descriptors are borrowed for the time of Launch.
  BorrowedFd listener;  // where the sentry accepts control connections
  BorrowedFd
      terminal;       // the process's standard streams and the gofer's controlling terminal; invalid = runsc's streams
  BorrowedFd record;  // gets the exit code
  std::vector<std::pair<std::string, BorrowedFd>>
      cgroup_files;                          // by name: what guests see of the container's control groups
  std::vector<BorrowedFd> cgroup_procs;      // Join: files that move processes there
  bool hooks = false;                        // the gofer waits between WaitForView and OpenView
  std::vector<BorrowedFd> preserved;         // the process's descriptors 3, 4, …
  std::function<absl::Status(pid_t)> place;  // puts a process into the container's cgroups
};

class Sandbox {
 public:
  // Starts the sentry and the gofer. They boot while the caller goes on; see WaitStarted. In the network namespace of
  // the caller, unless the configuration asks for no network at all.
  static absl::StatusOr<Sandbox> Launch(SandboxOptions options);
  // Starts a gofer for a further container of a running sandbox, whose sentry is asked to make it on `control`, a
  // control connection. The sentry is none of this object's.
  static absl::StatusOr<Sandbox> Join(SandboxOptions options, UniqueFd control);

  Sandbox(Sandbox&& other) noexcept;
  Sandbox& operator=(Sandbox&&) = delete;
  // Kills what still runs and reaps it, unless Keep was called.
  ~Sandbox();

  // Waits until the container's first process runs (config.container: is loaded), or fails with the reason the sentry
  // gave; control::ExitCodeOf has the exit code.
  absl::Status WaitStarted();

  // With `hooks`: waits until the gofer stands among the container's mounts, with the host's tree in reach still, for
  // hooks to be run there. What they mount is the container's after OpenView, which lets it go on.
  absl::Status WaitForView();
  absl::Status OpenView();

  // Whether WaitStarted would return at once.
  bool HasReported() const;

  // Serves as the container's foreground stand-in: forwards signals to it until it ends. Returns the wait status.
  absl::StatusOr<int> WaitForeground();

  // The sandbox lives on without this process. The gofer's pid is the container's.
  absl::Status Keep();
  pid_t sentry() const { return sentry_; }  // -1 after Join
  pid_t gofer() const { return gofer_; }

 private:
  Sandbox() = default;
  // The connection over which the gofer and the hooks' runner wait for each other.
  absl::Status MakeGate(UniqueFd& gofers_end);

  UniqueFd boot_, gate_;
  pid_t sentry_ = -1;
  pid_t gofer_ = -1;
  bool kept_ = false;
};

}  // namespace sandbox
