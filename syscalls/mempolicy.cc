// NUMA memory policy for a machine with one node (numa(7)): policies are kept and shown, and have no effect.
#include <linux/capability.h>
#include <linux/mempolicy.h>

#include <algorithm>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/newer_calls.h"
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

// Linux: sanitize_mpol_flags, mpol_new.
Result<MemoryPolicy> MakePolicy(int mode, uint64_t nodes) {
  constexpr int kModes = 7;  // MPOL_WEIGHTED_INTERLEAVE is newer than the headers
  const int flags = mode & MPOL_MODE_FLAGS;
  const int base = mode & ~MPOL_MODE_FLAGS;
  if (base < 0 || base >= kModes) return Err(EINVAL);
  if ((flags & MPOL_F_STATIC_NODES) && (flags & MPOL_F_RELATIVE_NODES)) return Err(EINVAL);
  if ((flags & MPOL_F_NUMA_BALANCING) && base != MPOL_BIND && base != MPOL_PREFERRED_MANY) return Err(EINVAL);
  MemoryPolicy policy{static_cast<uint16_t>(base), static_cast<uint16_t>(flags), nodes != 0};
  const bool with_nodes = flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES);
  switch (base) {
    case MPOL_DEFAULT:
      if (nodes != 0) return Err(EINVAL);
      return MemoryPolicy{};
    case MPOL_PREFERRED:
      if (nodes != 0) return policy;
      if (with_nodes) return Err(EINVAL);
      policy.mode = MPOL_LOCAL;
      return policy;
    case MPOL_LOCAL:
      if (nodes != 0 || with_nodes) return Err(EINVAL);
      return policy;
    default:
      if (nodes == 0) return Err(EINVAL);
      return policy;
  }
}

Result<void> SysSetMempolicy(Task& task, int mode, InPtr<uint64_t> mask, uint64_t max_node) {
  task.memory_policy.store(TRY(MakePolicy(mode, TRY(ReadNodes(task, mask, max_node)))));
  return {};
}
SYSCALL_ROW(set_mempolicy, Lane::kShort, Support::kPartial, SysSetMempolicy, "one node: no effect");

Result<void> SysMbind(Task& task, GuestAddr addr, uint64_t length, uint64_t mode, InPtr<uint64_t> mask,
                      uint64_t max_node, uint32_t flags) {
  if ((flags & ~uint32_t{MPOL_MF_VALID}) || mode > INT32_MAX) return Err(EINVAL);
  const uint64_t nodes = TRY(ReadNodes(task, mask, max_node));
  if ((flags & MPOL_MF_MOVE_ALL) && !task.creds().Has(CAP_SYS_NICE)) return Err(EPERM);
  if (!addr.IsPageAligned()) return Err(EINVAL);
  const MemoryPolicy policy = TRY(MakePolicy(static_cast<int>(mode), nodes));
  if (length == 0) return {};
  return task.mm().SetPolicy(addr, length, policy);
}
SYSCALL_ROW(mbind, Lane::kShort, Support::kPartial, SysMbind, "one node: no effect");

Result<void> SysSetMempolicyHomeNode(Task& task, GuestAddr addr, uint64_t length, uint64_t node, uint64_t flags) {
  if (!addr.IsPageAligned() || flags != 0 || node != 0) return Err(EINVAL);
  return task.mm().CheckHomeNode(addr, length);
}
SYSCALL_ROW(set_mempolicy_home_node, Lane::kShort, Support::kPartial, SysSetMempolicyHomeNode, "one node: no effect");

// What get_mempolicy(2) says beside the nodes.
Result<int32_t> ModeOrNode(const MemoryPolicy& policy, uint64_t flags) {
  if (!(flags & MPOL_F_NODE)) return policy.mode | policy.flags;
  constexpr int32_t kOnlyNode = 0;
  if (flags & MPOL_F_ADDR) return kOnlyNode;
  constexpr int kWeightedInterleave = 6;
  if (policy.mode != MPOL_INTERLEAVE && policy.mode != kWeightedInterleave) return Err(EINVAL);
  return kOnlyNode;  // the next one to be used
}

Result<void> SysGetMempolicy(Task& task, OutPtr<int32_t> mode, OutPtr<uint64_t> mask, uint64_t max_node, GuestAddr addr,
                             uint64_t flags) {
  if (flags & ~uint64_t{MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED}) return Err(EINVAL);
  if (!mask.IsNull() && max_node < 1) return Err(EINVAL);
  const bool allowed = flags & MPOL_F_MEMS_ALLOWED;
  if (allowed && (flags & (MPOL_F_NODE | MPOL_F_ADDR))) return Err(EINVAL);
  MemoryPolicy policy = task.memory_policy.load();
  if (flags & MPOL_F_ADDR) {
    const auto vma = task.mm().Find(addr);
    if (!vma) return Err(EFAULT);
    policy = vma->policy;
  } else if (!addr.IsNull()) {
    return Err(EINVAL);
  }
  if (allowed) policy = {.node0 = true};
  const int32_t answer = TRY(ModeOrNode(policy, flags));
  if (!mode.IsNull()) TRY(mode.Write(task.memory(), answer));
  if (mask.IsNull()) return {};
  std::vector<uint64_t> words((std::min(max_node, kMaxNodeBits) + 63) / 64);
  if (policy.node0) words[0] = kNode0;
  return mask.WriteArray(task.memory(), words);
}
SYSCALL_ROW(get_mempolicy, Lane::kShort, Support::kPartial, SysGetMempolicy, "one node");

Result<int> SysMigratePages(Task& task, int pid, uint64_t max_node, InPtr<uint64_t> from, InPtr<uint64_t> to) {
  TRY(ReadNodes(task, from, max_node));
  const uint64_t nodes = TRY(ReadNodes(task, to, max_node));
  if (pid != 0 && task.Find(pid) == nullptr) return Err(ESRCH);
  if (nodes == 0) return Err(EINVAL);
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
