// Core dumps (core(5), Linux: fs/coredump.c): a fatal signal stops the other threads, and the one that got it writes a
// file named "core" (kernel.core_pattern, fixed) in its working directory.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>

#include "platform/arch/fpstate.h"
#include "sentry/kernel/core_file.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/operations.h"

namespace sandbox {
namespace {

constexpr char kCoreName[] = "core";
constexpr size_t kShownArguments = 80;  // ELF_PRARGSZ

// A new file, in place of an old one.
Result<FileRef> OpenCoreFile(Task& task) {
  OpenOptions options;
  options.flags = O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | 0100000 /* O_LARGEFILE */;
  options.mode = 0600;
  options.umask = task.fs().umask();
  (void)Unlink(task, task.WalkFromCwd(), kCoreName);
  FileRef file = TRY(Open(task, task.WalkFromCwd(), kCoreName, options));
  const Attr attr = TRY(file->GetAttr(task));
  if (!attr.IsRegular() || attr.nlink != 1 || attr.uid != task.creds().fsuid) return Err(EPERM);
  return file;
}

std::string ArgumentsOf(MemoryManager& mm) {
  const MmLayout layout = mm.layout();
  if (layout.arg_end <= layout.arg_start) return {};
  std::string text(std::min<uint64_t>(layout.arg_end - layout.arg_start, kShownArguments), '\0');
  text.resize(mm.ReadSome(layout.arg_start, text.data(), text.size()).value_or(0));
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

}  // namespace

CoreThread Task::SnapshotForCore() {
  if (!thread_->has_registers()) {
    // A short call's registers come with parking it.
    thread_->BeginBlock();
    thread_->EndBlock();
  }
  CoreThread snapshot;
  snapshot.tid = pid()->own();
  snapshot.pending = own_pending_signals();
  snapshot.blocked = mask_.load();
  snapshot.regs = thread_->regs();
  if (auto state = thread_->GetFpState(); state.ok()) snapshot.fp_state = arch::DebuggerState(*std::move(state));
  return snapshot;
}

// Has the other threads tell where they are and end. False when the process ends otherwise meanwhile.
bool Task::StopOthersForCore(int signo, std::vector<CoreThread>& threads) {
  ThreadGroup& group = *group_;
  {
    MutexLock lock(group.sig_mu_);
    if (group.exiting_.load() || group.exec_task_ != nullptr) return false;
    group.exec_task_ = this;
    group.core_threads_ = &threads;
    group.group_status_ = signo;
    for (Task* other : group.tasks_) {
      if (other == this) continue;
      other->killed_.store(true);
      other->KickLocked();
    }
  }
  Result<void> alone;
  while (alone.ok() && group.thread_count() > 1) alone = BlockKillable(std::nullopt);
  MutexLock lock(group.sig_mu_);
  group.exec_task_ = nullptr;
  group.core_threads_ = nullptr;
  return alone.ok();
}

void Task::EnterCoreDump() {
  const auto wanted = [this] {
    MutexLock lock(group_->sig_mu_);
    return group_->core_threads_ != nullptr && group_->exec_task_ != this;
  };
  if (!wanted() || host_thread_dead_ || start_on_return_) return;
  CoreThread snapshot = SnapshotForCore();
  MutexLock lock(group_->sig_mu_);
  if (group_->core_threads_ != nullptr) group_->core_threads_->push_back(std::move(snapshot));
}

bool Task::DumpCore(const SignalInfo& info) {
  const uint64_t limit = rlimit(RLIMIT_CORE);
  if (limit < kPageSize || !mm_->dumpable()) return false;
  CoreProcess process;
  process.threads.push_back(SnapshotForCore());
  if (!StopOthersForCore(info.signo, process.threads)) return false;
  const PidNamespace& view = pid_space();
  process.pid = group_->pid()->In(view);
  process.ppid = kernel_.NumberIn(view, group_->ppid());
  process.pgid = kernel_.NumberIn(view, group_->pgid());
  process.sid = kernel_.NumberIn(view, group_->sid());
  process.uid = creds_->ShownUid(creds_->uid);
  process.gid = creds_->ShownGid(creds_->gid);
  process.nice = nice.load();
  const Usage used = group_->usage();
  process.user_ns = used.user_ns;
  process.system_ns = used.system_ns;
  process.name = name();
  process.arguments = ArgumentsOf(*mm_);
  process.signal = info;
  const auto file = OpenCoreFile(*this);
  if (!file.ok()) return false;
  // A file that became too large, or a full disk, leaves a part, which counts (Linux: has_dumped).
  (void)WriteCore(*this, **file, *mm_, process, limit);
  return true;
}

}  // namespace sandbox
