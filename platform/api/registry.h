// Which platforms this binary contains. Each platform's library registers itself with a static PlatformRegistration
// in its own file (Bazel: alwayslink = True), so that runsc and the conformance tests link what they want and name it
// by string.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/host_rule.h"
#include "base/result.h"
#include "platform/api/platform.h"

namespace sandbox::platform {

using PlatformFactory = Result<std::unique_ptr<Platform>> (*)(const PlatformOptions& options);

// `const PlatformRegistration registration("ptrace", &PtracePlatform::Create, kHostRules);` at namespace scope. `name`
// and `rules` must have static storage.
class PlatformRegistration {
 public:
  PlatformRegistration(std::string_view name, PlatformFactory factory, std::span<const HostRule> rules);
};

// Names CreatePlatform accepts, sorted.
std::vector<std::string_view> RegisteredPlatforms();

// What the platform asks of the host kernel once guests run, besides what the sentry does anyway. Empty for an unknown
// name.
std::span<const HostRule> HostRulesOf(std::string_view name);

}  // namespace sandbox::platform
