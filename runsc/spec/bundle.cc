#include "runsc/spec/bundle.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/io/whole_file.h"

namespace sandbox::spec {
namespace {

constexpr size_t kMaxConfig = 16 << 20;

// The type of a whole file system of the kernel's that stands at `path`; null for anything else.
const char* KernelFileSystem(const std::string& path) {
  constexpr ino_t kRoot = 1;
  struct statfs fs;
  struct stat st;
  if (::statfs(path.c_str(), &fs) != 0 || ::stat(path.c_str(), &st) != 0 || st.st_ino != kRoot) return nullptr;
  if (fs.f_type == PROC_SUPER_MAGIC) return "proc";
  return fs.f_type == SYSFS_MAGIC ? "sysfs" : nullptr;
}

void MountOwn(const char* type, Mount& mount) {
  mount.type = mount.source = type;
  std::erase_if(mount.options, [](const std::string& option) { return option == "bind" || option == "rbind"; });
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
  return std::any_of(mount.options.begin(), mount.options.end(),
                     [](const std::string& option) { return option == "ro" || option == "rro"; });
}

absl::StatusOr<Bundle> LoadBundle(const std::string& path) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) {
    return absl::NotFoundError(absl::StrCat("bundle ", path, ": ", std::strerror(errno)));
  }
  Bundle bundle{resolved, {}};
  const std::string config = bundle.path + "/config.json";
  const auto text = ReadAllOf(config.c_str(), kMaxConfig);
  if (!text.ok()) return absl::NotFoundError(absl::StrCat(config, ": ", std::strerror(text.error().value())));
  auto spec = ParseSpec(*text);
  if (!spec.ok()) return absl::InvalidArgumentError(absl::StrCat(config, ": ", std::string(spec.status().message())));
  bundle.spec = *std::move(spec);
  bundle.spec.root.path = Under(bundle.path, bundle.spec.root.path);
  for (Mount& mount : bundle.spec.mounts) {
    if (!IsBind(mount)) continue;
    mount.source = Under(bundle.path, mount.source);
    if (const char* type = KernelFileSystem(mount.source)) MountOwn(type, mount);
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
