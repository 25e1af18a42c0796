// HostFile: a descriptor donated by the host, most of all the sandbox's standard streams.
//
// The host description is shared with processes outside (the user's shell, the other end's owner), so O_NONBLOCK is
// never set on it: every transfer asks for RWF_NOWAIT, and where the host cannot do that, polls first. A regular file
// keeps the host's own offset, so that `{ runsc do a; b; } > file` works as it does natively.
#pragma once

#include "sentry/fs/host/host_notifier.h"
#include "sentry/vfs/file.h"

namespace sandbox {

class HostFile : public FileDescription {
 public:
  // `fd`'s access mode and O_APPEND are the guest's too.
  static Result<RefPtr<HostFile>> Make(UniqueFd fd);

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override;
  bool writes_all() const override { return !regular_; }
  bool seekable() const override { return regular_; }
  Result<int64_t> Seek(Context& context, int64_t offset, int whence) override;
  Result<void> Sync(Context& context, bool data_only) override;
  Result<void> Allocate(Context& context, int mode, int64_t offset, int64_t length) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  WaitQueue* wait_queue() override { return pollable_.can_wait() ? &pollable_.queue() : nullptr; }
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;
  Result<Attr> GetAttr(Context& context) override;
  Result<void> SetAttr(Context& context, const AttrChange& change) override;
  // /dev/stdout and the like. The host's description stays the same, so it cannot gain an access mode (EACCES).
  Result<FileRef> Reopen(Context& context, int flags) override;
  std::string AnonymousName() const override;
  BorrowedFd HostFd() const override { return regular_ ? fd_.borrow() : BorrowedFd(); }

 protected:
  HostFile(Path path, UniqueFd fd, int flags, uint32_t mode, bool shares_offset);
  int host_fd() const { return fd_.get(); }

 private:
  Result<size_t> ReadSome(void* data, size_t size, int64_t* offset);
  Result<size_t> WriteSome(const void* data, size_t size, int64_t* offset);
  void TakeHostOffset(int64_t* offset);
  void KeepHostOffset(const int64_t* offset);

  const UniqueFd fd_;
  const bool regular_;
  const bool
      shares_offset_;  // with others who have the host's description: host processes, and further donations of it
  int64_t host_offset_ = -1;            // as last seen or set; guarded by position_mutex()
  const uint32_t type_;                 // S_IFMT bits
  std::atomic<bool> can_nowait_{true};  // RWF_NOWAIT worked so far
  HostPollable pollable_;
};

// A file over a descriptor that the host donated. Terminals go to the opener that sentry/fs/devpts registers (it knows
// sessions, this layer does not).
Result<FileRef> OpenDonated(UniqueFd fd);
using DonatedTtyOpener = Result<FileRef> (*)(UniqueFd fd);
void SetDonatedTtyOpener(DonatedTtyOpener opener);

}  // namespace sandbox
