// start, kill, delete, pause, update, wait.
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "runsc/cgroup/cgroup.h"
#include "runsc/container/container.h"
#include "runsc/container/exec.h"
#include "runsc/container/hooks.h"
#include "runsc/control/message.h"
#include "runsc/spec/bundle.h"

namespace sandbox {
namespace {

using control::Message;
using Kind = control::Message::Kind;

// A sentry that does not answer for so long is taken for stuck.
constexpr int kAnswerSeconds = 30;
constexpr int kEndTimeoutMs = 10000;
constexpr int kFollowTimeoutMs = 3000;  // of a gofer, after what it stands for

absl::Status Ask(const ContainerDir& dir, const ContainerState& state, Message request) {
  request.container = state.id;
  auto socket = dir.Connect(state);
  if (!socket.ok()) return socket.status();
  const timeval limit = {kAnswerSeconds, 0};
  ::setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  return control::Call(socket->borrow(), request).status();
}

// Ends whatever of the container lives: with the sandbox that was made for it, or alone where it joined another's. The
// gofer follows by itself, with the exit status.
absl::Status End(const ContainerDir& dir, const ContainerState& state) {
  bool ended = true;
  if (state.sandbox.empty()) {
    ended = KillAndWait(state.sentry, kEndTimeoutMs);
  } else if (IsAlive(state.container)) {
    // A sentry that does not answer still sees the end of the gofer.
    (void)Ask(dir, state, {Kind::kSignal, SIGKILL, control::kToAll});
  }
  ended = ended && (WaitForEnd(state.container, kFollowTimeoutMs) || KillAndWait(state.container, kEndTimeoutMs));
  return ended ? absl::OkStatus() : absl::DeadlineExceededError("the container's processes do not end");
}

absl::Status RunStartHooks(const ContainerDir& dir, ContainerState& state) {
  const spec::Hooks& hooks = state.spec.hooks;
  for (size_t i = 0; i < hooks.start_container.size(); ++i) {
    auto status = RunHookInside(dir, state, hooks.start_container[i]);
    if (!status.ok())
      return absl::InternalError(
          absl::StrCat("error running startContainer hook #", i, ": ", std::string(status.message())));
  }
  return absl::OkStatus();
}

// Specifications before 1.3 have poststart hooks that fail change nothing, and bundles say which one they are written
// for.
bool PoststartMayFail(const spec::Spec& spec) {
  int minor = 0;
  return std::sscanf(spec.oci_version.c_str(), "1.%d", &minor) == 1 && minor < 3;
}

absl::Status LockForDelete(ContainerDir& dir, bool force) {
  auto locked = dir.Lock(!force);
  if (!absl::IsUnavailable(locked)) return locked;
  // Somebody works on it. If that is its creator, it gives way; others are done soon.
  auto state = dir.Load();
  if (state.ok() && state->status == Status::kCreating) (void)KillAndWait(state->creator, kEndTimeoutMs);
  return dir.Lock(true);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> StartContainer(const ContainerDir& dir, ContainerState& state) {
  switch (CurrentStatus(state)) {
    case Status::kCreated:
      break;
    case Status::kStopped:
      return absl::FailedPreconditionError("cannot start a container that has stopped");
    case Status::kCreating:
      return absl::FailedPreconditionError("cannot start a container that is being created");
    default:
      return absl::FailedPreconditionError("cannot start an already running container");
  }
  auto status = RunStartHooks(dir, state);
  if (status.ok()) status = Ask(dir, state, {Kind::kStart, 0, ""});
  if (status.ok()) {
    state.status = Status::kRunning;
    status = dir.Save(state);
  }
  std::vector<std::string> warnings;
  if (status.ok() && PoststartMayFail(state.spec)) {
    warnings = RunAllHooks("poststart", state.spec.hooks.poststart, HookState(state, Status::kRunning));
  } else if (status.ok()) {
    status = RunHooks("poststart", state.spec.hooks.poststart, HookState(state, Status::kRunning));
  }
  if (status.ok()) return warnings;
  // OCI runtime specification, "Lifecycle": a failure up to here stops the container.
  (void)End(dir, state);
  return status;
}

absl::Status KillContainer(const ContainerDir& dir, const ContainerState& state, int signo, bool all) {
  const Status current = CurrentStatus(state);
  if (current == Status::kStopped)
    return all ? absl::OkStatus() : absl::FailedPreconditionError("container not running");
  auto status = Ask(dir, state, {Kind::kSignal, signo, all ? control::kToAll : ""});
  // It ended while it was asked: before the signal for all that anybody can tell, unless the signal did it.
  if (absl::IsOutOfRange(status)) return absl::OkStatus();
  if (status.ok() || signo != SIGKILL) return status;
  return End(dir, state);
}

absl::StatusOr<std::vector<std::string>> DeleteContainer(const std::string& root, const std::string& id, bool force) {
  if (auto status = spec::CheckContainerId(id); !status.ok()) return status;
  auto dir = ContainerDir::Open(root, id, false);
  if (!dir.ok()) return dir.status();
  if (auto status = LockForDelete(*dir, force); !status.ok()) return status;
  auto state = dir->Load();
  if (!state.ok()) {
    // Nothing was written before its creator died, or it cannot be read: with force the folder goes.
    if (!force && !absl::IsNotFound(state.status())) return state.status();
    if (auto status = dir->Remove(""); !status.ok()) return status;
    return std::vector<std::string>();
  }
  const Status current = CurrentStatus(*state);
  if (!force && current != Status::kStopped && current != Status::kCreated) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot delete container ", id, " that is not stopped: ", StatusName(current)));
  }
  if (auto status = End(*dir, *state); !status.ok()) return status;
  if (auto status = cgroup::Cgroup::Existing(state->cgroups).Remove(); !status.ok()) return status;
  state->status = Status::kStopped;
  auto warnings = RunAllHooks("poststop", state->spec.hooks.poststop, HookState(*state, Status::kStopped));
  if (auto status = dir->Remove(state->upper); !status.ok()) return status;
  return warnings;
}

absl::Status PauseContainer(const ContainerDir& dir, ContainerState& state, bool pause) {
  const Status wanted = pause ? Status::kRunning : Status::kPaused, current = CurrentStatus(state);
  if (current != wanted) {
    return absl::FailedPreconditionError(pause ? absl::StrCat("container not running or created: ", StatusName(current))
                                               : "container not paused");
  }
  if (auto status = Ask(dir, state, {pause ? Kind::kPause : Kind::kResume, 0, ""}); !status.ok()) return status;
  state.status = pause ? Status::kPaused : Status::kRunning;
  return dir.Save(state);
}

namespace {

template <typename T>
void Replace(std::optional<T>& old, const std::optional<T>& value) {
  if (value) old = value;
}

void Merge(spec::Resources& old, const spec::Resources& changes) {
  if (changes.memory) {
    spec::Memory& memory = old.memory ? *old.memory : old.memory.emplace();
    // Engines send a zero for what they do not change.
    if (changes.memory->limit.value_or(0) != 0) memory.limit = changes.memory->limit;
    if (changes.memory->reservation.value_or(0) != 0) memory.reservation = changes.memory->reservation;
    if (changes.memory->swap.value_or(0) != 0) memory.swap = changes.memory->swap;
  }
  if (changes.cpu) {
    spec::Cpu& cpu = old.cpu ? *old.cpu : old.cpu.emplace();
    if (changes.cpu->quota.value_or(0) != 0) cpu.quota = changes.cpu->quota;
    if (changes.cpu->period.value_or(0) != 0) cpu.period = changes.cpu->period;
    if (changes.cpu->shares.value_or(0) != 0) cpu.shares = changes.cpu->shares;
    Replace(cpu.burst, changes.cpu->burst);
    Replace(cpu.idle, changes.cpu->idle);
    if (!changes.cpu->cpus.empty()) cpu.cpus = changes.cpu->cpus;
    if (!changes.cpu->mems.empty()) cpu.mems = changes.cpu->mems;
  }
  if (changes.pids && changes.pids->limit != 0) old.pids = changes.pids;
}

}  // namespace

absl::Status UpdateContainer(const ContainerDir& dir, ContainerState& state, const spec::Resources& resources) {
  if (CurrentStatus(state) == Status::kStopped) return absl::FailedPreconditionError("container not running");
  const auto group = cgroup::Cgroup::Existing(state.cgroups);
  if (group.empty()) return absl::FailedPreconditionError("the container has no cgroups: nothing can be limited");
  if (auto status = group.Apply(resources); !status.ok()) return status;
  spec::Resources& merged =
      state.spec.linux_.resources ? *state.spec.linux_.resources : state.spec.linux_.resources.emplace();
  Merge(merged, resources);
  if (auto status = Ask(dir, state, {Kind::kUpdate, 0, boot::ToJson(GuestLimits(merged))}); !status.ok()) return status;
  return dir.Save(state);
}

absl::StatusOr<int> WaitContainer(const ContainerDir& dir, const ContainerState& state) {
  if (!WaitForEnd(state.container, -1)) return absl::InternalError("waiting for the container");
  return dir.ReadExitCode();
}

}  // namespace sandbox
