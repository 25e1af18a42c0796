#include "sentry/kernel/exec_credentials.h"

#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cstring>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/ptrace.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/mount.h"

namespace sandbox {
namespace {

struct FileCapabilities {
  CapabilitySet permitted = 0, inheritable = 0;
  bool effective = false;
  bool present = false;
};

// security.capability: struct vfs_cap_data, revisions 2 and 3.
FileCapabilities ReadFileCapabilities(Context& context, Inode& inode) {
  FileCapabilities caps;
  const auto value = inode.GetXattr(context, "security.capability");
  if (!value.ok() || value->size() < sizeof(vfs_cap_data)) return caps;
  vfs_cap_data data;
  std::memcpy(&data, value->data(), sizeof(data));
  const uint32_t revision = data.magic_etc & VFS_CAP_REVISION_MASK;
  if (revision != VFS_CAP_REVISION_2 && revision != VFS_CAP_REVISION_3) return caps;
  caps.present = true;
  caps.effective = data.magic_etc & VFS_CAP_FLAGS_EFFECTIVE;
  caps.permitted = data.data[0].permitted | uint64_t{data.data[1].permitted} << 32;
  caps.inheritable = data.data[0].inheritable | uint64_t{data.data[1].inheritable} << 32;
  return caps;
}

void ApplySetId(Credentials& creds, const Attr& attr) {
  // Ids that mean nothing here give none.
  if (!creds.user_ns->Seen(IdKind::kUser, attr.uid) || !creds.user_ns->Seen(IdKind::kGroup, attr.gid)) return;
  if (attr.mode & S_ISUID) creds.euid = attr.uid;
  // Set-group-id without group execute marks mandatory locking, not privilege.
  if ((attr.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) creds.egid = attr.gid;
}

// A tracer without privilege would get what its tracee gains (Linux: ptracer_capable).
bool TracerMayHave(Task& task, const Credentials& creds) {
  const int32_t tracer = Ptrace::TracerTgid(task);
  if (tracer == 0) return true;
  const TaskRef leader = task.kernel().FindTask(tracer);
  const CredentialsRef theirs = leader == nullptr ? nullptr : leader->creds_ref();
  return theirs != nullptr && theirs->HasIn(*creds.user_ns, CAP_SYS_PTRACE);
}

// With no_new_privs nothing may be gained, not even what root would get back; under a tracer nothing that the tracer
// may not have (Linux: cap_bprm_creds_from_file).
void LimitGain(Task& task, const Credentials& old, Credentials& creds, CapabilitySet& permitted) {
  const bool gains = creds.euid != old.uid || creds.egid != old.gid || (permitted & ~old.permitted) != 0;
  const bool never = task.no_new_privs.load();
  if (!gains || (!never && TracerMayHave(task, creds))) return;
  if (never || !old.HasOwn(CAP_SETUID)) {
    creds.euid = creds.suid = creds.fsuid = creds.uid;
    creds.egid = creds.sgid = creds.fsgid = creds.gid;
  }
  permitted &= old.permitted;
}

}  // namespace

Result<LoadArgs::Identity> CredentialsForExec(Task& task, const FileRef& executable) {
  const CredentialsRef old = task.creds_ref();
  auto creds = std::make_shared<Credentials>(*old);
  FileCapabilities file;
  const MountRef& mount = executable->path().mount;
  const RefPtr<Inode> inode = executable->path().inode();
  const bool trusted = mount == nullptr || !(mount->flags() & MS_NOSUID);
  if (trusted && inode != nullptr && !task.no_new_privs.load()) {
    const Attr attr = TRY(executable->GetAttr(task));
    ApplySetId(*creds, attr);
    file = ReadFileCapabilities(task, *inode);
  }
  creds->suid = creds->fsuid = creds->euid;
  creds->sgid = creds->fsgid = creds->egid;
  CapabilitySet permitted = (file.permitted & old->bounding) | (file.inheritable & old->inheritable);
  if (file.present && file.effective && (file.permitted & ~permitted)) return Err(EPERM);
  bool effective = file.effective;
  const bool root_counts = !(old->securebits & SECBIT_NOROOT);
  const uint32_t root = old->ActualUid(0).value_or(~0u);
  if (root_counts && (creds->euid == root || creds->uid == root)) {
    const bool only_file = file.present && creds->uid != root && creds->euid == root;
    if (!only_file) {
      permitted = old->bounding | old->inheritable;
      effective = effective || creds->euid == root;
    }
  }
  LimitGain(task, *old, *creds, permitted);
  const bool set_id = creds->euid != old->uid || creds->egid != old->gid;
  const bool privileged_file = file.present || creds->euid != old->euid || creds->egid != old->egid;
  if (privileged_file) creds->ambient = 0;
  creds->permitted = permitted | creds->ambient;
  creds->effective = effective ? creds->permitted : creds->ambient;
  creds->securebits &= ~uint32_t{SECBIT_KEEP_CAPS};
  LoadArgs::Identity identity;
  identity.secure = set_id || (creds->uid != root && (effective || (creds->permitted & ~creds->ambient)));
  identity.creds = std::move(creds);
  return identity;
}

}  // namespace sandbox
