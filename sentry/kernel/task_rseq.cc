// Restartable sequences (rseq(2), Linux: kernel/rseq.c). Guest threads are host threads, so the host's own registration
// of the guest's area does the work: processor numbers, and aborts on preemption, migration and host signals.
#include <linux/rseq.h>

#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

// struct rseq's first version; longer areas must be aligned like it.
constexpr uint32_t kFirstLength = 32;
constexpr uint64_t kAlignment = 32;

platform::MemoryOp RseqOp(GuestAddr addr, uint32_t length, int flags, uint32_t signature) {
  return {.kind = platform::MemoryOp::Kind::kRseq, .range = {addr, addr + length}, .flags = flags, .offset = signature};
}

}  // namespace

Result<void> Task::RegisterRseq(GuestAddr addr, uint32_t length, uint32_t signature) {
  if (!rseq_.addr.IsNull()) {
    if (addr != rseq_.addr || length != rseq_.length) return Err(EINVAL);
    if (signature != rseq_.signature) return Err(EPERM);
    return Err(EBUSY);
  }
  if (length < kFirstLength || addr.value() % kAlignment != 0) return Err(EINVAL);
  const auto end = addr.Add(length);
  if (!end.ok() || !mm_->range().Contains(GuestRange{addr, *end})) return Err(EFAULT);
  thread_->QueueMemoryOp(RseqOp(addr, length, 0, signature));  // a failure ends in ServeFailedOp
  rseq_ = {addr, length, signature};
  return {};
}

// The thread registered it by itself, so all that is checked here is the sentry's own use of it.
void Task::NoteRseq(const platform::Thread::Rseq& area) {
  const GuestAddr addr(area.addr);
  const auto end = addr.Add(area.length);
  if (area.length < kFirstLength || !end.ok() || !mm_->range().Contains(GuestRange{addr, *end})) return;
  rseq_ = {addr, area.length, area.signature};
}

Result<void> Task::UnregisterRseq(GuestAddr addr, uint32_t length, uint32_t signature) {
  if (rseq_.addr.IsNull() || addr != rseq_.addr || length != rseq_.length) return Err(EINVAL);
  if (signature != rseq_.signature) return Err(EPERM);
  thread_->QueueMemoryOp(RseqOp(addr, length, RSEQ_FLAG_UNREGISTER, signature));
  TRY(thread_->FlushMemoryOps());
  rseq_ = {};
  return {};
}

void Task::LeaveRseq() {
  // The host thread lives a little longer, and its area may soon be unmapped by whoever joins this one: the host would
  // meet a hole there. When everybody dies, nobody can unmap it.
  if (rseq_.addr.IsNull() || killed_.load() || host_thread_dead_ || mm_.use_count() == 1) return;
  thread_->QueueMemoryOp(RseqOp(rseq_.addr, rseq_.length, RSEQ_FLAG_UNREGISTER, rseq_.signature));
  rseq_ = {};
}

// Where the host delivered a signal of its own to stop the thread, it has done this already.
void Task::AbortRseq() {
  if (rseq_.addr.IsNull()) return;
  const GuestAddr pointer = rseq_.addr + offsetof(::rseq, rseq_cs);
  const auto section_addr = InPtr<uint64_t>(pointer).Read(*mm_);
  if (!section_addr.ok() || *section_addr == 0) return;
  const auto section = InPtr<rseq_cs>(GuestAddr(*section_addr)).Read(*mm_);
  if (!section.ok()) return;
  arch::Registers& regs = thread_->regs();
  if (regs.ip() - section->start_ip >= section->post_commit_offset) return;
  uint32_t signature = ~rseq_.signature;
  (void)mm_->Read(GuestAddr(section->abort_ip - sizeof(signature)), &signature, sizeof(signature));
  if (signature != rseq_.signature) return ForceSignal(SignalInfo::Kernel(SIGSEGV));
  (void)OutPtr<uint64_t>(pointer).Write(*mm_, 0);
  regs.set_ip(section->abort_ip);
}

}  // namespace sandbox
