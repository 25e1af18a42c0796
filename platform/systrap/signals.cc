// Signals: the frames of handlers, which the stub pushes itself, and what it may do about the mask.
#include "platform/systrap/guest_thread.h"
#include "platform/systrap/platform.h"

namespace sandbox::platform::systrap {

size_t GuestThread::FpStateSize() const { return platform_.fp_layout().frame_size(); }

Result<void> GuestThread::PushFrame(const arch::BuiltFrame& frame) {
  SettleClone();
  TRY(FlushFrame());
  push_ = frame;
  return {};
}

Result<void> GuestThread::FlushFrame() {
  if (!push_) return {};
  EnsureRegisters();
  FillPush();
  const auto done = Round(stub::Command::kRing, 0);
  // The caller may make room for it.
  if (!done.ok()) push_ = std::move(posted_push_);
  return done;
}

void GuestThread::FillPush() {
  stub::FramePush& push = (*page_)->push;
  push.state_size = platform_.fp_layout().state_size;
  push.features = platform_.fp_layout().features;
  push.address = push_->address;
  push.fp_address = push_->fp_address;
  push.frame = push_->frame;
  push.wanted = 1;
  posted_push_ = std::exchange(push_, std::nullopt);
}

void GuestThread::SetSignalMask(uint64_t mask) { __atomic_store_n(&(*page_)->signals.mask, mask, __ATOMIC_SEQ_CST); }

uint64_t GuestThread::SignalMask() const { return __atomic_load_n(&(*page_)->signals.mask, __ATOMIC_SEQ_CST); }

void GuestThread::SetSignalsPending(bool pending) {
  __atomic_store_n(&(*page_)->signals.pending, pending ? 1 : 0, __ATOMIC_SEQ_CST);
}

void GuestThread::SetUntouchedActions(uint64_t actions, bool sole) {
  stub::LocalSignals& signals = (*page_)->signals;
  __atomic_store_n(&signals.sole_thread, sole ? 1 : 0, __ATOMIC_RELAXED);
  __atomic_store_n(&signals.untouched_actions, actions, __ATOMIC_SEQ_CST);
}

Thread::DefaultedActions GuestThread::TakeDefaultedActions() {
  stub::LocalSignals& signals = (*page_)->signals;
  if (__atomic_load_n(&signals.defaulted_actions, __ATOMIC_RELAXED) == 0) return {};
  return {__atomic_exchange_n(&signals.defaulted_actions, 0, __ATOMIC_RELAXED), signals.default_restorer};
}

Thread::Settled GuestThread::TakeSettled() {
  Thread::Settled out;
  stub::Settled& settled = (*page_)->settled;
  if (__atomic_load_n(&settled.which, __ATOMIC_RELAXED) == 0) return out;
  const uint32_t which = __atomic_exchange_n(&settled.which, 0, __ATOMIC_ACQUIRE);
  if (which & stub::Settled::kRobustList) out.robust_list = settled.robust_list;
  if (which & stub::Settled::kTidAddress) out.tid_address = settled.tid_address;
  if (which & stub::Settled::kRseq) out.rseq = {settled.rseq, settled.rseq_length, settled.rseq_signature};
  return out;
}

std::optional<uint64_t> GuestThread::SettledRobustList() const {
  const stub::Settled& settled = (*page_)->settled;
  if (!(__atomic_load_n(&settled.which, __ATOMIC_ACQUIRE) & stub::Settled::kRobustList)) return std::nullopt;
  return settled.robust_list;
}

void GuestThread::SetSignalStack(const arch::SignalStack& stack) {
  stub::LocalSignals& signals = (*page_)->signals;
  signals.stack_sp = stack.sp;
  signals.stack_size = stack.size;
  signals.stack_flags = stack.flags;
}

}  // namespace sandbox::platform::systrap
