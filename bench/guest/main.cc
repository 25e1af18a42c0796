// The benchmark program: lists, prepares and runs the benchmarks of this folder, or times a shell
// command.
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bench/guest/command.h"
#include "bench/guest/harness.h"

namespace sandbox::bench {
namespace {

constexpr char kUsage[] =
    "usage: guest list                      names of all benchmarks, as family/name\n"
    "       guest prepare FOLDER            make the files that benchmarks read\n"
    "       guest run --data=FOLDER --scratch=FOLDER [--filter=PATTERN…] [--repetitions=N] "
    "[--sample-ms=N]\n"
    "                 [--latency-ms=N] [--limit=SECONDS] [--once]\n"
    "       guest time NAME --repetitions=N [--before=SHELL] SHELL    time a shell command\n"
    "       guest idle                      wait for a signal\n"
    "Results are lines of JSON on standard output.\n";

void WriteFile(const std::string& path, size_t size) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  Must(fd >= 0, path.c_str());
  const std::string block(64 << 10, 'x');
  for (size_t done = 0; done < size; done += block.size()) {
    const size_t part = std::min(block.size(), size - done);
    Must(::write(fd, block.data(), part) == static_cast<ssize_t>(part), "write");
  }
  ::close(fd);
}

int Prepare(const std::string& folder) {
  for (const char* name : {"", "/many", "/a", "/a/b", "/a/b/c"}) ::mkdir((folder + name).c_str(), 0755);
  WriteFile(folder + "/file", 4 << 20);
  WriteFile(folder + "/a/b/c/small", 4096);
  if (::symlink("a/b/c/small", (folder + "/link").c_str()) != 0) Must(errno == EEXIST, "symlink");
  for (int i = 0; i < 1000; ++i) WriteFile(folder + "/many/file" + std::to_string(i), 0);
  return 0;
}

struct Arguments {
  Options options;
  std::vector<std::string> filters;
  unsigned limit = 30;
  std::vector<std::string> rest;
};

bool Take(const char* argument, const char* name, std::string& value) {
  const size_t length = std::strlen(name);
  if (std::strncmp(argument, name, length) != 0 || argument[length] != '=') return false;
  value = argument + length + 1;
  return true;
}

bool Parse(int argc, char** argv, Arguments& out) {
  for (int i = 2; i < argc; ++i) {
    std::string value;
    if (Take(argv[i], "--data", out.options.data) || Take(argv[i], "--scratch", out.options.scratch)) continue;
    if (Take(argv[i], "--filter", value)) {
      out.filters.push_back(value);
    } else if (Take(argv[i], "--repetitions", value)) {
      out.options.repetitions = std::max(1, std::atoi(value.c_str()));
    } else if (Take(argv[i], "--sample-ms", value)) {
      out.options.sample_ns = static_cast<uint64_t>(std::atof(value.c_str()) * 1e6) + 1;
    } else if (Take(argv[i], "--latency-ms", value)) {
      out.options.latency_ns = static_cast<uint64_t>(std::atof(value.c_str()) * 1e6);
    } else if (Take(argv[i], "--limit", value)) {
      out.limit = static_cast<unsigned>(std::atoi(value.c_str()));
    } else if (std::strcmp(argv[i], "--once") == 0) {
      out.options.once = true;
      out.options.repetitions = 1;
      out.options.latency_ns = out.options.warm_up_ns = 0;
    } else {
      return false;
    }
  }
  return !out.options.data.empty() && !out.options.scratch.empty();
}

bool Matches(const std::vector<std::string>& filters, const std::string& name) {
  if (filters.empty()) return true;
  for (const std::string& filter : filters) {
    if (::fnmatch(filter.c_str(), name.c_str(), 0) == 0) return true;
  }
  return false;
}

// Each benchmark has a process of its own, so that one that fails or hangs takes no other along.
bool RunRow(const Row& row, const std::string& name, const Arguments& arguments) {
  std::fflush(stdout);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setpgid(0, 0);
    ::alarm(arguments.limit);
    Run run(name, arguments.options);
    row.body(run);
    std::exit(0);
  }
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid) return false;
  ::kill(-pid, SIGKILL);  // helpers that a failed benchmark left behind
  if (WIFSIGNALED(status)) {
    std::printf("{\"name\":\"%s\",\"error\":\"%s\"}\n", name.c_str(),
                WTERMSIG(status) == SIGALRM ? "time limit" : ::strsignal(WTERMSIG(status)));
  }
  return status == 0;
}

int RunAll(const Arguments& arguments) {
  int bad = 0, ran = 0;
  for (const Row& row : Rows()) {
    const std::string name = std::string(row.family) + "/" + row.name;
    if (!Matches(arguments.filters, name)) continue;
    ++ran;
    bad += !RunRow(row, name, arguments);
  }
  if (ran == 0) std::fprintf(stderr, "guest: no benchmark matches\n");
  return bad != 0 || ran == 0;
}

int Main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  Arguments arguments;
  if (verb == "list") {
    for (const Row& row : Rows()) std::printf("%s/%s\n", row.family, row.name);
    return 0;
  }
  if (verb == "prepare" && argc == 3) return Prepare(argv[2]);
  if (verb == "idle") return ::pause();
  if (verb == "time") return TimeCommand(argc - 2, argv + 2);
  if (verb == "run" && Parse(argc, argv, arguments)) return RunAll(arguments);
  std::fputs(kUsage, stderr);
  return 2;
}

}  // namespace
}  // namespace sandbox::bench

int main(int argc, char** argv) { return sandbox::bench::Main(argc, argv); }
