#include "bench/guest/command.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bench/guest/harness.h"

namespace sandbox::bench {
namespace {

// Exit status of `shell`, its standard output dropped; -1 when it was killed.
int Shell(const char* shell) {
  const pid_t pid = ::fork();
  Must(pid >= 0, "fork");
  if (pid == 0) {
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 0);
    ::dup2(null, 1);
    ::execl("/bin/sh", "sh", "-c", shell, nullptr);
    ::_exit(127);
  }
  int status = 0;
  Must(::waitpid(pid, &status, 0) == pid, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int Failed(const char* name, const char* which, int status) {
  std::printf("{\"name\":\"%s\",\"error\":\"%s: exit status %d\"}\n", name, which, status);
  return 1;
}

}  // namespace

int TimeCommand(int argc, char** argv) {
  const char *before = nullptr, *command = nullptr;
  int repetitions = 3;
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--before=", 9) == 0) {
      before = argv[i] + 9;
    } else if (std::strncmp(argv[i], "--repetitions=", 14) == 0) {
      repetitions = std::atoi(argv[i] + 14);
    } else {
      command = argv[i];
    }
  }
  if (command == nullptr || repetitions < 1) {
    std::fputs("guest time: needs a name and a command\n", stderr);
    return 2;
  }
  std::string samples;
  for (int i = 0; i < repetitions; ++i) {
    if (before != nullptr) {
      if (const int status = Shell(before); status != 0) return Failed(argv[0], "before", status);
    }
    const uint64_t began = Now();
    const int status = Shell(command);
    const uint64_t took = Now() - began;
    if (status != 0) return Failed(argv[0], "command", status);
    char text[32];
    std::snprintf(text, sizeof text, "%s%.3f", i == 0 ? "" : ",", static_cast<double>(took) / 1e6);
    samples += text;
  }
  std::printf("{\"name\":\"%s\",\"unit\":\"ms\",\"better\":\"less\",\"iterations\":1,\"samples\":[%s]}\n", argv[0],
              samples.c_str());
  return 0;
}

}  // namespace sandbox::bench
