#include "runsc/ns/userns.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"

namespace sandbox::ns {
namespace {

absl::Status WriteProcFile(pid_t pid, const char* name, const std::string& text) {
  const std::string path = absl::StrCat("/proc/", pid, "/", name);
  UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return absl::InternalError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

std::string Lines(const std::vector<IdMap>& maps) {
  std::string text;
  for (const IdMap& map : maps) absl::StrAppend(&text, map.inside, " ", map.outside, " ", map.count, "\n");
  return text;
}

}  // namespace

absl::Status WriteIdMaps(pid_t pid, const std::vector<IdMap>& uid, const std::vector<IdMap>& gid) {
  if (::geteuid() != 0) {
    if (auto status = WriteProcFile(pid, "setgroups", "deny"); !status.ok()) return status;
  }
  if (auto status = WriteProcFile(pid, "uid_map", Lines(uid)); !status.ok()) return status;
  return WriteProcFile(pid, "gid_map", Lines(gid));
}

absl::Status DropPrivileges(uint64_t keep) {
  for (int cap = 0; cap <= CAP_LAST_CAP; ++cap) {
    if ((keep >> cap) & 1) continue;
    // EPERM without CAP_SETPCAP: then the bounding set cannot be used to regain anything either (no_new_privs).
    if (::prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EPERM && errno != EINVAL) {
      return absl::InternalError(absl::StrCat("dropping capability ", cap, ": ", std::strerror(errno)));
    }
  }
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return absl::InternalError(absl::StrCat("clearing ambient capabilities: ", std::strerror(errno)));
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  for (int i = 0; i < 2; ++i) data[i].permitted = data[i].effective = static_cast<uint32_t>(keep >> (32 * i));
  if (::syscall(SYS_capset, &header, data) != 0) {
    return absl::InternalError(absl::StrCat("capset: ", std::strerror(errno)));
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return absl::InternalError(absl::StrCat("no_new_privs: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace sandbox::ns
