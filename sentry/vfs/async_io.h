// Signals about readiness of one open file (fcntl(2): F_SETOWN, F_SETSIG, O_ASYNC; Linux: struct
// fown_struct and struct fasync_struct). Directory notifications and lease breaks are sent through
// the same owner.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/mutex.h"
#include "base/ref.h"
#include "sentry/core/wait_queue.h"

namespace sandbox {

class FileDescription;
using FileRef = RefPtr<FileDescription>;

// Whom the signals are for.
struct AsyncOwner {
  int type = 0;                // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
  int32_t id = 0;              // 0 = nobody
  uint32_t uid = 0, euid = 0;  // of who set it: the permission to send is checked against them
  // Sends `signo` (0 = SIGIO without details) with si_code `code` (POLL_IN…), si_band and si_fd. No
  // lock is held.
  std::function<void(int signo, int code, int64_t band, int fd)> send;
};

class AsyncIo {
 public:
  AsyncIo();
  ~AsyncIo();
  AsyncIo(const AsyncIo&) = delete;

  void SetOwner(AsyncOwner owner);
  void SetOwnerIfNone(AsyncOwner owner);
  AsyncOwner owner() const;
  int signal() const { return signal_.load(); }  // F_SETSIG; 0 = SIGIO
  void set_signal(int signo) { signal_.store(signo); }

  // O_ASYNC on: events of `file`, which this belongs to, become signals that name `fd`.
  void Enable(const FileRef& file, int fd);
  void Disable();
  // Urgent data of a socket becomes SIGURG for the owner, with O_ASYNC or without (socket(7)).
  void WatchUrgent(const FileRef& file);
  void SignalUrgent();
  // Sends one signal about `code` soon; see Defer.
  void Signal(int code, int fd);

 private:
  class Entry;
  mutable Mutex mu_{LockRank::kLeaf};
  AsyncOwner owner_ GUARDED_BY(mu_);
  std::atomic<int> signal_{0};
  Mutex entry_mu_{LockRank::kFile};
  std::unique_ptr<Entry> entry_ GUARDED_BY(entry_mu_);
  class UrgentEntry;
  std::unique_ptr<UrgentEntry> urgent_entry_ GUARDED_BY(entry_mu_);
};

}  // namespace sandbox
