#include "runsc/container/process_id.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

namespace sandbox {
namespace {

struct Stat {
  char state = 0;
  uint64_t start_time = 0;
};

// False when there is no such process.
bool ReadStat(pid_t pid, Stat& stat) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return false;
  char text[2048];
  const ssize_t got = ::read(fd.get(), text, sizeof(text) - 1);
  if (got <= 0) return false;
  text[got] = 0;
  // The name in parentheses may hold anything, so the fields are counted from its end.
  const char* at = std::strrchr(text, ')');
  if (at == nullptr) return false;
  unsigned long start = 0;
  const int found = std::sscanf(
      at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %lu", &stat.state, &start);
  stat.start_time = start;
  return found == 2;
}

}  // namespace

ProcessId Identify(pid_t pid) {
  Stat stat;
  if (pid <= 0 || !ReadStat(pid, stat)) return {pid, 0};
  return {pid, stat.start_time};
}

bool IsAlive(const ProcessId& process) {
  Stat stat;
  return process.pid > 0 && ReadStat(process.pid, stat) && stat.start_time == process.start_time && stat.state != 'Z' &&
         stat.state != 'X';
}

UniqueFd OpenProcess(const ProcessId& process) {
  if (process.pid <= 0) return {};
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  // Checked after the open: what the descriptor refers to cannot change any more.
  return IsAlive(process) ? std::move(fd) : UniqueFd();
}

bool WaitForEnd(const ProcessId& process, int timeout_ms) {
  const UniqueFd fd = OpenProcess(process);
  if (!fd.valid()) return true;
  pollfd wait = {fd.get(), POLLIN, 0};
  int ready;
  do {
    ready = ::poll(&wait, 1, timeout_ms);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

bool KillAndWait(const ProcessId& process, int timeout_ms) {
  const UniqueFd fd = OpenProcess(process);
  if (!fd.valid()) return true;
  (void)::syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0);
  return WaitForEnd(process, timeout_ms);
}

}  // namespace sandbox
