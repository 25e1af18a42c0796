#include "runsc/ns/visit.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace sandbox::ns {
namespace {

const char* HomeOf(int type) {
  switch (type) {
    case CLONE_NEWPID:
      return "/proc/self/ns/pid";
    case CLONE_NEWIPC:
      return "/proc/self/ns/ipc";
    case CLONE_NEWUTS:
      return "/proc/self/ns/uts";
    case CLONE_NEWTIME:
      return "/proc/self/ns/time";
    default:
      return "/proc/self/ns/cgroup";
  }
}

}  // namespace

absl::StatusOr<Visit> Visit::Begin(int type, BorrowedFd place) {
  const char* home = HomeOf(type);
  UniqueFd own(::open(home, O_RDONLY | O_CLOEXEC));
  if (!own.valid() || ::setns(place.get(), type) != 0) {
    return absl::InternalError(absl::StrCat("entering another namespace than ", home, ": ", std::strerror(errno)));
  }
  return Visit(type, std::move(own));
}

Visit::~Visit() {
  if (home_.valid()) (void)::setns(home_.get(), type_);
}

}  // namespace sandbox::ns
