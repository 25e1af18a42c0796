// The command line that ps(1) shows of a process of ours (proc(5), /proc/pid/cmdline): stand-ins carry the guest's,
// which is what `docker top` prints.
#pragma once

#include <string>
#include <vector>

namespace sandbox::cli {

// Remembers where the kernel keeps it. Once, at the start of main.
void RememberTitle(int argc, char** argv);
// Replaces it, cut to the room there is. For a forked process that needs its arguments no longer.
void SetTitle(const std::vector<std::string>& args);

}  // namespace sandbox::cli
