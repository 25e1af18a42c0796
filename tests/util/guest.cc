#include "tests/util/guest.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace guest {
namespace {

volatile sig_atomic_t alarms = 0;
void OnAlarm(int) { alarms = alarms + 1; }

}  // namespace

TempDir::TempDir() {
  const char* base = std::getenv("TEST_TMPDIR");
  path_ = std::string(base != nullptr ? base : "/tmp") + "/guest.XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) std::abort();
  if (chmod(path_.c_str(), 0777) != 0) std::abort();  // the unprivileged children use it too
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ScopedFd::~ScopedFd() { reset(); }

void ScopedFd::reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

EdgeBuffer::EdgeBuffer(size_t good) {
  const size_t page = 4096;
  const size_t whole = (good + page - 1) / page * page;
  map_ = static_cast<char*>(mmap(nullptr, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (map_ == MAP_FAILED || mprotect(map_ + whole, page, PROT_NONE) != 0) std::abort();
  front_ = map_ + whole - good;
}

EdgeBuffer::~EdgeBuffer() { munmap(map_, static_cast<size_t>(front_ - map_) + 4096); }

void WriteFileText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

std::string ReadFileText(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

int RunInChild(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child == 0) {
    const int status = body();
    _exit(::testing::Test::HasFailure() ? 99 : status);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int RunAsNobody(const std::function<int()>& body) {
  return RunInChild([&] {
    constexpr uid_t kNobody = 65534;
    if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
        setresuid(kNobody, kNobody, kNobody) != 0)
      return 98;
    return body();
  });
}

Interrupter::Interrupter(bool restart) {
  alarms = 0;
  struct sigaction action = {};
  action.sa_handler = OnAlarm;
  action.sa_flags = restart ? SA_RESTART : 0;
  sigaction(SIGALRM, &action, &old_);
  // More than once: the first may come before the call blocks.
  const itimerval every = {{0, 20'000}, {0, 20'000}};
  setitimer(ITIMER_REAL, &every, nullptr);
}

Interrupter::~Interrupter() {
  const itimerval off = {};
  setitimer(ITIMER_REAL, &off, nullptr);
  sigaction(SIGALRM, &old_, nullptr);
}

int Interrupter::count() { return alarms; }

}  // namespace guest
