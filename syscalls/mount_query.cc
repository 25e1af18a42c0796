// statmount(2), listmount(2).
#include <linux/capability.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>

#include "abi/mount.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/dentry.h"
#include "syscalls/mount_flags.h"
#include "syscalls/row.h"

#ifndef __NR_statmount
#define __NR_statmount 457
#define __NR_listmount 458
#endif

namespace sandbox::syscalls {
namespace {

constexpr uint64_t kSupported = abi::kStatMountSbBasic | abi::kStatMountMntBasic | abi::kStatMountPropagateFrom |
                                abi::kStatMountMntRoot | abi::kStatMountMntPoint | abi::kStatMountFsType |
                                abi::kStatMountMntNsId | abi::kStatMountMntOpts | abi::kStatMountFsSubtype |
                                abi::kStatMountSbSource | abi::kStatMountSupportedMask;
constexpr size_t kMaxIds = 1'000'000;  // Linux: listmount's nr_mnt_ids

// Linux: copy_mnt_id_req.
Result<abi::MountIdRequest> ReadRequest(Task& task, GuestAddr addr) {
  const uint32_t size = TRY(InPtr<uint32_t>(addr).Read(task.memory()));
  if (size > kPageSize) return Err(E2BIG);
  if (size < abi::kMountIdRequestSize0) return Err(EINVAL);
  std::vector<char> bytes(std::max<size_t>(size, sizeof(abi::MountIdRequest)));
  TRY(task.memory().Read(addr, bytes.data(), size));
  if (std::any_of(bytes.begin() + sizeof(abi::MountIdRequest), bytes.end(), [](char byte) { return byte != 0; }))
    return Err(E2BIG);
  abi::MountIdRequest request;
  std::memcpy(&request, bytes.data(), sizeof(request));
  if (request.spare != 0) return Err(EINVAL);
  // Only unique numbers are taken.
  if (request.mount_id != abi::kListMountRoot && request.mount_id < (uint64_t{1} << 31)) return Err(EINVAL);
  if (request.namespace_id != 0 && request.namespace_id != task.mounts()->number()) return Err(ENOENT);
  return request;
}

// A mount of the caller's namespace that it can reach from its root, with where.
struct Seen {
  MountInfo info;
  std::string point;
};
std::vector<Seen> SeenMounts(Task& task) {
  const Path root = task.fs().root();
  std::vector<Seen> seen;
  for (MountInfo& info : task.mounts()->List(&root)) {
    std::string point;
    const bool below = FormatPath({info.mount, info.mount->root()}, root, point);
    if (below) seen.push_back({std::move(info), std::move(point)});
  }
  return seen;
}

class Answer {
 public:
  Answer(uint64_t mask, const Seen& seen) : seen_(seen), mount_(*seen.info.mount), mask_(mask) {}

  void Fill(const Task& task) {
    FileSystem& fs = *mount_.fs();
    if (Want(abi::kStatMountSbBasic)) {
      out_.device_major = major(fs.device());
      out_.device_minor = minor(fs.device());
      if (const auto stat = fs.StatFs(KernelContext()); stat.ok()) out_.magic = stat->type;
    }
    if (Want(abi::kStatMountMntBasic)) {
      out_.id = mount_.unique_id();
      out_.parent_id = seen_.info.parent_unique_id;
      out_.old_id = mount_.id();
      out_.old_parent_id = seen_.info.parent_id;
      out_.attributes = AttributesOf(mount_.flags());
      out_.propagation = seen_.info.propagation;
      out_.peer_group = seen_.info.shared;
      out_.master = seen_.info.master;
    }
    if (Want(abi::kStatMountPropagateFrom)) out_.propagate_from = seen_.info.from;
    if (Want(abi::kStatMountMntNsId)) out_.namespace_id = task.mounts()->number();
    if (Want(abi::kStatMountSupportedMask)) out_.supported_mask = kSupported;
    Text(abi::kStatMountFsType, out_.fs_type, std::string(fs.type_name()));
    Text(abi::kStatMountMntRoot, out_.root, PathInFileSystem(fs, mount_.root()));
    Text(abi::kStatMountMntPoint, out_.point, seen_.point);
    Text(abi::kStatMountMntOpts, out_.options, fs.MountOptions());
    Text(abi::kStatMountSbSource, out_.source, mount_.source());
  }
  const abi::StatMount& out() const { return out_; }
  const std::string& strings() const { return strings_; }
  abi::StatMount& out() { return out_; }

 private:
  bool Want(uint64_t bit) {
    if (!(mask_ & bit)) return false;
    out_.mask |= bit;
    return true;
  }
  // Empty ones are not told.
  void Text(uint64_t bit, uint32_t& at, const std::string& text) {
    if (text.empty() || !Want(bit)) return;
    at = static_cast<uint32_t>(strings_.size());
    strings_.append(text).push_back('\0');
  }

  const Seen& seen_;
  const Mount& mount_;
  const uint64_t mask_;
  abi::StatMount out_ = {};
  std::string strings_;
};

Result<void> SysStatmount(Task& task, GuestAddr request_addr, GuestAddr buffer, uint64_t size, uint32_t flags) {
  if (flags != 0) return Err(EINVAL);
  const abi::MountIdRequest request = TRY(ReadRequest(task, request_addr));
  for (const Seen& seen : SeenMounts(task)) {
    if (seen.info.mount->unique_id() != request.mount_id) continue;
    Answer answer(request.param, seen);
    answer.Fill(task);
    abi::StatMount& out = answer.out();
    out.size = static_cast<uint32_t>(sizeof(out) + answer.strings().size());
    if (!answer.strings().empty() && out.size > size) return Err(EOVERFLOW);
    // A short buffer takes what fits of the fixed part.
    if (out.size > size) out.size = static_cast<uint32_t>(size);
    TRY(task.memory().Write(buffer, &out, std::min<uint64_t>(size, sizeof(out))));
    return task.memory().Write(GuestAddr(buffer.value() + sizeof(out)), answer.strings().data(),
                               answer.strings().size());
  }
  return Err(ENOENT);
}
SYSCALL_ROW(statmount, Lane::kShort, Support::kPartial, SysStatmount,
            "of the caller's own mount namespace; no arrays of options, no id maps");

Result<int64_t> SysListmount(Task& task, GuestAddr request_addr, GuestAddr ids, uint64_t count, uint32_t flags) {
  if (flags & ~abi::kListMountReverse) return Err(EINVAL);
  if (count > kMaxIds) return Err(EOVERFLOW);
  const abi::MountIdRequest request = TRY(ReadRequest(task, request_addr));
  const std::vector<Seen> seen = SeenMounts(task);
  uint64_t top = request.mount_id;
  if (top == abi::kListMountRoot) top = task.fs().root().mount->unique_id();
  const auto at_top =
      std::find_if(seen.begin(), seen.end(), [&](const Seen& one) { return one.info.mount->unique_id() == top; });
  if (at_top == seen.end()) return Err(ENOENT);
  std::vector<uint64_t> found;
  for (const Seen& one : seen) {
    // All mounts below, not the one asked about.
    bool below = false;
    for (Path at = one.info.mount->point(); !at.empty() && !below; at = at.mount->point()) {
      below = at.mount == at_top->info.mount;
    }
    if (below) found.push_back(one.info.mount->unique_id());
  }
  std::sort(found.begin(), found.end());
  const bool reverse = flags & abi::kListMountReverse;
  if (reverse) std::reverse(found.begin(), found.end());
  std::erase_if(
      found, [&](uint64_t id) { return request.param != 0 && (reverse ? id >= request.param : id <= request.param); });
  if (found.size() > count) found.resize(count);
  TRY(task.memory().Write(ids, found.data(), found.size() * sizeof(uint64_t)));
  return static_cast<int64_t>(found.size());
}
SYSCALL_ROW(listmount, Lane::kShort, Support::kPartial, SysListmount, "of the caller's own mount namespace");

}  // namespace
}  // namespace sandbox::syscalls
