#include "runsc/boot/processes.h"

#include "nlohmann/json.hpp"

namespace sandbox::boot {
namespace {

constexpr size_t kMaxText = 48 * 1024;

}  // namespace

std::string ProcessesJson(Kernel& kernel, const Cgroup& container) {
  nlohmann::json all = nlohmann::json::array();
  size_t size = 0;
  for (const ThreadGroupRef& group : container.Groups()) {
    const TaskRef leader = group->leader();
    if (leader == nullptr || group->zombie()) continue;
    const PidNamespace& view = leader->pid_space();
    const nlohmann::json row = {
        {"pid", group->pid()->own()},
        {"ppid", kernel.NumberIn(view, group->ppid())},
        {"uid", leader->creds_ref()->uid},
        {"start", (kernel.boot_time_ns() - kernel.start_monotonic_ns() + group->start_time_ns()) / 1000000000},
        {"cpu_ns", group->cpu_time_ns()},
        {"tty", group->terminal_device()},
        {"name", leader->name()}};
    size += row.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).size() + 1;
    if (size > kMaxText) break;
    all.push_back(row);
  }
  return all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace sandbox::boot
