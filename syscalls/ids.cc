// User and group identity: get*id, set*id, groups (credentials(7), setresuid(2)…).
#include <linux/capability.h>
#include <linux/securebits.h>

#include <algorithm>
#include <optional>

#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr uint32_t kNoChange = ~uint32_t{0};
constexpr size_t kMaxGroups = 65536;  // NGROUPS_MAX

std::shared_ptr<Credentials> Copy(Task& task) { return std::make_shared<Credentials>(task.creds()); }

// Who is 0 in the user namespace; -1, which nobody is, when there is none.
uint32_t RootId(const Credentials& creds) { return creds.ActualUid(0).value_or(kNoChange); }

// capabilities(7), "Effect of user ID changes on capabilities".
void AdjustCapabilities(const Task& task, const Credentials& old, Credentials& now) {
  if (!(now.securebits & SECBIT_NO_SETUID_FIXUP)) {
    const uint32_t root = RootId(old);
    const bool had_root = old.uid == root || old.euid == root || old.suid == root;
    const bool has_root = now.uid == root || now.euid == root || now.suid == root;
    if (had_root && !has_root && !task.keep_caps.load() && !(now.securebits & SECBIT_KEEP_CAPS)) {
      now.permitted = now.effective = 0;
    }
    if (had_root && !has_root) now.ambient = 0;
    if (old.euid == root && now.euid != root) now.effective = 0;
    if (old.euid != root && now.euid == root) now.effective = now.permitted;
  }
}

// Changing the effective ids makes the process undumpable: others may not look into what it does with them.
void Publish(Task& task, std::shared_ptr<Credentials> now) {
  const Credentials& old = task.creds();
  if (old.euid != now->euid || old.egid != now->egid || old.fsuid != now->fsuid || old.fsgid != now->fsgid) {
    task.mm().set_dumpable(false);
  }
  task.SetCredentials(std::move(now));
}

Result<uint32_t> SysGetuid(Task& task) { return task.creds().ShownUid(task.creds().uid); }
SYSCALL_ROW(getuid, Lane::kShort, Support::kFull, SysGetuid, "");
Result<uint32_t> SysGeteuid(Task& task) { return task.creds().ShownUid(task.creds().euid); }
SYSCALL_ROW(geteuid, Lane::kShort, Support::kFull, SysGeteuid, "");
Result<uint32_t> SysGetgid(Task& task) { return task.creds().ShownGid(task.creds().gid); }
SYSCALL_ROW(getgid, Lane::kShort, Support::kFull, SysGetgid, "");
Result<uint32_t> SysGetegid(Task& task) { return task.creds().ShownGid(task.creds().egid); }
SYSCALL_ROW(getegid, Lane::kShort, Support::kFull, SysGetegid, "");

Result<void> SysGetresuid(Task& task, OutPtr<uint32_t> ruid, OutPtr<uint32_t> euid, OutPtr<uint32_t> suid) {
  TRY(ruid.Write(task.memory(), task.creds().ShownUid(task.creds().uid)));
  TRY(euid.Write(task.memory(), task.creds().ShownUid(task.creds().euid)));
  return suid.Write(task.memory(), task.creds().ShownUid(task.creds().suid));
}
SYSCALL_ROW(getresuid, Lane::kShort, Support::kFull, SysGetresuid, "");

Result<void> SysGetresgid(Task& task, OutPtr<uint32_t> rgid, OutPtr<uint32_t> egid, OutPtr<uint32_t> sgid) {
  TRY(rgid.Write(task.memory(), task.creds().ShownGid(task.creds().gid)));
  TRY(egid.Write(task.memory(), task.creds().ShownGid(task.creds().egid)));
  return sgid.Write(task.memory(), task.creds().ShownGid(task.creds().sgid));
}
SYSCALL_ROW(getresgid, Lane::kShort, Support::kFull, SysGetresgid, "");

// Ids that the guest names become the sentry's; -1 stays. EINVAL.
Result<void> ToActual(Task& task, IdKind kind, std::initializer_list<uint32_t*> ids) {
  const Credentials& creds = task.creds();
  for (uint32_t* const id : ids) {
    if (*id != kNoChange) *id = TRY(kind == IdKind::kUser ? creds.ActualUid(*id) : creds.ActualGid(*id));
  }
  return {};
}

bool OneOf(uint32_t id, uint32_t a, uint32_t b, uint32_t c) { return id == kNoChange || id == a || id == b || id == c; }

Result<void> SysSetuid(Task& task, uint32_t uid) {
  if (uid == kNoChange) return Err(EINVAL);
  TRY(ToActual(task, IdKind::kUser, {&uid}));
  const Credentials& old = task.creds();
  auto now = Copy(task);
  if (old.HasOwn(CAP_SETUID)) {
    now->uid = now->suid = uid;
  } else if (uid != old.uid && uid != old.suid) {
    return Err(EPERM);
  }
  now->euid = now->fsuid = uid;
  AdjustCapabilities(task, old, *now);
  Publish(task, std::move(now));
  return {};
}
SYSCALL_ROW(setuid, Lane::kShort, Support::kFull, SysSetuid, "");

Result<void> SysSetgid(Task& task, uint32_t gid) {
  if (gid == kNoChange) return Err(EINVAL);
  TRY(ToActual(task, IdKind::kGroup, {&gid}));
  const Credentials& old = task.creds();
  auto now = Copy(task);
  if (old.HasOwn(CAP_SETGID)) {
    now->gid = now->sgid = gid;
  } else if (gid != old.gid && gid != old.sgid) {
    return Err(EPERM);
  }
  now->egid = now->fsgid = gid;
  Publish(task, std::move(now));
  return {};
}
SYSCALL_ROW(setgid, Lane::kShort, Support::kFull, SysSetgid, "");

Result<void> SysSetresuid(Task& task, uint32_t ruid, uint32_t euid, uint32_t suid) {
  TRY(ToActual(task, IdKind::kUser, {&ruid, &euid, &suid}));
  const Credentials& old = task.creds();
  if (!old.HasOwn(CAP_SETUID)) {
    for (const uint32_t id : {ruid, euid, suid}) {
      if (!OneOf(id, old.uid, old.euid, old.suid)) return Err(EPERM);
    }
  }
  auto now = Copy(task);
  if (ruid != kNoChange) now->uid = ruid;
  if (euid != kNoChange) now->euid = euid;
  if (suid != kNoChange) now->suid = suid;
  now->fsuid = now->euid;
  AdjustCapabilities(task, old, *now);
  Publish(task, std::move(now));
  return {};
}
SYSCALL_ROW(setresuid, Lane::kShort, Support::kFull, SysSetresuid, "");

Result<void> SysSetresgid(Task& task, uint32_t rgid, uint32_t egid, uint32_t sgid) {
  TRY(ToActual(task, IdKind::kGroup, {&rgid, &egid, &sgid}));
  const Credentials& old = task.creds();
  if (!old.HasOwn(CAP_SETGID)) {
    for (const uint32_t id : {rgid, egid, sgid}) {
      if (!OneOf(id, old.gid, old.egid, old.sgid)) return Err(EPERM);
    }
  }
  auto now = Copy(task);
  if (rgid != kNoChange) now->gid = rgid;
  if (egid != kNoChange) now->egid = egid;
  if (sgid != kNoChange) now->sgid = sgid;
  now->fsgid = now->egid;
  Publish(task, std::move(now));
  return {};
}
SYSCALL_ROW(setresgid, Lane::kShort, Support::kFull, SysSetresgid, "");

Result<void> SysSetreuid(Task& task, uint32_t ruid, uint32_t euid) {
  TRY(ToActual(task, IdKind::kUser, {&ruid, &euid}));
  const Credentials& old = task.creds();
  if (!old.HasOwn(CAP_SETUID)) {
    if (!OneOf(ruid, old.uid, old.euid, old.uid) || !OneOf(euid, old.uid, old.euid, old.suid)) return Err(EPERM);
  }
  auto now = Copy(task);
  if (ruid != kNoChange) now->uid = ruid;
  if (euid != kNoChange) now->euid = euid;
  // The saved id follows when the real id was set, or the effective one to something other than the old real id.
  if (ruid != kNoChange || (euid != kNoChange && euid != old.uid)) now->suid = now->euid;
  now->fsuid = now->euid;
  AdjustCapabilities(task, old, *now);
  Publish(task, std::move(now));
  return {};
}
SYSCALL_ROW(setreuid, Lane::kShort, Support::kFull, SysSetreuid, "");

Result<void> SysSetregid(Task& task, uint32_t rgid, uint32_t egid) {
  TRY(ToActual(task, IdKind::kGroup, {&rgid, &egid}));
  const Credentials& old = task.creds();
  if (!old.HasOwn(CAP_SETGID)) {
    if (!OneOf(rgid, old.gid, old.egid, old.gid) || !OneOf(egid, old.gid, old.egid, old.sgid)) return Err(EPERM);
  }
  auto now = Copy(task);
  if (rgid != kNoChange) now->gid = rgid;
  if (egid != kNoChange) now->egid = egid;
  if (rgid != kNoChange || (egid != kNoChange && egid != old.gid)) now->sgid = now->egid;
  now->fsgid = now->egid;
  Publish(task, std::move(now));
  return {};
}
SYSCALL_ROW(setregid, Lane::kShort, Support::kFull, SysSetregid, "");

// setfsuid and setfsgid return the old id whether or not anything changed (setfsuid(2), BUGS).
Result<uint32_t> SysSetfsuid(Task& task, uint32_t uid) {
  constexpr CapabilitySet kFsCaps = uint64_t{1} << CAP_CHOWN | uint64_t{1} << CAP_MKNOD |
                                    uint64_t{1} << CAP_DAC_OVERRIDE | uint64_t{1} << CAP_DAC_READ_SEARCH |
                                    uint64_t{1} << CAP_FOWNER | uint64_t{1} << CAP_FSETID |
                                    uint64_t{1} << CAP_LINUX_IMMUTABLE | uint64_t{1} << CAP_MAC_OVERRIDE;
  const Credentials& old = task.creds();
  const uint32_t previous = old.fsuid, shown = old.ShownUid(previous);
  if (uid == kNoChange || !ToActual(task, IdKind::kUser, {&uid}).ok() || uid == previous) return shown;
  if (!old.HasOwn(CAP_SETUID) && uid != old.uid && uid != old.euid && uid != old.suid) return shown;
  auto now = Copy(task);
  now->fsuid = uid;
  if (!(now->securebits & SECBIT_NO_SETUID_FIXUP)) {
    const uint32_t root = RootId(old);
    if (previous == root) now->effective &= ~kFsCaps;
    if (previous != root && uid == root) now->effective |= now->permitted & kFsCaps;
  }
  Publish(task, std::move(now));
  return shown;
}
SYSCALL_ROW(setfsuid, Lane::kShort, Support::kFull, SysSetfsuid, "");

Result<uint32_t> SysSetfsgid(Task& task, uint32_t gid) {
  const Credentials& old = task.creds();
  const uint32_t previous = old.fsgid, shown = old.ShownGid(previous);
  if (gid == kNoChange || !ToActual(task, IdKind::kGroup, {&gid}).ok() || gid == previous) return shown;
  if (!old.HasOwn(CAP_SETGID) && gid != old.gid && gid != old.egid && gid != old.sgid) return shown;
  auto now = Copy(task);
  now->fsgid = gid;
  Publish(task, std::move(now));
  return shown;
}
SYSCALL_ROW(setfsgid, Lane::kShort, Support::kFull, SysSetfsgid, "");

Result<int32_t> SysGetgroups(Task& task, int32_t size, OutPtr<uint32_t> list) {
  if (size < 0) return Err(EINVAL);
  const std::vector<uint32_t>& groups = task.creds().groups;
  const auto count = static_cast<int32_t>(groups.size());
  if (size == 0) return count;
  if (size < count) return Err(EINVAL);
  std::vector<uint32_t> shown;
  for (const uint32_t gid : groups) shown.push_back(task.creds().ShownGid(gid));
  TRY(list.WriteArray(task.memory(), shown));
  return count;
}
SYSCALL_ROW(getgroups, Lane::kShort, Support::kFull, SysGetgroups, "");

Result<void> SysSetgroups(Task& task, uint64_t size, InPtr<uint32_t> list) {
  if (!task.creds().HasOwn(CAP_SETGID) || !task.creds().user_ns->MaySetGroups()) return Err(EPERM);
  if (size > kMaxGroups) return Err(EINVAL);
  auto now = Copy(task);
  now->groups = TRY(list.ReadArray(task.memory(), size));
  for (uint32_t& gid : now->groups) gid = TRY(task.creds().ActualGid(gid));
  std::sort(now->groups.begin(), now->groups.end());  // getgroups(2) gives them in this order
  Publish(task, std::move(now));
  return {};
}
SYSCALL_ROW(setgroups, Lane::kShort, Support::kFull, SysSetgroups, "");

}  // namespace
}  // namespace sandbox::syscalls
