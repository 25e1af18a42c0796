// A trap whose call has to wait leaves its sentry thread: the call runs on a coroutine, as on a kernel stack of its
// own, which is suspended. Whoever wakes the task goes on with it, after the trap that it serves itself: a message from
// one guest process to another costs the host no wake-up but that of the receiving guest thread.
#include <deque>

#include "sentry/core/deferred.h"
#include "sentry/kernel/task.h"
#include "sentry/kernel/wake_word.h"
#include "sentry/time/timer.h"

namespace sandbox {
namespace {

// What the trap that this sentry thread serves has woken.
struct Woken {
  bool collecting = false;  // in a trap, after which ProceedWithWoken is called
  bool proceeding = false;
  std::deque<TaskRef> tasks;
};
thread_local Woken woken;

}  // namespace

platform::TrapHandler::Served Task::HandleTrap(platform::Thread& thread, const platform::Trap& trap) {
  const TaskRef self = shared_from_this();  // exit may drop the pid table's reference
  const DeferredScope scope;
  if (thread.CanDefer() && arch::Coroutine::Supported()) coroutine_ = arch::Coroutine::Take();
  if (coroutine_ == nullptr) {
    RunTrap(trap);
    StartNewImage();
    return Served::kDone;
  }
  woken.collecting = true;
  trap_ = &trap;
  coroutine_->Prepare(&Task::CoroutineMain, this);
  return RunCoroutine();
}

platform::TrapHandler::Served Task::HandleDeferred(platform::Thread&) {
  const TaskRef self = shared_from_this();
  const DeferredScope scope;
  woken.collecting = true;
  return RunCoroutine();
}

platform::TrapHandler::Served Task::RunCoroutine() {
  for (;;) {
    if (coroutine_->Resume()) {
      arch::Coroutine::Give(std::move(coroutine_));
      StartNewImage();
      return Served::kDone;
    }
    // After this another thread may proceed, to the end of the task.
    uint32_t word = 0;
    if (wake_word_.compare_exchange_strong(word, kDeferred)) return Served::kDeferred;
  }
}

void Task::CoroutineMain(void* self) {
  auto& task = *static_cast<Task*>(self);
  const platform::Trap trap = *task.trap_;  // the platform's copy is gone once this is suspended
  task.RunTrap(trap);
}

// The thread may trap before Start returns: nothing of this task is touched after it.
void Task::StartNewImage() {
  if (!start_on_return_) return;
  start_on_return_ = false;
  image_is_new_ = true;
  thread_->Start();
}

bool Task::BeginDeferred(const Deadline& deadline) {
  if (coroutine_ == nullptr || !serving_trap_) return false;
  if (deadline) {
    if (wait_timer_ == nullptr) wait_timer_ = std::make_unique<Timer>([this] { Kick(); });
    wait_timer_->Arm(*deadline);
  }
  thread_->BeginDefer();
  return true;
}

void Task::ProceedLater() {
  if (woken.collecting) {
    woken.tasks.push_back(shared_from_this());
  } else {
    thread_->Proceed(platform::Thread::Where::kElsewhere);
  }
}

void Task::ProceedWithWoken() {
  if (woken.proceeding) return;
  woken.proceeding = true;
  while (!woken.tasks.empty()) {
    const TaskRef task = std::move(woken.tasks.front());
    woken.tasks.pop_front();
    task->thread_->Proceed(platform::Thread::Where::kHere);
  }
  woken.proceeding = woken.collecting = false;
}

void Task::HandOnWoken() {
  while (!woken.tasks.empty()) {
    const TaskRef task = std::move(woken.tasks.front());
    woken.tasks.pop_front();
    task->thread_->Proceed(platform::Thread::Where::kElsewhere);
  }
}

}  // namespace sandbox
