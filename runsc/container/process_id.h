// A host process that is named in a file: a pid alone may be another process's by the time it is read.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/unique_fd.h"

namespace sandbox {

struct ProcessId {
  pid_t pid = 0;            // 0 = none
  uint64_t start_time = 0;  // clock ticks since boot (proc(5), stat, field 22)
};

// Of a process that exists for as long as the caller says (its child, itself). start_time 0 when /proc has no answer.
ProcessId Identify(pid_t pid);
// Exists and is no zombie.
bool IsAlive(const ProcessId& process);
// A pidfd of exactly that process; invalid when it is gone.
UniqueFd OpenProcess(const ProcessId& process);
// SIGKILL, then waits until it is a zombie or gone, at most `timeout_ms`. False when it outlived that.
bool KillAndWait(const ProcessId& process, int timeout_ms);
// Waits for that without a signal; -1 = for ever.
bool WaitForEnd(const ProcessId& process, int timeout_ms);

}  // namespace sandbox
