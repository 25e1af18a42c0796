#include "runsc/container/namespaces.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "runsc/ns/visit.h"

namespace sandbox {
namespace {

struct NamespaceType {
  const char* name;
  int flag;
};
constexpr NamespaceType kTypes[] = {{"pid", CLONE_NEWPID},       {"network", CLONE_NEWNET}, {"mount", CLONE_NEWNS},
                                    {"ipc", CLONE_NEWIPC},       {"uts", CLONE_NEWUTS},     {"user", CLONE_NEWUSER},
                                    {"cgroup", CLONE_NEWCGROUP}, {"time", CLONE_NEWTIME}};

absl::Status Bad(const std::string& what) { return absl::InvalidArgumentError("linux.namespaces: " + what); }

absl::Status CheckPath(const std::string& path, const NamespaceType& type) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Bad(absl::StrCat(path, ": ", std::strerror(errno)));
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != type.flag)
    return Bad(absl::StrCat(path, " is not a namespace of type \"", type.name, "\""));
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckNamespaces(const spec::Spec& spec) {
  const auto& namespaces = spec.linux_.namespaces;
  for (auto ns = namespaces.begin(); ns != namespaces.end(); ++ns) {
    const auto type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const NamespaceType& known) { return ns->type == known.name; });
    if (type == std::end(kTypes)) return Bad("unknown type \"" + ns->type + "\"");
    if (std::any_of(namespaces.begin(), ns, [&](const spec::Namespace& other) { return other.type == ns->type; })) {
      return Bad("\"" + ns->type + "\" is given twice");
    }
    if (ns->path.empty()) continue;
    if (auto status = CheckPath(ns->path, *type); !status.ok()) return status;
  }
  if (spec::FindNamespace(spec, "user") == nullptr &&
      (!spec.linux_.uid_mappings.empty() || !spec.linux_.gid_mappings.empty())) {
    return absl::InvalidArgumentError("linux.uidMappings: there is no user namespace to have them");
  }
  const spec::Namespace* time = spec::FindNamespace(spec, "time");
  if (!spec.linux_.time_offsets.empty() && (time == nullptr || !time->path.empty())) {
    return absl::InvalidArgumentError("linux.timeOffsets: there is no new time namespace to have them");
  }
  return absl::OkStatus();
}

absl::Status CompleteNames(spec::Spec& spec) {
  if (!spec.hostname.empty() && !spec.domainname.empty()) return absl::OkStatus();
  const spec::Namespace* uts = spec::FindNamespace(spec, "uts");
  std::optional<ns::Visit> visit;
  if (uts != nullptr && !uts->path.empty()) {
    const UniqueFd fd(::open(uts->path.c_str(), O_RDONLY | O_CLOEXEC));
    auto begun = ns::Visit::Begin(CLONE_NEWUTS, fd.borrow());
    if (!begun.ok()) return begun.status();
    visit.emplace(*std::move(begun));
  }
  utsname names;
  if (::uname(&names) != 0) return Bad(absl::StrCat("host name: ", std::strerror(errno)));
  if (spec.hostname.empty()) spec.hostname = names.nodename;
  if (spec.domainname.empty()) spec.domainname = names.domainname;
  return absl::OkStatus();
}

}  // namespace sandbox
