// A container as its sentry knows it: the first one, whose end is the sandbox's, or a further one of a pod.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/unique_fd.h"
#include "runsc/boot/container.h"
#include "runsc/control/message.h"
#include "sentry/kernel/kernel.h"

namespace sandbox::boot {

class GuestContainer {
 public:
  enum class State { kCreated, kRunning };
  using Connection = std::shared_ptr<UniqueFd>;

  // `stand_in` gets the exit status.
  GuestContainer(Kernel& kernel, std::string id, HostStarted init, UniqueFd stand_in, State state)
      : kernel_(kernel),
        id_(std::move(id)),
        init_(std::move(init)),
        group_(init_.task->group().shared_from_this()),
        stand_in_(std::move(stand_in)),
        state_(state) {}

  const std::string& id() const { return id_; }
  ThreadGroup& group() const { return *group_; }
  const HostStarted& init() const { return init_; }
  const ContainerPlace& place() const { return init_.place; }
  BorrowedFd stand_in() const { return stand_in_.borrow(); }
  // Null when it has ended.
  RefPtr<MountNamespace> mounts() const;

  absl::Status Start();
  // FailedPrecondition unless processes may be added.
  absl::Status CheckExec();
  // To the first process, its terminal's foreground or (control::kToAll) every process. A container that was not
  // started ends by a signal that would end it.
  absl::Status Signal(const control::Message& message);
  // Ends every process of it.
  void Kill();
  absl::Status Pause();
  absl::Status Resume();
  // "created", "running", "paused" or "stopped".
  const char* StatusName();
  // Gets kExited when the first process has ended.
  void AddWaiter(const Connection& connection);
  // The first process has ended: tells everybody.
  void Ended(int wait_status);

 private:
  Kernel& kernel_;
  const std::string id_;
  const HostStarted init_;
  const ThreadGroupRef group_;
  const UniqueFd stand_in_;

  Mutex mu_{LockRank::kControl};
  State state_ GUARDED_BY(mu_);
  bool ended_ GUARDED_BY(mu_) = false;
  int wait_status_ GUARDED_BY(mu_) = 0;
  std::vector<Connection> waiters_ GUARDED_BY(mu_);
};

// Delivers a stand-in's signal: one from its terminal to the terminal's foreground process group, or without a terminal
// to the process's own; another to the process. One that finds nobody is no error.
void DeliverSignal(Kernel& kernel, const HostStarted& process, const control::Message& message);

}  // namespace sandbox::boot
