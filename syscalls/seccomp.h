// Shared by seccomp(2) and prctl(PR_SET_SECCOMP).
#pragma once

#include "base/guest_addr.h"
#include "base/result.h"

namespace sandbox {
class Task;
namespace syscalls {

// prctl(PR_SET_SECCOMP, mode, program): EINVAL for other modes than strict and filter.
Result<int64_t> SetSeccompMode(Task& task, uint64_t mode, GuestAddr program);

}  // namespace syscalls
}  // namespace sandbox
