#include "syscalls/prctl_mm.h"

#include <linux/capability.h>
#include <linux/prctl.h>

#include <algorithm>

#include "sentry/kernel/task.h"

namespace sandbox::syscalls {
namespace {

constexpr size_t kMaxAuxvWords = 2 * 24;  // AT_VECTOR_SIZE

Result<void> SetAuxv(Task& task, GuestAddr from, uint64_t size) {
  if (from.IsNull() || size > kMaxAuxvWords * sizeof(uint64_t)) return Err(EINVAL);
  std::vector<uint64_t> auxv(kMaxAuxvWords);
  TRY(task.memory().Read(from, auxv.data(), size));
  auxv[kMaxAuxvWords - 2] = auxv[kMaxAuxvWords - 1] = 0;  // whatever comes, it ends
  MmLayout layout = task.mm().layout();
  layout.auxv = std::move(auxv);
  task.mm().SetLayout(layout);
  return {};
}

GuestAddr* FieldOf(MmLayout& layout, uint64_t option) {
  switch (option) {
    case PR_SET_MM_START_CODE:
      return &layout.start_code;
    case PR_SET_MM_END_CODE:
      return &layout.end_code;
    case PR_SET_MM_START_DATA:
      return &layout.start_data;
    case PR_SET_MM_END_DATA:
      return &layout.end_data;
    case PR_SET_MM_START_STACK:
      return &layout.start_stack;
    case PR_SET_MM_ARG_START:
      return &layout.arg_start;
    case PR_SET_MM_ARG_END:
      return &layout.arg_end;
    case PR_SET_MM_ENV_START:
      return &layout.env_start;
    case PR_SET_MM_ENV_END:
      return &layout.env_end;
    default:
      return nullptr;
  }
}

}  // namespace

Result<int64_t> SetMemoryMap(Task& task, uint64_t option, uint64_t value, uint64_t size, uint64_t a5) {
  if (a5 != 0 || (size != 0 && option != PR_SET_MM_AUXV)) return Err(EINVAL);
  if (!task.creds().Has(CAP_SYS_RESOURCE)) return Err(EPERM);
  const GuestAddr addr(value);
  if (option == PR_SET_MM_AUXV) {
    TRY(SetAuxv(task, addr, size));
    return 0;
  }
  MmLayout layout = task.mm().layout();
  GuestAddr* const field = FieldOf(layout, option);
  if (field == nullptr) return Err(EINVAL);
  const GuestRange range = task.mm().range();
  if (addr < range.start || addr >= range.end) return Err(EINVAL);
  const std::optional<Vma> vma = task.mm().Find(addr);
  // Code and data may end where nothing is; arguments, environment and stack must be somewhere.
  const bool must_exist = option == PR_SET_MM_START_STACK || option == PR_SET_MM_ARG_START ||
                          option == PR_SET_MM_ARG_END || option == PR_SET_MM_ENV_START || option == PR_SET_MM_ENV_END;
  if (must_exist && !vma) return Err(EFAULT);
  *field = addr;
  if (layout.start_code > layout.end_code || layout.start_data > layout.end_data || layout.arg_start > layout.arg_end ||
      layout.env_start > layout.env_end) {
    return Err(EINVAL);
  }
  task.mm().SetLayout(layout);
  return 0;
}

Result<int64_t> GetAuxiliaryVector(Task& task, GuestAddr to, uint64_t size) {
  const MmLayout layout = task.mm().layout();
  std::vector<uint64_t> auxv = layout.auxv;
  auxv.resize(std::max(auxv.size(), kMaxAuxvWords));
  const uint64_t bytes = auxv.size() * sizeof(uint64_t);
  TRY(task.memory().Write(to, auxv.data(), std::min(size, bytes)));
  return static_cast<int64_t>(bytes);
}

}  // namespace sandbox::syscalls
