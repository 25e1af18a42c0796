// Files and directories: names, attributes, contents, changes.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "bench/guest/harness.h"

namespace sandbox::bench {
namespace {

void Read(Run& run, size_t size) {
  const int fd = ::open(run.data("file").c_str(), O_RDONLY);
  Must(fd >= 0, "open");
  std::vector<char> buffer(size);
  run.Loop([&] { Must(::pread(fd, buffer.data(), size, 0) == static_cast<ssize_t>(size), "pread"); });
}

int Create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
  Must(fd >= 0, "create");
  return fd;
}

}  // namespace

GUEST_BENCHMARK("files", "open_close") {
  const std::string path = run.data("a/b/c/small");
  run.Loop([&] {
    const int fd = ::open(path.c_str(), O_RDONLY);
    Must(fd >= 0, "open");
    Must(::close(fd) == 0, "close");
  });
}

GUEST_BENCHMARK("files", "stat_hit") {
  const std::string path = run.data("a/b/c/small");
  struct stat attr;
  run.Loop([&] { Must(::stat(path.c_str(), &attr) == 0, "stat"); });
}

GUEST_BENCHMARK("files", "stat_miss") {
  const std::string path = run.data("a/b/c/none");
  struct stat attr;
  run.Loop([&] { Must(::stat(path.c_str(), &attr) == -1 && errno == ENOENT, "stat"); });
}

GUEST_BENCHMARK("files", "fstat") {
  const int fd = ::open(run.data("file").c_str(), O_RDONLY);
  struct stat attr;
  run.Loop([&] { Must(::fstat(fd, &attr) == 0, "fstat"); });
}

GUEST_BENCHMARK("files", "access") {
  const std::string path = run.data("a/b/c/small");
  run.Loop([&] { Must(::access(path.c_str(), R_OK) == 0, "access"); });
}

GUEST_BENCHMARK("files", "readlink") {
  const std::string path = run.data("link");
  char target[256];
  run.Loop([&] { Must(::readlink(path.c_str(), target, sizeof target) == 11, "readlink"); });
}

GUEST_BENCHMARK("files", "pread_4k") { Read(run, 4096); }

GUEST_BENCHMARK("files", "pread_1m") { Read(run, 1 << 20); }

GUEST_BENCHMARK("files", "pwrite_4k") {
  const int fd = Create(run.scratch("pwrite"));
  std::vector<char> buffer(4096, 'x');
  run.Loop([&] { Must(::pwrite(fd, buffer.data(), buffer.size(), 0) == 4096, "pwrite"); });
}

GUEST_BENCHMARK("files", "getdents_1000") {
  const int fd = ::open(run.data("many").c_str(), O_RDONLY | O_DIRECTORY);
  Must(fd >= 0, "open");
  std::vector<char> buffer(32768);
  run.Loop([&] {
    Must(::lseek(fd, 0, SEEK_SET) == 0, "lseek");
    long got;
    size_t all = 0;
    while ((got = ::syscall(SYS_getdents64, fd, buffer.data(), buffer.size())) > 0) all += static_cast<size_t>(got);
    Must(got == 0 && all > 30'000, "getdents64");
  });
}

GUEST_BENCHMARK("files", "create_write_unlink") {
  const std::string path = run.scratch("small");
  const char text[] = "a small file, as compilers and version control write them by the thousand\n";
  run.Loop([&] {
    const int fd = Create(path);
    Must(::write(fd, text, sizeof text) == sizeof text, "write");
    Must(::close(fd) == 0, "close");
    Must(::unlink(path.c_str()) == 0, "unlink");
  });
}

GUEST_BENCHMARK("files", "rename") {
  const std::string one = run.scratch("one"), two = run.scratch("two");
  ::close(Create(one));
  run.Loop([&] {
    Must(::rename(one.c_str(), two.c_str()) == 0, "rename");
    Must(::rename(two.c_str(), one.c_str()) == 0, "rename");
  });
}

GUEST_BENCHMARK("files", "mkdir_rmdir") {
  const std::string path = run.scratch("folder");
  run.Loop([&] {
    Must(::mkdir(path.c_str(), 0755) == 0, "mkdir");
    Must(::rmdir(path.c_str()) == 0, "rmdir");
  });
}

}  // namespace sandbox::bench
