// runsc features: what this runtime can do, as the OCI features document (features.md).
#include <cstdio>

#include "nlohmann/json.hpp"
#include "runsc/boot/mount_options.h"
#include "runsc/cli/command.h"
#include "runsc/cli/version.h"
#include "runsc/spec/spec.h"

namespace sandbox::cmd {
namespace {

class Features final : public cli::Command {
 public:
  const char* name() const override { return "features"; }
  const char* help() const override { return "Print the supported features as JSON"; }
  void Configure(cli::Parser&) override {}
  int Run(const cli::GlobalOptions&) override {
    const nlohmann::ordered_json features = {
        {"ociVersionMin", "1.0.0"},
        {"ociVersionMax", cli::kOciVersion},
        {"hooks", {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}},
        {"mountOptions", boot::KnownMountOptions()},
        {"linux",
         {{"namespaces", {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}},
          {"capabilities", spec::AllCapabilityNames()},
          {"cgroup", {{"v1", true}, {"v2", true}, {"systemd", false}, {"systemdUser", false}, {"rdma", true}}},
          {"seccomp",
           {{"enabled", true},
            {"actions",
             {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
              "SCMP_ACT_LOG", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"}},
            {"operators",
             {"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
              "SCMP_CMP_NE"}},
            {"archs", {"SCMP_ARCH_X86_64"}}}},
          {"apparmor", {{"enabled", false}}},
          {"selinux", {{"enabled", false}}},
          {"intelRdt", {{"enabled", false}}},
          {"mountExtensions", {{"idmap", {{"enabled", false}}}}}}},
        {"annotations", {{"dev.runsc.version", cli::kVersion}}},
        {"potentiallyUnsafeConfigAnnotations", {"dev.runsc."}}};
    std::printf("%s\n", features.dump(2).c_str());
    return 0;
  }
};

const cli::CommandRegistration registration(std::make_unique<Features>());

}  // namespace
}  // namespace sandbox::cmd
