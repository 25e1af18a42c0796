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
}
template <typename Archive>
void Fields(Archive& ar, Root& v) {
  ar("path", v.path, Presence::kRequired);
  ar("readonly", v.readonly);
}
template <typename Archive>
void Fields(Archive& ar, Mount& v) {
  ar("destination", v.destination, Presence::kRequired);
  ar("type", v.type);
  ar("source", v.source);
  ar("options", v.options);
}
template <typename Archive>
void Fields(Archive& ar, Namespace& v) {
  ar("type", v.type, Presence::kRequired);
  ar("path", v.path);
}
template <typename Archive>
void Fields(Archive& ar, Linux& v) {
  ar("namespaces", v.namespaces);
  ar("maskedPaths", v.masked_paths);
  ar("readonlyPaths", v.readonly_paths);
  ar("sysctl", v.sysctl);
  ar("rootfsPropagation", v.rootfs_propagation);
  ar("cgroupsPath", v.cgroups_path);
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
  ar("linux", v.linux_);
}

}  // namespace sandbox::spec
