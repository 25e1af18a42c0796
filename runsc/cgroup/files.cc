#include "runsc/cgroup/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/io/whole_file.h"
#include "base/unique_fd.h"

namespace sandbox::cgroup {
namespace {

constexpr size_t kMaxFile = 16 << 20;

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  auto text = ReadAllOf(path.c_str(), kMaxFile);
  if (text.ok()) return *std::move(text);
  return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(text.error().value())));
}

absl::Status WriteFile(const std::string& path, const std::string& value) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  ssize_t put = -1;
  if (fd.valid()) {
    do {
      put = ::write(fd.get(), value.data(), value.size());
    } while (put < 0 && errno == EINTR);
  }
  if (put == static_cast<ssize_t>(value.size())) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("failed to write \"", value, "\" to ", path, ": ", std::strerror(errno)));
}

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::optional<uint64_t> ReadNumber(const std::string& path) {
  const auto text = ReadFile(path);
  uint64_t number;
  if (!text.ok() || !absl::SimpleAtoi(*text, &number)) return std::nullopt;
  return number;
}

std::optional<uint64_t> ReadKey(const std::string& path, const std::string& key) {
  const auto text = ReadFile(path);
  if (!text.ok()) return std::nullopt;
  for (const auto line : absl::StrSplit(*text, '\n')) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    uint64_t number;
    if (parts.size() == 2 && parts[0] == key && absl::SimpleAtoi(parts[1], &number)) return number;
  }
  return std::nullopt;
}

}  // namespace sandbox::cgroup
