// Sessions, process groups and controlling terminals (credentials(7), setsid(2), tty_ioctl(4)). All state here is
// guarded by the kernel's tree lock (Kernel::tree_lock, Linux: tasklist_lock).
#pragma once

#include <cstdint>
#include <set>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/kernel/pid_namespace.h"
#include "sentry/kernel/signal.h"

namespace sandbox {

class Kernel;
class Task;
class ThreadGroup;
struct Session;

// A terminal that can be a session's controlling one. The line discipline derives from it; the kernel keeps the link.
class ControllingTerminal : public RefFromThis<ControllingTerminal> {
 public:
  virtual ~ControllingTerminal() = default;
  virtual uint64_t device() const = 0;  // makedev() encoding, for /proc/*/stat tty_nr
  // vhangup(2): reads give end of file, writes EIO. No lock is held.
  virtual void Hangup() = 0;

 private:
  friend class JobControl;
  WeakRef<Session> session_;  // tree lock
};

struct Session {
  explicit Session(PidRef leader) : pid(std::move(leader)), id(pid->root()) {}
  const PidRef pid;  // the leader's, which nobody else gets meanwhile
  const int32_t id;
  RefPtr<ControllingTerminal> terminal;
  int32_t foreground = 0;  // process group, 0 = none
};

struct ProcessGroup {
  ProcessGroup(PidRef leader, RefPtr<Session> in) : pid(std::move(leader)), id(pid->root()), session(std::move(in)) {}
  const PidRef pid;
  const int32_t id;
  const RefPtr<Session> session;
  std::set<ThreadGroup*> members;
};

// What a terminal's line discipline asks of the kernel. None of these may be called with a tty lock held.
class JobControl {
 public:
  // TIOCSCTTY: EPERM unless the caller leads a session without terminal and nobody else owns this one (`steal` needs
  // CAP_SYS_ADMIN).
  static Result<void> Acquire(Task& task, const RefPtr<ControllingTerminal>& terminal, bool steal);
  // open(2) of a terminal without O_NOCTTY: takes it when the caller may, silently does nothing otherwise.
  static void AcquireOnOpen(Task& task, const RefPtr<ControllingTerminal>& terminal);
  // TIOCNOTTY: ENOTTY when it is not the caller's; a leader gives it up for its session (SIGHUP, SIGCONT).
  static Result<void> Release(Task& task, const RefPtr<ControllingTerminal>& terminal);
  // The terminal of the caller's session (/dev/tty), or null.
  static RefPtr<ControllingTerminal> Of(Task& task);

  // TIOCGPGRP, TIOCGSID, TIOCSPGRP: ENOTTY when the terminal is not the caller's; `from_master` drops that check.
  static Result<int32_t> Foreground(Task& task, ControllingTerminal& terminal, bool from_master);
  static Result<int32_t> SessionId(Task& task, ControllingTerminal& terminal, bool from_master);
  // EPERM for a group of another session, ESRCH for none; a background caller gets SIGTTOU.
  static Result<void> SetForeground(Task& task, ControllingTerminal& terminal, int32_t pgid);

  // Before a read (SIGTTIN) or a write with TOSTOP or an ioctl that changes the terminal (SIGTTOU) by `task`: Ok for
  // the foreground, EIO for an orphaned group or a blocked SIGTTIN, else signals the caller's group and gives
  // ERESTARTSYS (Linux: __tty_check_change).
  static Result<void> CheckAccess(Task& task, ControllingTerminal& terminal, int signo);

  // ^C, ^Z, ^\, SIGWINCH: to the foreground group.
  static void SignalForeground(Kernel& kernel, ControllingTerminal& terminal, int signo);
  // The other side closed: SIGHUP to the session leader and SIGHUP, SIGCONT to the foreground group.
  static void HangupSession(Kernel& kernel, ControllingTerminal& terminal);
  // Called by exit of a session leader (Linux: disassociate_ctty).
  static void LeaderExits(ThreadGroup& leader);
};

}  // namespace sandbox
