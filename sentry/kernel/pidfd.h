// Descriptors of processes (pidfd_open(2)).
#pragma once

#include "sentry/kernel/thread_group.h"
#include "sentry/vfs/anon_file.h"
#include "sentry/vfs/fd_table.h"

namespace sandbox {

class PidFd final : public AnonFile {
 public:
  // `thread`: of that thread of the group alone (PIDFD_THREAD); null: of the process.
  PidFd(ThreadGroupRef group, int flags, TaskRef thread = nullptr)
      : AnonFile("[pidfd]", flags), group_(std::move(group)), thread_(std::move(thread)) {}
  const ThreadGroupRef& group() const { return group_; }
  const TaskRef& thread() const { return thread_; }
  // Readable once the process is a zombie or the thread has ended, hung up once it was reaped.
  EventMask Readiness(Context&, EventMask interest) override;
  WaitQueue* wait_queue() override { return &group_->exit_events(); }
  std::string FdInfo(Context& context) override;
  // PIDFD_GET_* (pidfd_ioctl.cc).
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;
  // What it stands for, or the process's leader; null once that was reaped.
  TaskRef Target() const;

 private:
  const ThreadGroupRef group_;
  const TaskRef thread_;
};

// Makes one for a new child and writes its number to `out`; EFAULT, EMFILE.
Result<Fd> InstallPidFd(Task& task, const ThreadGroupRef& group, const TaskRef& thread, GuestAddr out);
// The file behind a descriptor; EBADF when it is no pidfd.
Result<RefPtr<PidFd>> GetPidFd(Task& task, Fd fd);
// The process behind it.
Result<ThreadGroupRef> GroupOfPidFd(Task& task, Fd fd);

}  // namespace sandbox
