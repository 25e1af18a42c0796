// The JSON shape of Spec, for JsonReader and JsonWriter.
#pragma once

#include "runsc/spec/json_archive.h"
#include "runsc/spec/spec.h"

namespace sandbox::spec {

template <typename Archive>
void Fields(Archive& ar, Rlimit& v) {
  ar("type", v.type, Presence::kRequired);
  ar("soft", v.soft, Presence::kRequired);
  ar("hard", v.hard, Presence::kRequired);
}
template <typename Archive>
void Fields(Archive& ar, Capabilities& v) {
  ar("bounding", v.bounding);
  ar("effective", v.effective);
  ar("inheritable", v.inheritable);
  ar("permitted", v.permitted);
  ar("ambient", v.ambient);
}
template <typename Archive>
void Fields(Archive& ar, User& v) {
  ar("uid", v.uid);
  ar("gid", v.gid);
  ar("umask", v.umask);
  ar("additionalGids", v.additional_gids);
}
template <typename Archive>
void Fields(Archive& ar, ConsoleSize& v) {
  ar("height", v.height);
  ar("width", v.width);
}
template <typename Archive>
void Fields(Archive& ar, Scheduler& v) {
  ar("policy", v.policy, Presence::kRequired);
  ar("nice", v.nice);
  ar("priority", v.priority);
  ar("flags", v.flags);
  ar("runtime", v.runtime);
  ar("deadline", v.deadline);
  ar("period", v.period);
}
template <typename Archive>
void Fields(Archive& ar, IoPriority& v) {
  ar("class", v.io_class, Presence::kRequired);
  ar("priority", v.priority);
}
template <typename Archive>
void Fields(Archive& ar, ExecCpuAffinity& v) {
  ar("initial", v.initial);
  ar("final", v.final);
}
template <typename Archive>
void Fields(Archive& ar, Process& v) {
  ar("terminal", v.terminal);
  ar("consoleSize", v.console_size);
  ar("user", v.user);
  ar("args", v.args, Presence::kRequired);
  ar("env", v.env);
  ar("cwd", v.cwd, Presence::kRequired);
  ar("capabilities", v.capabilities);
  ar("rlimits", v.rlimits);
  ar("noNewPrivileges", v.no_new_privileges);
  ar("oomScoreAdj", v.oom_score_adj);
  ar("scheduler", v.scheduler);
  ar("ioPriority", v.io_priority);
  ar("execCPUAffinity", v.exec_cpu_affinity);
}
template <typename Archive>
void Fields(Archive& ar, Root& v) {
  ar("path", v.path, Presence::kRequired);
  ar("readonly", v.readonly);
}
template <typename Archive>
void Fields(Archive& ar, IdMapping& v) {
  ar("containerID", v.container_id, Presence::kRequired);
  ar("hostID", v.host_id, Presence::kRequired);
  ar("size", v.size, Presence::kRequired);
}
template <typename Archive>
void Fields(Archive& ar, Mount& v) {
  ar("destination", v.destination, Presence::kRequired);
  ar("type", v.type);
  ar("source", v.source);
  ar("options", v.options);
  ar("uidMappings", v.uid_mappings);
  ar("gidMappings", v.gid_mappings);
}
template <typename Archive>
void Fields(Archive& ar, Namespace& v) {
  ar("type", v.type, Presence::kRequired);
  ar("path", v.path);
}
template <typename Archive>
void Fields(Archive& ar, Hook& v) {
  ar("path", v.path, Presence::kRequired);
  ar("args", v.args);
  ar("env", v.env);
  ar("timeout", v.timeout);
}
template <typename Archive>
void Fields(Archive& ar, Hooks& v) {
  ar("prestart", v.prestart);
  ar("createRuntime", v.create_runtime);
  ar("createContainer", v.create_container);
  ar("startContainer", v.start_container);
  ar("poststart", v.poststart);
  ar("poststop", v.poststop);
}
template <typename Archive>
void Fields(Archive& ar, Device& v) {
  ar("type", v.type, Presence::kRequired);
  ar("path", v.path, Presence::kRequired);
  ar("major", v.major);
  ar("minor", v.minor);
  ar("fileMode", v.file_mode);
  ar("uid", v.uid);
  ar("gid", v.gid);
}
template <typename Archive>
void Fields(Archive& ar, DeviceRule& v) {
  ar("allow", v.allow, Presence::kRequired);
  ar("type", v.type);
  ar("major", v.major);
  ar("minor", v.minor);
  ar("access", v.access);
}
template <typename Archive>
void Fields(Archive& ar, Memory& v) {
  ar("limit", v.limit);
  ar("reservation", v.reservation);
  ar("swap", v.swap);
  ar("kernel", v.kernel);
  ar("kernelTCP", v.kernel_tcp);
  ar("swappiness", v.swappiness);
  ar("disableOOMKiller", v.disable_oom_killer);
}
template <typename Archive>
void Fields(Archive& ar, Cpu& v) {
  ar("shares", v.shares);
  ar("quota", v.quota);
  ar("period", v.period);
  ar("burst", v.burst);
  ar("realtimeRuntime", v.realtime_runtime);
  ar("realtimePeriod", v.realtime_period);
  ar("cpus", v.cpus);
  ar("mems", v.mems);
  ar("idle", v.idle);
}
template <typename Archive>
void Fields(Archive& ar, Pids& v) {
  ar("limit", v.limit);
}
template <typename Archive>
void Fields(Archive& ar, WeightDevice& v) {
  ar("major", v.major, Presence::kRequired);
  ar("minor", v.minor, Presence::kRequired);
  ar("weight", v.weight);
  ar("leafWeight", v.leaf_weight);
}
template <typename Archive>
void Fields(Archive& ar, ThrottleDevice& v) {
  ar("major", v.major, Presence::kRequired);
  ar("minor", v.minor, Presence::kRequired);
  ar("rate", v.rate, Presence::kRequired);
}
template <typename Archive>
void Fields(Archive& ar, BlockIo& v) {
  ar("weight", v.weight);
  ar("leafWeight", v.leaf_weight);
  ar("weightDevice", v.weight_device);
  ar("throttleReadBpsDevice", v.read_bps);
  ar("throttleWriteBpsDevice", v.write_bps);
  ar("throttleReadIOPSDevice", v.read_iops);
  ar("throttleWriteIOPSDevice", v.write_iops);
}
template <typename Archive>
void Fields(Archive& ar, HugepageLimit& v) {
  ar("pageSize", v.page_size, Presence::kRequired);
  ar("limit", v.limit, Presence::kRequired);
}
template <typename Archive>
void Fields(Archive& ar, Rdma& v) {
  ar("hcaHandles", v.hca_handles);
  ar("hcaObjects", v.hca_objects);
}
template <typename Archive>
void Fields(Archive& ar, InterfacePriority& v) {
  ar("name", v.name, Presence::kRequired);
  ar("priority", v.priority);
}
template <typename Archive>
void Fields(Archive& ar, Network& v) {
  ar("classID", v.class_id);
  ar("priorities", v.priorities);
}
template <typename Archive>
void Fields(Archive& ar, Resources& v) {
  ar("devices", v.devices);
  ar("memory", v.memory);
  ar("cpu", v.cpu);
  ar("pids", v.pids);
  ar("blockIO", v.block_io);
  ar("hugepageLimits", v.hugepage_limits);
  ar("rdma", v.rdma);
  ar("network", v.network);
  ar("unified", v.unified);
}
template <typename Archive>
void Fields(Archive& ar, SyscallArg& v) {
  ar("index", v.index, Presence::kRequired);
  ar("value", v.value, Presence::kRequired);
  ar("valueTwo", v.value_two);
  ar("op", v.op, Presence::kRequired);
}
template <typename Archive>
void Fields(Archive& ar, SyscallRule& v) {
  ar("names", v.names, Presence::kRequired);
  ar("action", v.action, Presence::kRequired);
  ar("errnoRet", v.errno_ret);
  ar("args", v.args);
}
template <typename Archive>
void Fields(Archive& ar, Seccomp& v) {
  ar("defaultAction", v.default_action, Presence::kRequired);
  ar("defaultErrnoRet", v.default_errno_ret);
  ar("architectures", v.architectures);
  ar("flags", v.flags);
  ar("syscalls", v.syscalls);
}
template <typename Archive>
void Fields(Archive& ar, TimeOffset& v) {
  ar("secs", v.secs);
  ar("nanosecs", v.nanosecs);
}
template <typename Archive>
void Fields(Archive& ar, Personality& v) {
  ar("domain", v.domain, Presence::kRequired);
  ar("flags", v.flags);
}
template <typename Archive>
void Fields(Archive& ar, IntelRdt& v) {
  ar("closID", v.clos_id);
}
template <typename Archive>
void Fields(Archive& ar, Linux& v) {
  ar("namespaces", v.namespaces);
  ar("uidMappings", v.uid_mappings);
  ar("gidMappings", v.gid_mappings);
  ar("devices", v.devices);
  ar("resources", v.resources);
  ar("seccomp", v.seccomp);
  ar("maskedPaths", v.masked_paths);
  ar("readonlyPaths", v.readonly_paths);
  ar("sysctl", v.sysctl);
  ar("rootfsPropagation", v.rootfs_propagation);
  ar("cgroupsPath", v.cgroups_path);
  ar("timeOffsets", v.time_offsets);
  ar("personality", v.personality);
  ar("intelRdt", v.intel_rdt);
}
template <typename Archive>
void Fields(Archive& ar, Spec& v) {
  ar("ociVersion", v.oci_version, Presence::kRequired);
  ar("process", v.process, Presence::kRequired);
  ar("root", v.root, Presence::kRequired);
  ar("mounts", v.mounts);
  ar("hostname", v.hostname);
  ar("domainname", v.domainname);
  ar("annotations", v.annotations);
  ar("hooks", v.hooks);
  ar("linux", v.linux_);
}

}  // namespace sandbox::spec
