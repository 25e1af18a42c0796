// The zygote: the process that every fresh stub is forked from. It holds nothing but stub code, so forking it is cheap
// and its children start with an address space in which only the platform's region is mapped.
#pragma once

#include <linux/filter.h>
#include <sys/types.h>

#include <memory>
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

// A fresh stub, or one that will be: it comes up by itself, and waits at its socket for its first answer. No guest code
// has run in it.
class PoolStub {
 public:
  PoolStub(RefPtr<SharedPage> page, UniqueFd socket) : page_(std::move(page)), socket_(std::move(socket)) {}

  struct Report {
    pid_t pid = -1;
    UniqueFd listener;
  };
  // Waits until it is there; EAGAIN when it never will be.
  Result<Report> Await();
  const RefPtr<SharedPage>& page() const { return page_; }
  UniqueFd TakeSocket() { return std::move(socket_); }

 private:
  RefPtr<SharedPage> page_;
  UniqueFd socket_;
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
  // Has it fork a stub.
  Result<PoolStub> ForkStub() EXCLUDES(mu_);
  // The contents of a file of a process, which the confined sentry has no name for. ENOENT when the process is gone.
  Result<std::string> ReadProcess(pid_t pid, stub::ProcessFile file) EXCLUDES(mu_);
  // No more stubs; the zygote exits. Safe at any time.
  void Shutdown();

 private:
  Zygote(pid_t pid, UniqueFd socket) : pid_(pid), socket_(std::move(socket)) {}

  const pid_t pid_;
  Mutex mu_{LockRank::kLeaf};  // one request at a time; held over the zygote's answer, which needs nobody else
  UniqueFd socket_;
};

}  // namespace sandbox::platform::systrap
