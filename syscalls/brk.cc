// brk(2).
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// The kernel's brk never fails: it returns where the break is.
Result<GuestAddr> SysBrk(Task& task, GuestAddr addr) { return task.mm().Brk(task, task.thread(), addr); }
SYSCALL_ROW(brk, Lane::kFull, Support::kFull, SysBrk, "");

}  // namespace
}  // namespace sandbox::syscalls
