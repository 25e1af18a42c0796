// --strace: each call as a line of the debug log, from its row.
#pragma once

#include "syscalls/row.h"

namespace sandbox::syscalls {

// Runs a call (`row` null: ENOSYS) and logs "[ pid] name(args) = result" with the errno's name and text.
Result<int64_t> DispatchTraced(Task& task, uint64_t nr, const Row* row, const RawArgs& args);

}  // namespace sandbox::syscalls
