#include "platform/api/registry.h"

#include <map>

#include "base/check.h"

namespace sandbox::platform {
namespace {

// Filled by static initialisers, so constructed on first use; read-only once main runs.
std::map<std::string_view, PlatformFactory>& Table() {
  static auto* table = new std::map<std::string_view, PlatformFactory>;
  return *table;
}

}  // namespace

PlatformRegistration::PlatformRegistration(std::string_view name, PlatformFactory factory) {
  CHECK(Table().emplace(name, factory).second);
}

std::vector<std::string_view> RegisteredPlatforms() {
  std::vector<std::string_view> names;
  for (const auto& [name, factory] : Table()) names.push_back(name);
  return names;
}

Result<std::unique_ptr<Platform>> CreatePlatform(std::string_view name, const PlatformOptions& options) {
  const auto entry = Table().find(name);
  if (entry == Table().end()) return Err(ENOENT);
  return entry->second(options);
}

}  // namespace sandbox::platform
