// Executes queued memory operations on a stopped thread.
#pragma once

#include "platform/ptrace/descriptor_channel.h"
#include "platform/ptrace/tracer.h"

namespace sandbox::platform::ptrace {

struct MemoryOpsOutcome {
  size_t done = 0;  // operations executed
  int error = 0;    // of the one after them; 0 when all were
};

MemoryOpsOutcome RunMemoryOps(Tracer& tracer, DescriptorChannel& channel, const RefPtr<Tracee>& tracee,
                              std::span<const MemoryOp> ops);

}  // namespace sandbox::platform::ptrace
