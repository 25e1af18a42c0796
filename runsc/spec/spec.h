// The OCI runtime specification's config.json, as far as this runtime acts on it. Field names follow the spec.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace sandbox::spec {

struct Rlimit {
  std::string type;  // "RLIMIT_NOFILE"
  uint64_t soft = 0;
  uint64_t hard = 0;
};

struct Capabilities {
  std::vector<std::string> bounding, effective, inheritable, permitted, ambient;  // "CAP_CHOWN"
};

struct User {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<uint32_t> umask;
  std::vector<uint32_t> additional_gids;
};

struct ConsoleSize {
  uint32_t height = 0, width = 0;
};

// sched_setattr(2).
struct Scheduler {
  std::string policy;  // "SCHED_OTHER"
  int32_t nice = 0, priority = 0;
  std::vector<std::string> flags;                  // "SCHED_FLAG_RESET_ON_FORK"
  uint64_t runtime = 0, deadline = 0, period = 0;  // ns; SCHED_DEADLINE
};

// ioprio_set(2).
struct IoPriority {
  std::string io_class;  // "IOPRIO_CLASS_BE"
  int32_t priority = 0;
};

// Of processes of `exec`, as lists of CPUs: while they are started, and then. There is no difference here.
struct ExecCpuAffinity {
  std::string initial, final;
};

struct Process {
  bool terminal = false;
  ConsoleSize console_size;
  User user;
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd = "/";
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;
  bool no_new_privileges = false;
  std::optional<int32_t> oom_score_adj;
  std::optional<Scheduler> scheduler;
  std::optional<IoPriority> io_priority;
  std::optional<ExecCpuAffinity> exec_cpu_affinity;
};

struct Root {
  std::string path;
  bool readonly = false;
};

struct IdMapping {
  uint32_t container_id = 0, host_id = 0, size = 0;
};

struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
  std::vector<IdMapping> uid_mappings{}, gid_mappings{};  // of the mount alone
};

struct Namespace {
  std::string type;
  std::string path;
};

// A program that an engine has run at a point of the container's life.
struct Hook {
  std::string path;
  std::vector<std::string> args, env;
  std::optional<int64_t> timeout;  // seconds
};

struct Hooks {
  std::vector<Hook> prestart, create_runtime, create_container, start_container, poststart, poststop;
};

struct Device {
  std::string type;  // "c", "u", "b" or "p"
  std::string path;
  int64_t major = 0, minor = 0;
  std::optional<uint32_t> file_mode, uid, gid;
};

struct DeviceRule {
  bool allow = false;
  std::string type, access;
  std::optional<int64_t> major, minor;  // absent = any
};

struct Memory {
  std::optional<int64_t> limit, reservation, swap, kernel, kernel_tcp;  // bytes, -1 = none
  std::optional<uint64_t> swappiness;
  std::optional<bool> disable_oom_killer;
};

struct Cpu {
  std::optional<uint64_t> shares, period, burst, realtime_period;
  std::optional<int64_t> quota, realtime_runtime, idle;
  std::string cpus, mems;
};

struct Pids {
  int64_t limit = 0;
};

struct WeightDevice {
  int64_t major = 0, minor = 0;
  std::optional<uint64_t> weight, leaf_weight;
};

struct ThrottleDevice {
  int64_t major = 0, minor = 0;
  uint64_t rate = 0;
};

struct BlockIo {
  std::optional<uint64_t> weight, leaf_weight;
  std::vector<WeightDevice> weight_device;
  std::vector<ThrottleDevice> read_bps, write_bps, read_iops, write_iops;
};

struct HugepageLimit {
  std::string page_size;
  uint64_t limit = 0;
};

struct Rdma {
  std::optional<uint32_t> hca_handles, hca_objects;
};

struct InterfacePriority {
  std::string name;
  uint32_t priority = 0;
};

struct Network {
  std::optional<uint32_t> class_id;
  std::vector<InterfacePriority> priorities;
};

struct Resources {
  std::vector<DeviceRule> devices;
  std::optional<Memory> memory;
  std::optional<Cpu> cpu;
  std::optional<Pids> pids;
  std::optional<BlockIo> block_io;
  std::vector<HugepageLimit> hugepage_limits;
  std::map<std::string, Rdma> rdma;  // by device
  std::optional<Network> network;
  std::map<std::string, std::string> unified;
};

struct SyscallArg {
  uint32_t index = 0;
  uint64_t value = 0, value_two = 0;
  std::string op;  // "SCMP_CMP_EQ"
};

struct SyscallRule {
  std::vector<std::string> names;
  std::string action;
  std::optional<uint32_t> errno_ret;
  std::vector<SyscallArg> args;
};

struct Seccomp {
  std::string default_action;
  std::optional<uint32_t> default_errno_ret;
  std::vector<std::string> architectures, flags;
  std::vector<SyscallRule> syscalls;
};

// clock_gettime(2) of the container is the host's plus this.
struct TimeOffset {
  int64_t secs = 0;
  uint32_t nanosecs = 0;
};

// personality(2).
struct Personality {
  std::string domain;  // "LINUX", "LINUX32"
  std::vector<std::string> flags;
};

// Caches and memory bandwidth of a class of service: known so that it can be refused.
struct IntelRdt {
  std::string clos_id;
};

struct Linux {
  std::vector<Namespace> namespaces;
  std::vector<IdMapping> uid_mappings, gid_mappings;
  std::vector<Device> devices;
  std::optional<Resources> resources;
  std::optional<Seccomp> seccomp;
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::map<std::string, std::string> sysctl;
  std::string rootfs_propagation;
  std::string cgroups_path;
  std::map<std::string, TimeOffset> time_offsets;  // "monotonic", "boottime"
  std::optional<Personality> personality;
  std::optional<IntelRdt> intel_rdt;
};

struct Spec {
  std::string oci_version;
  Process process;
  Root root;
  std::vector<Mount> mounts;
  std::string hostname;
  std::string domainname;
  std::map<std::string, std::string> annotations;
  Hooks hooks;
  Linux linux_;
};

// Parses and validates config.json. The error names the field: "process.args: must not be empty".
absl::StatusOr<Spec> ParseSpec(std::string_view json);
// The inverse; ParseSpec(ToJson(s)) == s.
std::string ToJson(const Spec& spec);

// The document of `exec --process`, and its inverse.
absl::StatusOr<Process> ParseProcess(std::string_view json);
std::string ToJson(const Process& process);
// The document of `update --resources`.
absl::StatusOr<Resources> ParseResources(std::string_view json);

// The namespace of `type` ("network"), or null when the bundle does not ask for one.
const Namespace* FindNamespace(const Spec& spec, std::string_view type);

// What `runsc spec` prints and `runsc do` starts from: a shell in a container with the usual mounts.
Spec DefaultSpec();

// Bits of CAP_* names; InvalidArgument for an unknown name.
absl::StatusOr<uint64_t> CapabilityMask(const std::vector<std::string>& names);
// Every CAP_* name, in bit order.
std::vector<std::string> AllCapabilityNames();
// Number of an RLIMIT_* name.
absl::StatusOr<int> RlimitNumber(std::string_view name);

}  // namespace sandbox::spec
