// Pieces of a launch that sandboxes and further containers of a sandbox share. Private to this folder.
#pragma once

#include <sys/types.h>

#include <utility>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/boot/config.h"
#include "runsc/sandbox/child.h"
#include "runsc/sandbox/sandbox.h"

namespace sandbox {

absl::StatusOr<std::pair<UniqueFd, UniqueFd>> SocketPair();
// The configuration as a descriptor the sentry reads: a memory file, so that no size can block the writer.
absl::StatusOr<UniqueFd> ConfigFile(const boot::BootConfig& config);
// Fills what follows from the options: exports, descriptors.
void CompleteConfig(SandboxOptions& options);
// The time namespace of the sandbox; invalid when it is the runtime's own.
absl::StatusOr<UniqueFd> TimeNamespaceOf(const spec::Spec& spec);
// Its namespaces are what engines see as the container's: those of the bundle, as far as they are the host's.
absl::StatusOr<ChildOptions> GoferOptions(const boot::BootConfig& config);
void KillAndReap(pid_t& pid);

}  // namespace sandbox
