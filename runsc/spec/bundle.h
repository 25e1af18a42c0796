// An OCI bundle: a folder with config.json and, by convention, the root file system.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "runsc/spec/spec.h"

namespace sandbox::spec {

struct Bundle {
  std::string path;  // absolute
  Spec spec;         // root.path and the sources of bind mounts made absolute
};

// Errors name the file and the field: "/b/config.json: process.args: must not be empty".
//
// The host's proc and sys, which engines bind when the host lets them mount none, become mounts of the sandbox's own
// kernel: what the host's say is not about this container.
absl::StatusOr<Bundle> LoadBundle(const std::string& path);

// A bind mount by type or by option.
bool IsBind(const Mount& mount);
// Has the option "ro" or "rro".
bool IsReadOnly(const Mount& mount);

// 1 to 1024 characters of [A-Za-z0-9_+.-], not "." or "..", as runc.
absl::Status CheckContainerId(const std::string& id);

}  // namespace sandbox::spec
