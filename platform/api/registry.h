// Which platforms this binary contains. Each platform's library registers itself with a static PlatformRegistration
// in its own file (Bazel: alwayslink = True), so that runsc and the conformance tests link what they want and name it
// by string.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "platform/api/platform.h"

namespace sandbox::platform {

using PlatformFactory = Result<std::unique_ptr<Platform>> (*)(const PlatformOptions& options);

// `static PlatformRegistration registration("ptrace", &PtracePlatform::Create);` at namespace scope. `name` must
// have static storage.
class PlatformRegistration {
 public:
  PlatformRegistration(std::string_view name, PlatformFactory factory);
};

// Names CreatePlatform accepts, sorted.
std::vector<std::string_view> RegisteredPlatforms();

}  // namespace sandbox::platform
