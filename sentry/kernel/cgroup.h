// Cgroup (cgroups(7)): the control group of one container's tasks, which children inherit and nobody leaves. It is what
// the container is seen and limited by inside the sandbox: the pids controller and the freezer are the sentry's own;
// memory and CPU time are limited by the host's groups, whose values are shown here. Groups of a sandbox stand side by
// side.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/core/cpus.h"
#include "sentry/kernel/cgroup_limits.h"

namespace sandbox {

// The controllers of version 1's hierarchies, in the order of their numbers.
inline constexpr std::array kCgroupControllers = {"cpuset", "cpu",     "cpuacct", "blkio",
                                                  "memory", "devices", "freezer", "pids"};

// The host's groups behind one of ours, opened by runsc before the sentry was confined.
struct CgroupHost {
  bool unified = true;                    // version 2
  std::map<std::string, UniqueFd> files;  // by name ("memory.stat"), read-only
  std::vector<UniqueFd> processes;        // cgroup.procs to move stubs to; empty where they are there already
};

class Kernel;
class ThreadGroup;
using ThreadGroupRef = RefPtr<ThreadGroup>;

class Cgroup final : public RefFromThis<Cgroup> {
 public:
  Cgroup(Kernel& kernel, const CgroupLimits& limits, CgroupHost host);

  CgroupLimits limits() const;
  void SetLimits(const CgroupLimits& limits);

  // The pids controller. False at the limit.
  bool Charge();
  void Uncharge() { tasks_.fetch_sub(1); }
  int task_count() const { return tasks_.load(); }
  int peak() const { return peak_.load(); }
  uint64_t refusals() const { return refusals_.load(); }

  std::vector<ThreadGroupRef> Groups() const;  // ascending pid, zombies included
  // As from outside.
  void SendSignal(int signo);
  // The freezer: on return no task of the group runs guest code, nor will until it is thawed. ETIMEDOUT, and thawed
  // again, when one does not stop.
  Result<void> Freeze();
  void Thaw();
  bool frozen() const { return frozen_.load(); }
  // A task stopped for the freezer.
  void Arrived();

  // Moves a new stub to the host's groups of this container. Best effort: one that the host refuses stays in the
  // sandbox's.
  void Adopt(int host_tid) const;

  bool unified() const { return host_.unified; }
  // The text of a file of the host's groups; nullopt when the host has none.
  std::optional<std::string> HostFile(const std::string& name) const;
  // The same of a file with one number, or the value of the line `key value`.
  std::optional<uint64_t> HostNumber(const std::string& name, const std::string& key = "") const;
  // Bytes that a machine of this size has for the container. The use is the host's count, or what is resident in the
  // container's address spaces; `cached` can be had back.
  struct Memory {
    uint64_t total, used, cached, swap_total, swap_free;
  };
  Memory memory(uint64_t machine, uint64_t machine_swap) const;
  // Processors its tasks may use: those of the host's cpuset, or fewer where a quota is worth less.
  CpuSet cpus() const;

 private:
  bool Quiet() const;
  uint64_t Resident() const;

  Kernel& kernel_;
  const CgroupHost host_;
  mutable Mutex mu_{LockRank::kLeaf};
  CgroupLimits limits_ GUARDED_BY(mu_);
  std::atomic<int> tasks_{0}, peak_{0};
  std::atomic<uint64_t> refusals_{0};
  std::atomic<bool> frozen_{false};
  std::atomic<uint32_t> arrivals_{0};  // Freeze sleeps on it
};

}  // namespace sandbox
