// NUMA memory policy for a machine with one node (numa(7)): policies are validated and have no effect.
#include <linux/mempolicy.h>

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint64_t kNode0 = 1;
constexpr uint64_t kMaxNodeBits = kPageSize * 8;  // Linux: get_nodes

// A node mask of the guest; EINVAL when it names nodes other than 0.
Result<uint64_t> ReadNodes(Task& task, InPtr<uint64_t> mask, uint64_t max_node) {
  if (mask.IsNull() || max_node <= 1) return uint64_t{0};
  --max_node;
  if (max_node > kMaxNodeBits) return Err(EINVAL);
  const auto words = TRY(mask.ReadArray(task.memory(), (max_node + 63) / 64));
  for (size_t i = 0; i < words.size(); ++i) {
    uint64_t word = words[i];
    if (i == words.size() - 1 && max_node % 64 != 0) word &= (uint64_t{1} << (max_node % 64)) - 1;
    if ((i == 0 ? word & ~kNode0 : word) != 0) return Err(EINVAL);
  }
  return words.empty() ? 0 : words[0] & kNode0;
}

Result<void> CheckPolicy(int mode, uint64_t nodes) {
  const int flags = mode & MPOL_MODE_FLAGS;
  const int base = mode & ~MPOL_MODE_FLAGS;
  if (base < 0 || base >= MPOL_MAX) return Err(EINVAL);
  if ((flags & MPOL_F_STATIC_NODES) && (flags & MPOL_F_RELATIVE_NODES)) return Err(EINVAL);
  if ((base == MPOL_DEFAULT || base == MPOL_LOCAL) && nodes != 0) return Err(EINVAL);
  if ((base == MPOL_BIND || base == MPOL_INTERLEAVE) && nodes == 0) return Err(EINVAL);
  return {};
}

Result<void> SysSetMempolicy(Task& task, int mode, InPtr<uint64_t> mask, uint64_t max_node) {
  return CheckPolicy(mode, TRY(ReadNodes(task, mask, max_node)));
}
SYSCALL_ROW(set_mempolicy, Lane::kShort, Support::kPartial, SysSetMempolicy, "one node: no effect");

Result<void> SysMbind(Task& task, GuestAddr addr, uint64_t length, uint64_t mode, InPtr<uint64_t> mask,
                      uint64_t max_node, uint32_t flags) {
  if (flags & ~uint32_t{MPOL_MF_VALID}) return Err(EINVAL);
  if (!addr.IsPageAligned() || mode > INT32_MAX) return Err(EINVAL);
  TRY(CheckPolicy(static_cast<int>(mode), TRY(ReadNodes(task, mask, max_node))));
  if (length == 0) return {};
  return task.mm().CheckMapped(addr, length).ok() ? Result<void>() : Err(EFAULT);
}
SYSCALL_ROW(mbind, Lane::kShort, Support::kPartial, SysMbind, "one node: no effect");

Result<void> SysGetMempolicy(Task& task, OutPtr<int32_t> mode, OutPtr<uint64_t> mask, uint64_t max_node, GuestAddr addr,
                             uint64_t flags) {
  if (flags & ~uint64_t{MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED}) return Err(EINVAL);
  if (!mask.IsNull() && max_node < 1) return Err(EINVAL);
  const bool allowed = flags & MPOL_F_MEMS_ALLOWED;
  if (allowed && (flags & (MPOL_F_NODE | MPOL_F_ADDR))) return Err(EINVAL);
  if (flags & MPOL_F_ADDR) {
    if (!task.mm().Find(addr)) return Err(EFAULT);
  } else if (!addr.IsNull()) {
    return Err(EINVAL);
  } else if (flags & MPOL_F_NODE) {
    return Err(EINVAL);  // asks for the next node of an interleaving policy
  }
  // With MPOL_F_NODE the node of the page, else the policy: both are zero here (node 0, MPOL_DEFAULT).
  if (!mode.IsNull()) TRY(mode.Write(task.memory(), 0));
  if (mask.IsNull()) return {};
  std::vector<uint64_t> words((std::min(max_node, kMaxNodeBits) + 63) / 64);
  if (allowed) words[0] = kNode0;
  return mask.WriteArray(task.memory(), words);
}
SYSCALL_ROW(get_mempolicy, Lane::kShort, Support::kPartial, SysGetMempolicy, "one node");

Result<int> SysMigratePages(Task& task, int pid, uint64_t max_node, InPtr<uint64_t> from, InPtr<uint64_t> to) {
  TRY(ReadNodes(task, from, max_node));
  if (TRY(ReadNodes(task, to, max_node)) == 0) return Err(EINVAL);
  if (pid != 0 && task.Find(pid) == nullptr) return Err(ESRCH);
  return 0;
}
SYSCALL_ROW(migrate_pages, Lane::kShort, Support::kPartial, SysMigratePages, "one node: nothing to move");

// Reports the node of each page, or "moves" pages to the only node.
Result<int> SysMovePages(Task& task, int pid, uint64_t count, InPtr<uint64_t> pages, InPtr<int32_t> nodes,
                         OutPtr<int32_t> status, int flags) {
  if (flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) return Err(EINVAL);
  const TaskRef target = pid == 0 ? task.shared_from_this() : task.Find(pid);
  const auto mm = target != nullptr ? target->mm_ref() : nullptr;
  if (mm == nullptr) return Err(ESRCH);
  for (uint64_t i = 0; i < count; ++i) {
    const auto offset = [&](uint64_t size) -> Result<uint64_t> {
      uint64_t bytes;
      if (__builtin_mul_overflow(i, size, &bytes)) return Err(EFAULT);
      return bytes;
    };
    const InPtr<uint64_t> page_at(TRY(pages.addr().Add(TRY(offset(sizeof(uint64_t))))));
    const GuestAddr page(TRY(page_at.Read(task.memory())));
    int32_t result = mm->Find(page) ? 0 : -EFAULT;
    if (!nodes.IsNull()) {
      const InPtr<int32_t> node_at(TRY(nodes.addr().Add(TRY(offset(sizeof(int32_t))))));
      if (TRY(node_at.Read(task.memory())) != 0) return Err(ENODEV);
    }
    const OutPtr<int32_t> status_at(TRY(status.addr().Add(TRY(offset(sizeof(int32_t))))));
    TRY(status_at.Write(task.memory(), result));
    if (task.killed()) return Err(EINTR);
  }
  return 0;
}
SYSCALL_ROW(move_pages, Lane::kShort, Support::kPartial, SysMovePages, "one node: nothing to move");

}  // namespace
}  // namespace sandbox::syscalls
