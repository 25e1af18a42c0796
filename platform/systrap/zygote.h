// The zygote: the process that every fresh stub is forked from. It holds nothing but stub code, so forking it is cheap
// and its children start with an address space in which only the platform's region is mapped.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/api/call_input.h"
#include "platform/stub/zygote_request.h"
#include "platform/systrap/shared_page.h"
#include "platform/systrap/zygote_child.h"

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
  // `fds` without the socket.
  static Result<std::unique_ptr<Zygote>> Create(const std::vector<sock_filter>& filter, const InputTable& inputs,
                                                ZygoteFds fds);
  ~Zygote();

  pid_t pid() const { return pid_; }
  // Forks one stub and waits until it rings for the first time; the notification is still to be received.
  Result<PoolStub> ForkStub() EXCLUDES(mu_);
  // The contents of a file of a process, which the confined sentry has no name for. ENOENT when the process is gone.
  Result<std::string> ReadProcess(pid_t pid, stub::ProcessFile file) EXCLUDES(mu_);
  // No more stubs; the zygote exits. Safe at any time.
  void Shutdown();

 private:
  Zygote(pid_t pid, UniqueFd socket) : pid_(pid), socket_(std::move(socket)) {}

  // The answer's number; a descriptor beside it goes to `fd`.
  Result<int32_t> Ask(const stub::ZygoteRequest& request, std::span<const BorrowedFd> fds, UniqueFd* fd) EXCLUDES(mu_);

  const pid_t pid_;
  Mutex mu_{LockRank::kLeaf};  // one request at a time; held over the zygote's answer, which needs nobody else
  UniqueFd socket_;
};

}  // namespace sandbox::platform::systrap
