// Processes of the container that the host asks for, from their configuration. The program is looked up in the
// container's PATH; error texts are those engines match on, with the exit code of control/message.h.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/boot/config.h"
#include "sentry/kernel/kernel.h"
#include "sentry/vfs/mount.h"

namespace sandbox::boot {

// Exit codes of engines for a program that cannot start.
inline constexpr int kExitNotFound = 127;
inline constexpr int kExitNotExecutable = 126;

// The namespaces and the control group that the host starts a container's processes in.
struct ContainerPlace {
  RefPtr<PidNamespace> pids;
  RefPtr<Cgroup> cgroup;
  RefPtr<IpcNamespace> ipc;
  RefPtr<UtsNamespace> uts;
  bool own_pids = true;      // the container's first process is the namespace's
  uint64_t personality = 0;  // of its processes
};

// A process the host asked for.
struct HostStarted {
  TaskRef task;
  RefPtr<ControllingTerminal> terminal;  // the host terminal among its standard streams, or null
  RefPtr<const SeccompFilter> seccomp;   // the container's profile, or null; for those that join it
  ContainerPlace place;
};

// The sentry's own standard streams, for the container's first process; with `preserved` descriptors after them. A
// closed stream is an invalid descriptor. Moves them away from 0, 1 and 2, which become the debug log in a container:
// whoever reads the container's output waits for its end, which must not be the sentry's.
std::vector<UniqueFd> TakeStandardStreams(const BootConfig& config);

// The host's control group files of a first container, among the sentry's descriptors.
CgroupHost TakeCgroupFiles(const BootConfig& config);
// Where a first container is.
ContainerPlace FirstPlace(const Kernel& kernel, const BootConfig& config);

// Loads the first process with the configuration's ids, limits and capabilities. It runs once its thread is started:
// now, unless `config.container`.
absl::StatusOr<HostStarted> LoadInit(Kernel& kernel, const BootConfig& config, const ContainerPlace& place,
                                     const RefPtr<MountNamespace>& mounts, std::vector<UniqueFd> streams);

// Starts a process beside `init`, under its seccomp profile (runsc exec). `streams` become its 0, 1, 2, …
// FailedPrecondition without `mounts`: the container has ended.
absl::StatusOr<HostStarted> Exec(Kernel& kernel, const spec::Process& process, const RefPtr<MountNamespace>& mounts,
                                 std::vector<UniqueFd> streams, const HostStarted& init);

}  // namespace sandbox::boot
