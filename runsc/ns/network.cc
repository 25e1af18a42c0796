#include "runsc/ns/network.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace sandbox::ns {
namespace {

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::Status BringLoopbackUp() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  if (!socket.valid() || ::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return Failed("loopback interface");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return ::ioctl(socket.get(), SIOCSIFFLAGS, &request) == 0 ? absl::OkStatus() : Failed("loopback interface");
}

}  // namespace

absl::StatusOr<NetworkNamespace> NetworkNamespace::Enter(const std::string& path) {
  UniqueFd old(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!old.valid()) return Failed("network namespace");
  if (path.empty()) {
    if (::unshare(CLONE_NEWNET) != 0) return Failed("new network namespace");
    NetworkNamespace entered(std::move(old), true);
    if (auto status = BringLoopbackUp(); !status.ok()) return status;
    return entered;
  }
  const UniqueFd wanted(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!wanted.valid() || ::setns(wanted.get(), CLONE_NEWNET) != 0) return Failed("network namespace " + path);
  struct stat before, after;
  if (::fstat(old.get(), &before) != 0 || ::fstat(wanted.get(), &after) != 0)
    return Failed("network namespace " + path);
  return NetworkNamespace(std::move(old), before.st_ino != after.st_ino);
}

absl::Status NetworkNamespace::Leave() {
  if (!old_.valid()) return absl::OkStatus();
  const UniqueFd old = std::move(old_);
  return ::setns(old.get(), CLONE_NEWNET) == 0 || errno == EPERM ? absl::OkStatus()
                                                                 : Failed("leaving the network namespace");
}

NetworkNamespace::~NetworkNamespace() { (void)Leave(); }

std::string SysctlPath(std::string name) {
  const size_t first = name.find_first_of("./");
  if (first == std::string::npos || name[first] == '/') return name;
  for (char& c : name) c = c == '.' ? '/' : c == '/' ? '.' : c;
  return name;
}

absl::Status WriteSysctl(const std::string& name, const std::string& value) {
  if (name.empty() || name.find("..") != std::string::npos || name[0] == '/') {
    return absl::InvalidArgumentError("sysctl \"" + name + "\": not a name");
  }
  const std::string path = "/proc/sys/" + SysctlPath(name);
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return Failed("sysctl " + name);
  }
  return absl::OkStatus();
}

}  // namespace sandbox::ns
