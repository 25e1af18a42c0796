#include "runsc/ns/empty_root.h"

#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace sandbox::ns {
namespace {

absl::Status Failed(const char* what) { return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno))); }

}  // namespace

absl::Status EnterEmptyRoot() {
  // Private first: nothing done here may propagate to the host.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return Failed("making mounts private");
  // /proc exists on every host this runs on; what is mounted over it is seen by this namespace only.
  if (::mount("runsc-root", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=555") != 0) {
    return Failed("mounting an empty root");
  }
  if (::chdir("/proc") != 0) return Failed("chdir to the empty root");
  // pivot_root(".", ".") stacks the old root on the new one, so that no directory for it is needed (pivot_root(2)).
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return Failed("pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) return Failed("detaching the old root");
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) !=
      0) {
    return Failed("making the empty root read-only");
  }
  return ::chdir("/") == 0 ? absl::OkStatus() : Failed("chdir /");
}

UniqueFd OpenProcesses() {
  const UniqueFd context(static_cast<int>(::syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC)));
  const int fs = context.get();
  if (!context.valid() || ::syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "subset", "pid", 0) != 0 ||
      ::syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return {};
  }
  constexpr unsigned kReadOnly = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  return UniqueFd(static_cast<int>(::syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, kReadOnly)));
}

}  // namespace sandbox::ns
