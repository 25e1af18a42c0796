// System calls that do next to nothing: what the way in and out of the kernel costs.
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench/guest/harness.h"

namespace sandbox::bench {

GUEST_BENCHMARK("calls", "getpid") {
  const long pid = ::getpid();
  run.Loop([&] { Must(::syscall(SYS_getpid) == pid, "getpid"); });
}

GUEST_BENCHMARK("calls", "gettid") {
  const long tid = ::syscall(SYS_gettid);
  run.Loop([&] { Must(::syscall(SYS_gettid) == tid, "gettid"); });
}

GUEST_BENCHMARK("calls", "getuid") {
  const long uid = ::getuid();
  run.Loop([&] { Must(::syscall(SYS_getuid) == uid, "getuid"); });
}

GUEST_BENCHMARK("calls", "clock_gettime_raw") {
  timespec now;
  run.Loop([&] { Must(::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) == 0, "clock_gettime"); });
}

GUEST_BENCHMARK("calls", "clock_gettime_vdso") {
  timespec now;
  run.Loop([&] { Must(::clock_gettime(CLOCK_MONOTONIC, &now) == 0, "clock_gettime"); });
}

GUEST_BENCHMARK("calls", "lseek") {
  const int fd = ::open(run.data("file").c_str(), O_RDONLY);
  Must(fd >= 0, "open");
  run.Loop([&] { Must(::lseek(fd, 100, SEEK_SET) == 100, "lseek"); });
}

GUEST_BENCHMARK("calls", "fcntl_getfd") {
  run.Loop([] { Must(::fcntl(1, F_GETFD) == 0, "fcntl"); });
}

GUEST_BENCHMARK("calls", "sched_yield") {
  run.Loop([] { Must(::sched_yield() == 0, "sched_yield"); });
}

}  // namespace sandbox::bench
