// Task: one guest thread as the kernel sees it (Linux: struct task_struct). Split by concern over the files of this
// folder: task.cc (life), task_run.cc (trap to reply), task_block.cc, task_signal.cc, task_clone.cc, task_exec.cc,
// task_exit.cc, task_futex.cc.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/core/context.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/fd_table.h"
#include "sentry/vfs/fs_context.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/walk.h"

namespace sandbox {

class Kernel;
class Task;
class ThreadGroup;
class UtsNamespace;
class IpcNamespace;
using TaskRef = RefPtr<Task>;

class Task final : public Context, public platform::TrapHandler, public RefFromThis<Task> {
 public:
  ~Task() override;

  // --- What system call handlers use. Valid on the task's own trap; other tasks' state goes through the getters
  // marked (any). ---
  Kernel& kernel() const { return kernel_; }
  ThreadGroup& group() const { return *group_; }               // (any)
  platform::Thread& thread() { return *thread_; }
  MemoryManager& mm() { return *mm_; }
  RefPtr<MemoryManager> mm_ref() const;                        // (any) null after exit
  FdTable& fds() { return *fds_; }
  RefPtr<FdTable> fds_ref() const;                             // (any) null after exit
  FsContext& fs() { return *fs_; }
  RefPtr<FsContext> fs_ref() const;                            // (any) null after exit
  RefPtr<MountNamespace> mounts() const;                       // (any)
  RefPtr<UtsNamespace> uts() const;                            // (any)
  RefPtr<IpcNamespace> ipc() const;                            // (any)

  // Where a *at call starts: AT_FDCWD, or a directory descriptor (EBADF; ENOTDIR is the walk's).
  Result<WalkBase> WalkFrom(Fd dirfd);
  WalkBase WalkFromCwd();

  // --- Context. ---
  const Credentials& creds() const override { return *creds_; }  // own trap only
  CredentialsRef creds_ref() const override;                     // (any)
  GuestMemory& memory() override { return *mm_; }
  uint64_t rlimit(int resource) const override;
  int32_t tgid() const override;
  int32_t tid() const override { return tid_; }
  void RaiseSignal(int signo) override;
  Result<void> Block(const Deadline& deadline) override;
  Result<void> BlockKillable(const Deadline& deadline) override;
  void Wake() override;
  bool Interrupted() const override;

  void SetCredentials(CredentialsRef creds);
  std::string name() const;                // comm, at most 15 bytes (any)
  void SetName(std::string name);

  // --- platform::TrapHandler. ---
  void HandleTrap(platform::Thread& thread, const platform::Trap& trap) override;

 private:
  friend class Kernel;
  friend class ThreadGroup;
  Kernel& kernel_;
  const RefPtr<ThreadGroup> group_;
  const int32_t tid_;
  std::unique_ptr<platform::Thread> thread_;
  RefPtr<MemoryManager> mm_;
  RefPtr<FdTable> fds_;
  RefPtr<FsContext> fs_;
  CredentialsRef creds_;
};

}  // namespace sandbox
