// The terminal devices of major 5 (tty(4), console(4)): the caller's controlling terminal, the console, and ptmx.
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "sentry/fs/devpts/devpts_fs.h"
#include "sentry/fs/devpts/terminal.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/special.h"

namespace sandbox {
namespace {

constexpr uint32_t kMajor = 5;
constexpr uint32_t kTty = 0, kConsole = 1, kPtmx = 2;

RefPtr<Terminal> TerminalOf(Task& task) { return std::dynamic_pointer_cast<Terminal>(JobControl::Of(task)); }

Result<FileRef> OpenTerminalDevice(Context& context, const Path& path, uint64_t rdev, int flags) {
  if (minor(rdev) == kPtmx) return TRY(FindDevpts(context, path))->OpenMaster(context, path, flags);
  Task* task = Task::Of(context);
  if (task == nullptr) return Err(ENXIO);
  auto terminal = TerminalOf(*task);
  if (terminal == nullptr && minor(rdev) == kConsole) {
    // The container's console is the terminal that its init was started on, if it was.
    if (const TaskRef init = task->kernel().init(task->pid_space())) terminal = TerminalOf(*init);
  }
  if (terminal == nullptr) return Err(ENXIO);
  return terminal->OpenTerminal(context, path, flags);
}

[[maybe_unused]] const bool registered = [] {
  for (const uint32_t m : {kTty, kConsole, kPtmx}) RegisterDevice(S_IFCHR, kMajor, m, 1, &OpenTerminalDevice);
  return true;
}();

}  // namespace
}  // namespace sandbox
