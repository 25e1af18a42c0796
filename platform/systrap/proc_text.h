// What the host's proc file system says of a stub (proc_pid_status(5), proc_pid_stat(5), proc_pid_smaps(5)). What is
// not there counts as zero.
#pragma once

#include <string_view>
#include <vector>

#include "platform/api/platform.h"

namespace sandbox::platform::systrap {

AddressSpace::Usage UsageFromStatus(std::string_view status);
void AddFaultsFromStat(std::string_view stat, AddressSpace::Usage& usage);
std::vector<AddressSpace::Residency> ResidencyFromSmaps(std::string_view smaps);

}  // namespace sandbox::platform::systrap
