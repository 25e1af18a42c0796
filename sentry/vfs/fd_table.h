// Guest descriptors (Linux: struct files_struct). Shared by CLONE_FILES.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/file.h"

namespace sandbox {

// A guest's descriptor number. Never a host descriptor.
class Fd {
 public:
  constexpr Fd() = default;
  constexpr explicit Fd(int32_t number) : number_(number) {}
  constexpr int32_t number() const { return number_; }
  friend constexpr bool operator==(Fd, Fd) = default;

 private:
  int32_t number_ = -1;
};

class FdTable {
 public:
  FdTable() = default;
  ~FdTable();

  // EBADF when not open. Get refuses O_PATH descriptors (EBADF) as most calls do; GetAny takes them.
  Result<FileRef> Get(Fd fd) const;
  Result<FileRef> GetAny(Fd fd) const;
  // Lowest free number >= `from`; EMFILE at RLIMIT_NOFILE, EINVAL when `from` is beyond it.
  Result<Fd> Install(Context& context, FileRef file, bool close_on_exec, int32_t from = 0);
  // Two at once (pipe, socketpair): both or none.
  Result<std::pair<Fd, Fd>> InstallPair(Context& context, FileRef a, FileRef b, bool close_on_exec);
  // dup2/dup3: replaces what is there. EBADF beyond the limit.
  Result<void> InstallAt(Context& context, Fd fd, FileRef file, bool close_on_exec);
  // Removes and runs OnClose; its error is close(2)'s result, the descriptor is gone in any case.
  Result<void> Close(Context& context, Fd fd);
  Result<void> CloseRange(Context& context, uint32_t first, uint32_t last, bool set_cloexec_only);

  Result<bool> GetCloseOnExec(Fd fd) const;
  Result<void> SetCloseOnExec(Fd fd, bool on);
  void CloseOnExec(Context& context);

  RefPtr<FdTable> Fork() const;
  // Open numbers, ascending (/proc/self/fd).
  std::vector<int32_t> Numbers() const;
  // All of them, when the last task using the table exits.
  void CloseAll(Context& context);

 private:
  struct Entry {
    FileRef file;
    bool close_on_exec = false;
  };
  int32_t FindFree(int32_t from) const REQUIRES(mu_);
  void Put(int32_t fd, FileRef file, bool close_on_exec) REQUIRES(mu_);

  mutable Mutex mu_{LockRank::kFdTable};
  std::vector<Entry> entries_ GUARDED_BY(mu_);
  int32_t first_free_hint_ GUARDED_BY(mu_) = 0;  // nothing below it is free
};

}  // namespace sandbox
