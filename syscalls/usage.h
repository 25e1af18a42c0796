// Usage in the structures guests read. Shared by wait.cc, rusage.cc.
#pragma once

#include <sys/resource.h>

#include "sentry/kernel/thread_group.h"

namespace sandbox::syscalls {

inline timeval ToTimeval(uint64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<suseconds_t>(ns % 1'000'000'000 / 1000)};
}

// struct rusage of the uapi has the layout of the C library's.
inline rusage ToRusage(const Usage& usage) {
  rusage out = {};
  out.ru_utime = ToTimeval(usage.user_ns);
  out.ru_stime = ToTimeval(usage.system_ns);
  out.ru_maxrss = static_cast<long>(usage.max_rss_bytes / 1024);
  out.ru_minflt = static_cast<long>(usage.minor_faults);
  out.ru_majflt = static_cast<long>(usage.major_faults);
  out.ru_nvcsw = static_cast<long>(usage.voluntary_switches);
  return out;
}

}  // namespace sandbox::syscalls
