// prctl(PR_SET_MM), prctl(PR_GET_AUXV): what /proc tells about a program's layout.
#pragma once

#include "base/guest_addr.h"
#include "base/result.h"

namespace sandbox {
class Task;
namespace syscalls {

// PR_SET_MM with its sub-option: EPERM without CAP_SYS_RESOURCE, EINVAL for a place that is not mapped.
Result<int64_t> SetMemoryMap(Task& task, uint64_t option, uint64_t value, uint64_t size, uint64_t a5);
// PR_GET_AUXV: the size of the auxiliary vector, of which at most `size` bytes are written to `to`.
Result<int64_t> GetAuxiliaryVector(Task& task, GuestAddr to, uint64_t size);

}  // namespace syscalls
}  // namespace sandbox
