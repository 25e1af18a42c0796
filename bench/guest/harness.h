// Benchmarks that run as guests: each file of this folder registers some, the program times them
// itself and prints one line of JSON a result. Plain Linux, static, so that the same file runs
// natively and under any runtime.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sandbox::bench {

// Nanoseconds on CLOCK_MONOTONIC.
uint64_t Now();

// Ends the benchmark with an error line that names `what` and errno. For the operations measured
// and their set-up alike.
[[noreturn]] void Fail(const char* what);
inline void Must(bool good, const char* what) {
  if (!good) [[unlikely]] {
    Fail(what);
  }
}

struct Options {
  std::string data;                  // folder made by `prepare`, which is only read
  std::string scratch;               // folder to write in
  int repetitions = 5;               // samples of each benchmark
  uint64_t sample_ns = 20'000'000;   // least length of a sample
  uint64_t latency_ns = 20'000'000;  // how long single operations are timed; 0: not at all
  // What goes before the first sample, so that samples of any length are those of a program that runs for a while.
  uint64_t warm_up_ns = 60'000'000;
  bool once = false;  // one iteration of everything, for the smoke test
};

// One benchmark while it runs. Its body sets up and calls Loop (or LoopBytes) once.
class Run {
 public:
  Run(std::string name, const Options& options) : name_(std::move(name)), options_(options) {}
  const Options& options() const { return options_; }
  std::string data(const std::string& name) const { return options_.data + "/" + name; }
  std::string scratch(const std::string& name) const { return options_.scratch + "/" + name; }

  // Repeats `op`; the result is nanoseconds a call, and percentiles of single calls.
  template <typename Op>
  void Loop(Op&& op) {
    Measure(
        [&](uint64_t count) {
          for (uint64_t i = 0; i < count; ++i) op();
        },
        0);
  }
  // The same for an operation that moves `bytes` each time; the result is MB/s.
  template <typename Op>
  void LoopBytes(uint64_t bytes, Op&& op) {
    Measure(
        [&](uint64_t count) {
          for (uint64_t i = 0; i < count; ++i) op();
        },
        bytes);
  }

 private:
  void Measure(const std::function<void(uint64_t)>& batch, uint64_t bytes);

  std::string name_;
  const Options& options_;
};

struct Registration {
  Registration(const char* family, const char* name, void (*body)(Run&));
};

// A child process that runs `body` and exits; killed and reaped by the destructor if it still
// lives.
class Child {
 public:
  explicit Child(const std::function<void()>& body);
  Child(const Child&) = delete;
  ~Child();

 private:
  int pid_;
};

#define BENCHMARK_CONCAT2(a, b) a##b
#define BENCHMARK_CONCAT(a, b) BENCHMARK_CONCAT2(a, b)
// GUEST_BENCHMARK("files", "stat_hit") { …Run& run… }
#define GUEST_BENCHMARK(family, name) GUEST_BENCHMARK_AS(family, name, BENCHMARK_CONCAT(Body, __LINE__))
#define GUEST_BENCHMARK_AS(family, name, body)                               \
  static void body(Run& run);                                                \
  static const Registration BENCHMARK_CONCAT(body, Row){family, name, body}; \
  static void body(Run& run)

// What the program was called with; see main.cc.
struct Row {
  const char* family;
  const char* name;
  void (*body)(Run&);
};
const std::vector<Row>& Rows();

}  // namespace sandbox::bench
