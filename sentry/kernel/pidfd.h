// Descriptors of processes (pidfd_open(2)).
#pragma once

#include "sentry/kernel/thread_group.h"
#include "sentry/vfs/anon_file.h"
#include "sentry/vfs/fd_table.h"

namespace sandbox {

class PidFd final : public AnonFile {
 public:
  PidFd(ThreadGroupRef group, int flags) : AnonFile("[pidfd]", flags), group_(std::move(group)) {}
  const ThreadGroupRef& group() const { return group_; }
  // Readable once the process is a zombie, hung up once it was reaped.
  EventMask Readiness(Context&, EventMask interest) override {
    if (!group_->zombie()) return 0;
    return (kReadable & interest) | (group_->leader() == nullptr ? kEventHup : 0);
  }
  WaitQueue* wait_queue() override { return &group_->exit_events(); }
  std::string FdInfo(Context& context) override;

 private:
  const ThreadGroupRef group_;
};

// Makes one for a new child and writes its number to `out`; EFAULT, EMFILE.
Result<Fd> InstallPidFd(Task& task, const ThreadGroupRef& group, GuestAddr out);
// The process behind a descriptor; EBADF when it is no pidfd.
Result<ThreadGroupRef> GroupOfPidFd(Task& task, Fd fd);

}  // namespace sandbox
