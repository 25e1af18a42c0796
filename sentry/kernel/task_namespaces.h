// New namespaces for clone(2) and unshare(2), joining others with setns(2) (Linux: kernel/nsproxy.c), and the open
// files that stand for namespaces (fs/nsfs.c).
#pragma once

#include <sched.h>

#include <cstdint>

#include "sentry/core/credentials.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/fs_context.h"

namespace sandbox {

class Task;

inline constexpr uint64_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;

// What a task is, where it is, and in which namespaces.
struct Surroundings {
  CredentialsRef creds;
  Namespaces spaces;
  RefPtr<FsContext> fs;
};

// Those of `task` with what `flags` (CLONE_NEW*) names made new; `fs` is the caller's to share or not, and moved to the
// copied mounts. EPERM, ENOSPC, EINVAL.
Result<Surroundings> MakeNamespaces(Task& task, uint64_t flags, RefPtr<FsContext> fs);

// setns(2), own trap: joins `which`; all or none of them. EINVAL, EPERM.
Result<void> JoinNamespaces(Task& task, const std::vector<NamespaceRef>& which);
// The one of a kind (CLONE_NEW*) that `task` is in; null when it has ended. CLONE_NEWPID: its own.
NamespaceRef NamespaceOf(Task& task, int kind);

// An open namespace: /proc/PID/ns/uts and what its ioctls return.
FileRef OpenNamespace(NamespaceRef which);
// The namespace behind a descriptor's file; null when it is none.
NamespaceRef NamespaceOfFile(const FileDescription& file);

}  // namespace sandbox
