// How a bundle wants a process to be scheduled, and its personality(2).
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "runsc/spec/spec.h"
#include "sentry/core/cpus.h"
#include "sentry/kernel/task.h"

namespace sandbox::boot {

struct Scheduling {
  int policy = 0, priority = 0, nice = 0;  // SCHED_*
  bool reset_on_fork = false;
  uint64_t runtime_ns = 0, deadline_ns = 0, period_ns = 0;  // SCHED_DEADLINE
  int ioprio = 0;                                           // as ioprio_set(2) takes it
  uint64_t personality = 0;
  CpuSet cpus;  // empty = as the container

  // Of the first process; a process of `exec` has the bundle's CPUs as well. InvalidArgument names the field.
  static absl::StatusOr<Scheduling> Of(const spec::Process& process, bool exec);
  static absl::StatusOr<uint64_t> PersonalityOf(const spec::Linux& linux_);

  // Before the task runs.
  void ApplyTo(Task& task) const;
};

}  // namespace sandbox::boot
