#include "bench/guest/harness.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace sandbox::bench {
namespace {

constexpr size_t kMostLatencies = 20'000;

std::vector<Row>& MutableRows() {
  static std::vector<Row> rows;
  return rows;
}

std::string current = "?";  // the running benchmark, for error lines

uint64_t Timed(const std::function<void(uint64_t)>& batch, uint64_t count) {
  const uint64_t began = Now();
  batch(count);
  return std::max<uint64_t>(Now() - began, 1);
}

// How many iterations last for `wanted` ns.
uint64_t Calibrate(const std::function<void(uint64_t)>& batch, uint64_t wanted) {
  uint64_t count = 1;
  for (;;) {
    const uint64_t took = Timed(batch, count);
    if (took >= wanted) return count;
    if (took >= wanted / 8) return count * wanted / took + 1;
    count *= took > wanted / 64 ? 4 : 8;
  }
}

std::string Percentiles(std::vector<uint64_t>& single) {
  std::sort(single.begin(), single.end());
  std::string text;
  for (const auto& [label, part] :
       {std::pair{"1", 0.01}, {"10", 0.1}, {"50", 0.5}, {"90", 0.9}, {"99", 0.99}, {"99.9", 0.999}}) {
    const auto index = std::min(single.size() - 1, static_cast<size_t>(part * static_cast<double>(single.size())));
    text += (text.empty() ? "\"" : ",\"") + std::string(label) + "\":" + std::to_string(single[index]);
  }
  return text;
}

}  // namespace

uint64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void Fail(const char* what) {
  const int error = errno;
  std::printf("{\"name\":\"%s\",\"error\":\"%s: %s\"}\n", current.c_str(), what, std::strerror(error));
  std::fflush(stdout);
  ::_exit(1);
}

Registration::Registration(const char* family, const char* name, void (*body)(Run&)) {
  MutableRows().push_back({family, name, body});
}

const std::vector<Row>& Rows() { return MutableRows(); }

Child::Child(const std::function<void()>& body) : pid_(::fork()) {
  Must(pid_ >= 0, "fork");
  if (pid_ == 0) {
    body();
    ::_exit(0);
  }
}

Child::~Child() {
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Run::Measure(const std::function<void(uint64_t)>& batch, uint64_t bytes) {
  current = name_;
  for (const uint64_t until = Now() + options_.warm_up_ns; Now() < until;) batch(1);
  const uint64_t count = options_.once ? 1 : Calibrate(batch, options_.sample_ns);
  std::string samples;
  for (int i = 0; i < options_.repetitions; ++i) {
    const double each = static_cast<double>(Timed(batch, count)) / static_cast<double>(count);
    char text[40];
    // bytes a nanosecond are GB/s; the report says MB/s.
    std::snprintf(text, sizeof text, "%s%.2f", i == 0 ? "" : ",",
                  bytes == 0 ? each : static_cast<double>(bytes) / each * 1e3);
    samples += text;
  }
  std::vector<uint64_t> single;
  const uint64_t until = Now() + options_.latency_ns;
  while (bytes == 0 && options_.latency_ns != 0 && single.size() < kMostLatencies && Now() < until) {
    single.push_back(Timed(batch, 1));
  }
  std::printf("{\"name\":\"%s\",\"unit\":\"%s\",\"better\":\"%s\",\"iterations\":%llu,\"samples\":[%s]", name_.c_str(),
              bytes == 0 ? "ns" : "MB/s", bytes == 0 ? "less" : "more", static_cast<unsigned long long>(count),
              samples.c_str());
  if (!single.empty()) std::printf(",\"percentiles\":{%s}", Percentiles(single).c_str());
  std::printf("}\n");
  std::fflush(stdout);
}

}  // namespace sandbox::bench
