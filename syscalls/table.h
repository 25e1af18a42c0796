// The table the rows add up to.
#pragma once

#include <vector>

#include "syscalls/row.h"

namespace sandbox::syscalls {

// All rows, by number.
std::vector<const Row*> AllRows();
platform::LaneTable Lanes();
platform::InputTable Inputs();
// Runs one call; ENOSYS for numbers without a row.
Result<int64_t> Dispatch(Task& task, uint64_t nr, const RawArgs& args);

}  // namespace sandbox::syscalls
