#include "runsc/ns/time.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace sandbox::ns {
namespace {

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::Status WriteOffsets(const std::string& text) {
  if (text.empty()) return absl::OkStatus();
  const UniqueFd file(::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC));
  if (!file.valid() || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return Failed("time offsets");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UniqueFd> NewTimeNamespace(const std::string& offsets) {
  const UniqueFd home(::open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC));
  // For children; their clocks are fixed once one of them is there.
  if (!home.valid() || ::unshare(CLONE_NEWTIME) != 0) return Failed("time namespace");
  absl::Status status = WriteOffsets(offsets);
  UniqueFd made(::open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC));
  if (status.ok() && !made.valid()) status = Failed("time namespace");
  if (::setns(home.get(), CLONE_NEWTIME) != 0 && status.ok()) status = Failed("leaving the time namespace");
  if (!status.ok()) return status;
  return made;
}

}  // namespace sandbox::ns
