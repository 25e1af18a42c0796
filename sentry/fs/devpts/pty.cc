#include "sentry/fs/devpts/pty.h"

#include <signal.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>

#include "sentry/fs/devpts/pty_files.h"

namespace sandbox {
namespace {

constexpr uint32_t kSlaveMajor = 136;  // UNIX98_PTY_SLAVE_MAJOR
constexpr EventMask kEverything = kReadable | kWritable | kEventErr | kEventHup | kEventPri;

}  // namespace

Pty::Pty(Kernel& kernel, uint32_t index, std::function<void()> released)
    : kernel_(kernel), index_(index), released_(std::move(released)) {}

Pty::~Pty() { released_(); }

uint64_t Pty::device() const { return makedev(kSlaveMajor, index_); }

Result<FileRef> Pty::OpenTerminal(Context& context, const Path& path, int flags) {
  return OpenPtySlave(context, std::static_pointer_cast<Pty>(self()), path, flags | O_NOCTTY);
}

void Pty::NotifyAll() {
  slave_queue_.Notify(kEverything);
  master_queue_.Notify(kEverything);
}

void Pty::Hangup() {
  {
    MutexLock lock(mu_);
    ++generation_;
    line_.FlushInput();
  }
  NotifyAll();
}

void Pty::Signal(int signo) { JobControl::SignalForeground(kernel_, *this, signo); }

// --- Master ----------------------------------------------------------------------------------------------------------

Result<size_t> Pty::MasterRead(IoSequence& to) {
  if (to.empty()) return size_t{0};
  std::string out;
  bool was_full, packet;
  {
    MutexLock lock(mu_);
    packet = packet_;
    was_full = !line_.CanOutput();
    if (packet && packet_status_ != 0) {
      out.push_back(static_cast<char>(std::exchange(packet_status_, 0)));
    } else {
      out = line_.TakeOutput(std::min(to.remaining() - (packet && to.remaining() > 1 ? 1 : 0), kChunk));
      if (out.empty()) return slave_left_ ? Err(EIO) : Err(EAGAIN);
      if (packet) out.insert(out.begin(), TIOCPKT_DATA);
    }
  }
  const auto copied = to.CopyOut(out.data(), out.size());
  const size_t done = copied.ok() ? *copied : 0;
  if (done < out.size() && !packet) {
    MutexLock lock(mu_);
    line_.PutBackOutput(std::string_view(out).substr(done));
  }
  if (was_full) slave_queue_.Notify(kWritable);
  return done > 0 ? Result<size_t>(done) : Err(EFAULT);
}

Result<size_t> Pty::MasterWrite(IoSequence& from) {
  if (from.empty()) return size_t{0};
  char typed[kChunk];
  const size_t size = TRY(from.PeekIn(typed, std::min(from.remaining(), kChunk)));
  std::vector<int> signals;
  size_t taken;
  {
    MutexLock lock(mu_);
    taken = line_.Input(std::string_view(typed, size));
    signals = line_.TakeSignals();
  }
  from.Advance(taken);
  for (const int signo : signals) Signal(signo);
  if (taken == 0) return Err(EAGAIN);
  slave_queue_.Notify(kReadable | kWritable);
  master_queue_.Notify(kReadable);  // the echo
  return taken;
}

EventMask Pty::MasterReadiness() {
  MutexLock lock(mu_);
  EventMask events = 0;
  if (line_.output_bytes() > 0) events |= kReadable;
  if (packet_ && packet_status_ != 0) events |= kReadable | kEventPri;
  if (slave_left_) events |= kEventHup;
  if (line_.termios().canonical() || line_.readable_bytes() < kChunk) events |= kWritable;
  return events;
}

void Pty::CloseMaster() {
  {
    MutexLock lock(mu_);
    master_open_ = false;
    ++generation_;
  }
  JobControl::HangupSession(kernel_, *this);
  NotifyAll();
}

void Pty::SetLocked(bool locked) {
  MutexLock lock(mu_);
  locked_ = locked;
}

bool Pty::locked() const {
  MutexLock lock(mu_);
  return locked_;
}

void Pty::SetPacketMode(bool on) {
  MutexLock lock(mu_);
  packet_ = on;
  packet_status_ = 0;
}

bool Pty::packet_mode() const {
  MutexLock lock(mu_);
  return packet_;
}

void Pty::PacketEventLocked(uint8_t bits) {
  if (packet_) packet_status_ |= bits;
}

// --- Slave -----------------------------------------------------------------------------------------------------------

Result<uint64_t> Pty::OpenSlave() {
  MutexLock lock(mu_);
  if (!master_open_ || locked_) return Err(EIO);
  ++slaves_;
  slave_left_ = false;
  return generation_;
}

void Pty::CloseSlave() {
  {
    MutexLock lock(mu_);
    if (--slaves_ > 0) return;
    slave_left_ = true;
  }
  master_queue_.Notify(kEverything);
}

bool Pty::HungUp(uint64_t generation) const {
  MutexLock lock(mu_);
  return generation != generation_;
}

Result<size_t> Pty::SlaveWrite(uint64_t generation, IoSequence& from) {
  char text[kChunk];
  size_t done = 0;
  while (!from.empty()) {
    const auto size = from.PeekIn(text, std::min(from.remaining(), kChunk));
    if (!size.ok()) return done > 0 ? Result<size_t>(done) : size;
    size_t taken;
    {
      MutexLock lock(mu_);
      if (generation != generation_) return done > 0 ? Result<size_t>(done) : Err(EIO);
      taken = line_.Output(std::string_view(text, *size));
    }
    from.Advance(taken);
    done += taken;
    if (taken < *size) break;
  }
  if (done > 0) master_queue_.Notify(kReadable);
  return done > 0 || from.empty() ? Result<size_t>(done) : Err(EAGAIN);
}

Pty::InputState Pty::input_state() const {
  MutexLock lock(mu_);
  const abi::Termios& t = line_.termios();
  return {t.canonical(), line_.HasLine(), line_.readable_bytes(), t.cc[VMIN], t.cc[VTIME]};
}

// What is there now, of one line in canonical mode; EAGAIN when nothing is.
Result<size_t> Pty::SlaveTake(IoSequence& to) {
  std::string input;
  bool end_of_file, canonical;
  {
    MutexLock lock(mu_);
    canonical = line_.termios().canonical();
    if (canonical && !line_.HasLine()) return Err(EAGAIN);
    input = line_.Take(to.remaining(), &end_of_file);
    if (canonical && end_of_file) return size_t{0};
  }
  if (input.empty()) return Err(EAGAIN);
  const auto copied = to.CopyOut(input.data(), input.size());
  const size_t done = copied.ok() ? *copied : 0;
  if (done < input.size()) {
    MutexLock lock(mu_);
    line_.PutBack(std::string_view(input).substr(done));
  }
  if (!canonical) master_queue_.Notify(kWritable);
  return done > 0 ? Result<size_t>(done) : Err(EFAULT);
}

EventMask Pty::SlaveReadiness(uint64_t generation) {
  MutexLock lock(mu_);
  if (generation != generation_) return kReadable | kWritable | kEventErr | kEventHup;
  EventMask events = line_.CanOutput() ? kWritable : 0;
  const abi::Termios& t = line_.termios();
  // Linux: input_available_p(tty, poll).
  const size_t enough = t.cc[VTIME] == 0 && t.cc[VMIN] > 0 ? t.cc[VMIN] : 1;
  if (t.canonical() ? line_.HasLine() : line_.readable_bytes() >= enough) events |= kReadable;
  return events;
}

// --- Settings --------------------------------------------------------------------------------------------------------

abi::Termios Pty::termios() const {
  MutexLock lock(mu_);
  return line_.termios();
}

void Pty::SetTermios(const abi::Termios& termios) {
  {
    MutexLock lock(mu_);
    const bool flow_before = line_.termios().Input(IXON);
    line_.SetTermios(termios);
    if (flow_before != termios.Input(IXON)) PacketEventLocked(flow_before ? TIOCPKT_NOSTOP : TIOCPKT_DOSTOP);
  }
  NotifyAll();
}

winsize Pty::window() const {
  MutexLock lock(mu_);
  return window_;
}

void Pty::SetWindow(const winsize& window) {
  {
    MutexLock lock(mu_);
    if (std::memcmp(&window_, &window, sizeof(window)) == 0) return;
    window_ = window;
  }
  Signal(SIGWINCH);
}

void Pty::Flush(bool input, bool output) {
  {
    MutexLock lock(mu_);
    if (input) line_.FlushInput();
    if (output) line_.FlushOutput();
    PacketEventLocked((input ? TIOCPKT_FLUSHREAD : 0) | (output ? TIOCPKT_FLUSHWRITE : 0));
  }
  NotifyAll();
}

void Pty::SetStopped(bool stopped) {
  {
    MutexLock lock(mu_);
    stopped ? line_.Stop() : line_.Start();
    PacketEventLocked(stopped ? TIOCPKT_STOP : TIOCPKT_START);
  }
  NotifyAll();
}

void Pty::SendChar(int slot) {
  {
    MutexLock lock(mu_);
    if (const uint8_t c = line_.termios().cc[slot]) line_.SendChar(c);
  }
  master_queue_.Notify(kReadable);
}

bool Pty::tostop() const {
  MutexLock lock(mu_);
  return line_.termios().Local(TOSTOP);
}

size_t Pty::output_bytes() const {
  MutexLock lock(mu_);
  return line_.output_bytes();
}

}  // namespace sandbox
