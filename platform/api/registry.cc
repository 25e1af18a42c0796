#include "platform/api/registry.h"

#include <map>

#include "base/check.h"

namespace sandbox::platform {
namespace {

struct Entry {
  PlatformFactory factory;
  std::span<const HostRule> rules;
};

// Filled by static initialisers, so constructed on first use; read-only once main runs.
std::map<std::string_view, Entry>& Table() {
  static auto* table = new std::map<std::string_view, Entry>;
  return *table;
}

}  // namespace

PlatformRegistration::PlatformRegistration(std::string_view name, PlatformFactory factory,
                                           std::span<const HostRule> rules) {
  CHECK(Table().emplace(name, Entry{factory, rules}).second);
}

std::vector<std::string_view> RegisteredPlatforms() {
  std::vector<std::string_view> names;
  for (const auto& [name, entry] : Table()) names.push_back(name);
  return names;
}

Result<std::unique_ptr<Platform>> CreatePlatform(std::string_view name, const PlatformOptions& options) {
  const auto entry = Table().find(name);
  if (entry == Table().end()) return Err(ENOENT);
  return entry->second.factory(options);
}

std::span<const HostRule> HostRulesOf(std::string_view name) {
  const auto entry = Table().find(name);
  return entry == Table().end() ? std::span<const HostRule>() : entry->second.rules;
}

}  // namespace sandbox::platform
