// For tests of calls that a kernel may answer without entering it, once their sites are worth it.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "tests/util/guest.h"

namespace guest {

// Makes the call sites of this program worth rewriting.
class WarmUpEnvironment final : public testing::Environment {
 public:
  void SetUp() override {
    for (int i = 0; i < 20'000; ++i) syscall(SYS_getppid);
  }
};
[[maybe_unused]] inline const auto* const warm_environment = testing::AddGlobalTestEnvironment(new WarmUpEnvironment);

// Sets an action for its life.
struct Action {
  Action(int signo, void (*handler)(int, siginfo_t*, void*), int flags = 0) : signo_(signo) {
    struct sigaction action = {};
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    sigaction(signo, &action, &old_);
  }
  ~Action() { sigaction(signo_, &old_, nullptr); }
  const int signo_;
  struct sigaction old_;
};

inline std::atomic<int> handled;
inline void CountOne(int, siginfo_t*, void*) { ++handled; }

}  // namespace guest
