// Values below /proc/sys that are not this kernel's to have: settings of the host's network namespace that the sandbox is in,
// which whoever made the container has changed.
#pragma once

#include <string>

namespace sandbox::proc {

// `path`: "net/ipv4/ip_forward". Before the first mount of a proc.
void ShowSysctl(std::string path, std::string value);

}  // namespace sandbox::proc
