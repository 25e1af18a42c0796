// The host's terminal as one of the guest's: standard streams that are a terminal. The host's line discipline edits,
// echoes and turns ^C into a signal for runsc, which hands it to the guest's foreground group; sessions and process
// groups are the sandbox's own.
#pragma once

#include <sys/sysmacros.h>

#include <functional>

#include "sentry/fs/devpts/terminal.h"
#include "sentry/fs/host/host_file.h"

namespace sandbox {

// One terminal, however many donated descriptors refer to it.
class HostTerminal final : public Terminal {
 public:
  explicit HostTerminal(UniqueFd fd, uint64_t host_device) : fd_(std::move(fd)), host_device_(host_device) {}
  ~HostTerminal() override;
  uint64_t device() const override { return device_.load(); }  // the console's until it is shown
  // It has a number in a devpts; `released` runs when the terminal goes. Once, before guests know it.
  void ShownAs(uint32_t number, std::function<void()> released);
  bool shown() const { return released_ != nullptr; }
  void Hangup() override { hung_up_.store(true); }
  bool hung_up() const { return hung_up_.load(); }
  Result<FileRef> OpenTerminal(Context& context, const Path& path, int flags) override;
  uint64_t host_device() const { return host_device_; }

 private:
  const UniqueFd fd_;
  const uint64_t host_device_;
  std::atomic<uint64_t> device_{makedev(5, 1)};
  std::function<void()> released_;
  std::atomic<bool> hung_up_{false};
};

class HostTty final : public HostFile {
 public:
  HostTty(Path path, UniqueFd fd, int flags, RefPtr<HostTerminal> terminal);
  const RefPtr<HostTerminal>& terminal() const { return terminal_; }

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override;
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;
  Result<Attr> GetAttr(Context& context) override;
  std::string AnonymousName() const override { return "/dev/console"; }

 private:
  const RefPtr<HostTerminal> terminal_;
};

// The terminal behind a donated file (OpenDonated), to be the controlling one of the first process; null for other
// files.
RefPtr<HostTerminal> DonatedTerminal(const FileRef& file);

}  // namespace sandbox
