// Control files: small texts, written and read whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace sandbox::cgroup {

absl::StatusOr<std::string> ReadFile(const std::string& path);
// The error names the file and the value.
absl::Status WriteFile(const std::string& path, const std::string& value);
bool Exists(const std::string& path);
// A file with one number; "max" and files that are not there are none.
std::optional<uint64_t> ReadNumber(const std::string& path);
// `key value` lines: the value of one key.
std::optional<uint64_t> ReadKey(const std::string& path, const std::string& key);

}  // namespace sandbox::cgroup
