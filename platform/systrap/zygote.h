// The zygote: the process that every fresh stub is forked from. It holds nothing but stub code, so forking it is cheap
// and its children start with an address space in which only the platform's region is mapped.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/api/call_input.h"
#include "platform/systrap/shared_page.h"

namespace sandbox::platform::systrap {

// A stub stopped in its first doorbell (Bell::kHello), its listener in hand. No guest code has run in it.
struct PoolStub {
  pid_t pid = -1;
  RefPtr<SharedPage> page;
  UniqueFd listener;
};

class Zygote {
 public:
  // Forks. The caller is single threaded. Stubs lead no process group of their own but share the zygote's, so that
  // the reaper can wait for them without touching other children of the sentry.
  // `clock_page` as in PlatformOptions.
  static Result<std::unique_ptr<Zygote>> Create(const std::vector<sock_filter>& filter, const InputTable& inputs,
                                                BorrowedFd clock_page);
  ~Zygote();

  pid_t pid() const { return pid_; }
  // Forks one stub and waits until it rings for the first time; the notification is still to be received.
  Result<PoolStub> ForkStub() EXCLUDES(mu_);
  // No more stubs; the zygote exits. Safe at any time.
  void Shutdown();

 private:
  Zygote(pid_t pid, UniqueFd socket) : pid_(pid), socket_(std::move(socket)) {}

  const pid_t pid_;
  Mutex mu_{LockRank::kLeaf};  // one request at a time; held over the zygote's answer, which needs nobody else
  UniqueFd socket_;
};

}  // namespace sandbox::platform::systrap
