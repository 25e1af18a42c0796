// Pty: a pseudo terminal pair (pty(7); Linux: drivers/tty/pty.c): the line discipline, who has it open, its window.
// The two files (pty_files.h) are thin views of it.
#pragma once

#include <functional>

#include "base/mutex.h"
#include "sentry/fs/devpts/line_discipline.h"
#include "sentry/fs/devpts/terminal.h"

namespace sandbox {

class Kernel;

class Pty final : public Terminal {
 public:
  // `released` runs when the last reference goes: the number may be used again.
  Pty(Kernel& kernel, uint32_t index, std::function<void()> released);
  ~Pty() override;

  uint32_t index() const { return index_; }
  uint64_t device() const override;
  void Hangup() override;
  Result<FileRef> OpenTerminal(Context& context, const Path& path, int flags) override;

  // --- Master side. Transfers as FileDescription's: EAGAIN instead of waiting. EIO when nobody has the slave open. ---
  Result<size_t> MasterRead(IoSequence& to);
  Result<size_t> MasterWrite(IoSequence& from);
  EventMask MasterReadiness();
  void CloseMaster();
  WaitQueue& master_queue() { return master_queue_; }
  void SetLocked(bool locked);
  bool locked() const;
  void SetPacketMode(bool on);
  bool packet_mode() const;

  // --- Slave side. `generation` is what OpenSlave gave: an older one was hung up. ---
  Result<uint64_t> OpenSlave();  // EIO when locked or the master is gone
  void CloseSlave();
  bool HungUp(uint64_t generation) const;
  Result<size_t> SlaveWrite(uint64_t generation, IoSequence& from);
  // Bytes a read may take now, and the settings that decide when it is enough.
  struct InputState {
    bool canonical;
    bool line_ready;
    size_t bytes;
    uint8_t min, time;
  };
  InputState input_state() const;
  Result<size_t> SlaveTake(IoSequence& to);
  EventMask SlaveReadiness(uint64_t generation);
  WaitQueue& slave_queue() { return slave_queue_; }

  // --- Settings, from both sides. ---
  abi::Termios termios() const;
  void SetTermios(const abi::Termios& termios);
  winsize window() const;
  void SetWindow(const winsize& window);
  void Flush(bool input, bool output);
  void SetStopped(bool stopped);
  void SendChar(int slot);
  bool tostop() const;
  size_t output_bytes() const;
  void Signal(int signo);  // to the foreground group

 private:
  static constexpr size_t kChunk = 4096;
  void NotifyAll();
  void PacketEventLocked(uint8_t bits) REQUIRES(mu_);

  Kernel& kernel_;
  const uint32_t index_;
  const std::function<void()> released_;
  mutable Mutex mu_{LockRank::kTty};
  LineDiscipline line_ GUARDED_BY(mu_);
  winsize window_ GUARDED_BY(mu_) = {};
  bool locked_ GUARDED_BY(mu_) = true;
  bool packet_ GUARDED_BY(mu_) = false;
  uint8_t packet_status_ GUARDED_BY(mu_) = 0;
  bool master_open_ GUARDED_BY(mu_) = true;
  int slaves_ GUARDED_BY(mu_) = 0;
  bool slave_left_ GUARDED_BY(mu_) = false;  // the last slave closed: the master reads EIO
  uint64_t generation_ GUARDED_BY(mu_) = 1;
  WaitQueue master_queue_, slave_queue_;
};

}  // namespace sandbox
