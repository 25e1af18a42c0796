#include "runsc/sandbox/child.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "runsc/ns/visit.h"

namespace sandbox {
namespace {

// Runsc is in these while it forks. The others are entered by the child, as there is no way back.
constexpr int kVisited = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME;

bool Joins(const ChildOptions& options, int type) {
  return std::any_of(options.join.begin(), options.join.end(), [&](const auto& one) { return one.first == type; });
}

// New namespaces that belong to a user namespace which the child enters before it makes them.
int MadeByChild(const ChildOptions& options) {
  return Joins(options, CLONE_NEWUSER) ? options.namespaces & ~CLONE_NEWPID : 0;
}

// The user namespace last: what else may be entered depends on it.
bool EnterOthers(const ChildOptions& options) {
  for (const int type : {CLONE_NEWNS, CLONE_NEWUSER}) {
    for (const auto& [joined, fd] : options.join) {
      if (joined == type && ::setns(fd.get(), type) != 0) return false;
    }
  }
  if (!Joins(options, CLONE_NEWUSER)) return true;
  return ::setresgid(0, 0, 0) == 0 && ::setresuid(0, 0, 0) == 0 && ::unshare(MadeByChild(options)) == 0;
}

// Moves the wanted descriptors to their numbers and closes the rest. Sources are first lifted above every target, so
// that no move overwrites a source.
bool ArrangeFds(const std::vector<std::pair<BorrowedFd, int>>& fds) {
  int top = 3;
  for (const auto& [from, to] : fds) top = std::max({top, to + 1});
  std::vector<std::pair<int, int>> lifted;
  for (const auto& [from, to] : fds) {
    const int copy = ::fcntl(from.get(), F_DUPFD, top);
    if (copy < 0) return false;
    lifted.emplace_back(copy, to);
  }
  std::vector<int> wanted;
  for (const auto& [from, to] : lifted) {
    if (::dup3(from, to, O_CLOEXEC) < 0) return false;
    wanted.push_back(to);
  }
  std::sort(wanted.begin(), wanted.end());
  unsigned next = 3;
  for (const int fd : wanted) {
    if (static_cast<unsigned>(fd) > next) ::syscall(SYS_close_range, next, fd - 1, 0);
    next = std::max(next, static_cast<unsigned>(fd) + 1);
  }
  return ::syscall(SYS_close_range, next, ~0u, 0) == 0;
}

[[noreturn]] void ChildMain(const ChildOptions& options, BorrowedFd maps_written, pid_t parent,
                            const std::function<int()>& main) {
  const auto fail = [&](const char* what) {
    std::fprintf(stderr, "runsc: %s: %s: %s\n", options.name, what, std::strerror(errno));
    ::_exit(1);
  };
  char go;
  if (::read(maps_written.get(), &go, 1) != 1) ::_exit(1);  // the parent gave up
  if (!EnterOthers(options)) fail("entering the bundle's namespaces");
  if (!options.uid_map.empty()) {
    // Take the ids that have a mapping; without one every file operation of ours would fail with EOVERFLOW.
    const uid_t uid = options.uid_map[0].inside;
    const gid_t gid = options.gid_map[0].inside;
    if (::setresgid(gid, gid, gid) != 0 || ::setresuid(uid, uid, uid) != 0) fail("entering the user namespace");
  }
  if (::setsid() < 0) fail("setsid");
  ::prctl(PR_SET_NAME, options.name, 0, 0, 0);
  // Changing ids made the process undumpable, which would hide stubs from process_vm_readv.
  if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) fail("PR_SET_DUMPABLE");
  if (options.die_with_parent) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) fail("PR_SET_PDEATHSIG");
    // In a new pid namespace the parent is invisible (0), so a death before the call above shows only as EOF on the
    // control socket, which both roles treat as the end.
    const pid_t now = ::getppid();
    if (now != 0 && now != parent) ::_exit(1);
  }
  if (!ArrangeFds(options.fds)) fail("passing descriptors");
  ::_exit(main());
}

}  // namespace

absl::StatusOr<pid_t> StartChild(const ChildOptions& options, const std::function<int()>& main) {
  int sync[2];
  if (::pipe2(sync, O_CLOEXEC) != 0) return absl::InternalError(absl::StrCat("pipe: ", std::strerror(errno)));
  UniqueFd sync_read(sync[0]), sync_write(sync[1]);
  std::fflush(nullptr);  // a forked copy of pending output would be written twice
  std::vector<ns::Visit> visits;
  for (const auto& [type, place] : options.join) {
    if (!(type & kVisited)) continue;
    auto visit = ns::Visit::Begin(type, place.borrow());
    if (!visit.ok()) return visit.status();
    visits.push_back(*std::move(visit));
  }
  clone_args args = {};
  args.flags = static_cast<uint64_t>(options.namespaces & ~MadeByChild(options));
  args.exit_signal = SIGCHLD;
  // The C library keeps the thread id where the kernel clears it at exit; have it set there, as fork(3) does, or
  // abort and thread creation in the child would use the parent's.
  int* tid_address = nullptr;
  if (::prctl(PR_GET_TID_ADDRESS, &tid_address, 0, 0, 0) == 0 && tid_address != nullptr) {
    args.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
    args.child_tid = reinterpret_cast<uint64_t>(tid_address);
  }
  const pid_t parent = ::getpid();
  const long pid = ::syscall(SYS_clone3, &args, sizeof(args));
  if (pid < 0) return absl::InternalError(absl::StrCat("starting the ", options.name, ": ", std::strerror(errno)));
  if (pid == 0) {
    sync_write.reset();
    ChildMain(options, sync_read.borrow(), parent, main);
  }
  visits.clear();
  absl::Status status;
  if (!options.uid_map.empty()) status = ns::WriteIdMaps(static_cast<pid_t>(pid), options.uid_map, options.gid_map);
  if (status.ok() && options.place) status = options.place(static_cast<pid_t>(pid));
  if (status.ok() && ::write(sync_write.get(), "g", 1) != 1) status = absl::InternalError("child did not start");
  if (!status.ok()) {
    ::kill(static_cast<pid_t>(pid), SIGKILL);
    ::waitpid(static_cast<pid_t>(pid), nullptr, 0);
    return status;
  }
  return static_cast<pid_t>(pid);
}

}  // namespace sandbox
