#include "runsc/boot/seccomp_profile.h"

#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"

namespace sandbox::boot {
namespace {

using Context = std::unique_ptr<void, decltype(&seccomp_release)>;

absl::Status Bad(const std::string& field, const std::string& value) {
  return absl::InvalidArgumentError(absl::StrCat("linux.seccomp: unknown ", field, " \"", value, "\""));
}

absl::StatusOr<uint32_t> Action(const std::string& name, std::optional<uint32_t> errno_ret) {
  const uint32_t code = errno_ret.value_or(EPERM) & 0xffff;
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(code);
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(code);
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  return Bad("action", name);
}

absl::StatusOr<scmp_arg_cmp> Condition(const spec::SyscallArg& arg) {
  static constexpr std::pair<const char*, scmp_compare> kOperators[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
                                                                        {"SCMP_CMP_LT", SCMP_CMP_LT},
                                                                        {"SCMP_CMP_LE", SCMP_CMP_LE},
                                                                        {"SCMP_CMP_EQ", SCMP_CMP_EQ},
                                                                        {"SCMP_CMP_GE", SCMP_CMP_GE},
                                                                        {"SCMP_CMP_GT", SCMP_CMP_GT},
                                                                        {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
  if (arg.index > 5) return Bad("argument number", absl::StrCat(arg.index));
  for (const auto& [name, op] : kOperators) {
    if (arg.op == name) return scmp_arg_cmp{arg.index, op, arg.value, arg.value_two};
  }
  return Bad("operator", arg.op);
}

absl::Status Failed(const char* what, int rc) {
  return absl::InternalError(absl::StrCat("linux.seccomp: ", what, ": ", std::strerror(-rc)));
}

// One rule may name an argument once; several conditions on one argument are alternatives then (as in runc).
absl::Status AddRule(scmp_filter_ctx context, uint32_t action, int call, const std::vector<scmp_arg_cmp>& conditions) {
  std::set<unsigned> arguments;
  for (const scmp_arg_cmp& condition : conditions) arguments.insert(condition.arg);
  int rc = 0;
  if (arguments.size() == conditions.size()) {
    rc = seccomp_rule_add_array(context, action, call, conditions.size(), conditions.data());
  } else {
    for (const scmp_arg_cmp& condition : conditions) {
      if (rc == 0) rc = seccomp_rule_add_array(context, action, call, 1, &condition);
    }
  }
  return rc == 0 || rc == -EEXIST ? absl::OkStatus() : Failed("adding a rule", rc);
}

absl::Status AddRules(scmp_filter_ctx context, uint32_t default_action, const spec::SyscallRule& rule) {
  auto action = Action(rule.action, rule.errno_ret);
  if (!action.ok()) return action.status();
  std::vector<scmp_arg_cmp> conditions;
  for (const spec::SyscallArg& arg : rule.args) {
    auto condition = Condition(arg);
    if (!condition.ok()) return condition.status();
    conditions.push_back(*condition);
  }
  if (*action == default_action) return absl::OkStatus();  // libseccomp takes it for a mistake
  for (const std::string& name : rule.names) {
    const int call = seccomp_syscall_resolve_name(name.c_str());
    if (call < 0) continue;
    if (auto status = AddRule(context, *action, call, conditions); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<sock_filter>> Export(scmp_filter_ctx context) {
  const UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.valid()) return absl::InternalError(absl::StrCat("memfd_create: ", std::strerror(errno)));
  if (const int rc = seccomp_export_bpf(context, file.get()); rc != 0) return Failed("compiling", rc);
  struct stat st;
  if (::fstat(file.get(), &st) != 0) return absl::InternalError(absl::StrCat("fstat: ", std::strerror(errno)));
  std::vector<sock_filter> program(static_cast<size_t>(st.st_size) / sizeof(sock_filter));
  const size_t size = program.size() * sizeof(sock_filter);
  if (::pread(file.get(), program.data(), size, 0) != static_cast<ssize_t>(size)) {
    return absl::InternalError("linux.seccomp: reading the compiled profile");
  }
  return program;
}

}  // namespace

absl::StatusOr<std::vector<sock_filter>> CompileSeccomp(const spec::Seccomp& profile) {
  auto action = Action(profile.default_action, profile.default_errno_ret);
  if (!action.ok()) return action.status();
  // Guests have the native architecture only.
  const Context context(seccomp_init(*action), &seccomp_release);
  if (context == nullptr) return absl::InternalError("linux.seccomp: out of memory");
  seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const spec::SyscallRule& rule : profile.syscalls) {
    if (auto status = AddRules(context.get(), *action, rule); !status.ok()) return status;
  }
  return Export(context.get());
}

}  // namespace sandbox::boot
