#include "runsc/spec/bundle.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"

namespace sandbox::spec {
namespace {

constexpr size_t kMaxConfig = 16 << 20;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
    if (got == 0) return text;
    text.append(buffer, got);
    if (text.size() > kMaxConfig) return absl::InvalidArgumentError(absl::StrCat(path, ": larger than 16 MiB"));
  }
}

std::string Under(const std::string& folder, const std::string& path) {
  return path.empty() || path[0] == '/' ? path : folder + "/" + path;
}

}  // namespace

bool IsBind(const Mount& mount) {
  const auto& options = mount.options;
  return mount.type == "bind" || std::find(options.begin(), options.end(), "bind") != options.end() ||
         std::find(options.begin(), options.end(), "rbind") != options.end();
}

bool IsReadOnly(const Mount& mount) {
  return std::any_of(mount.options.begin(), mount.options.end(), [](const std::string& option) { return option == "ro" || option == "rro"; });
}

absl::StatusOr<Bundle> LoadBundle(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) {
    return absl::NotFoundError(absl::StrCat("bundle ", path, ": ", std::strerror(errno)));
  }
  Bundle bundle{resolved, {}};
  const std::string config = bundle.path + "/config.json";
  auto text = ReadFile(config);
  if (!text.ok()) return text.status();
  auto spec = ParseSpec(*text);
  if (!spec.ok()) return absl::InvalidArgumentError(absl::StrCat(config, ": ", std::string(spec.status().message())));
  bundle.spec = *std::move(spec);
  bundle.spec.root.path = Under(bundle.path, bundle.spec.root.path);
  for (Mount& mount : bundle.spec.mounts) {
    if (IsBind(mount)) mount.source = Under(bundle.path, mount.source);
  }
  return bundle;
}

absl::Status CheckContainerId(const std::string& id) {
  bool good = !id.empty() && id.size() <= 1024 && id != "." && id != "..";
  for (const char c : id) good = good && (isalnum(static_cast<unsigned char>(c)) || std::strchr("_+-.", c) != nullptr);
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("invalid container id \"", id, "\": use letters, digits and _ + - ."));
}

}  // namespace sandbox::spec
