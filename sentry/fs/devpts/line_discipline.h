// LineDiscipline: what happens between the keyboard and the program (Linux: drivers/tty/n_tty.c; termios(3)). Pure
// state without locks, files or tasks: the terminal feeds bytes in, takes bytes out, and sends the signals it asks for.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "abi/termbits.h"

namespace sandbox {

class LineDiscipline {
 public:
  const abi::Termios& termios() const { return termios_; }
  // A change of ICANON carries unread input over, as Linux does.
  void SetTermios(const abi::Termios& termios);

  // --- Keyboard side. ---
  // Takes typed bytes; returns how many (fewer when a raw reader does not keep up). Echo goes to the output, signals to
  // TakeSignals.
  size_t Input(std::string_view typed);
  std::vector<int> TakeSignals() { return std::exchange(signals_, {}); }

  // --- Program's input. ---
  // Bytes a read could return now: a line's, or all in raw mode.
  bool HasLine() const { return !lines_.empty(); }
  size_t readable_bytes() const;
  // Takes up to `size` bytes: of one line in canonical mode. `*end_of_file` for an EOF character on an empty line.
  std::string Take(size_t size, bool* end_of_file);
  // Returns bytes that could not be delivered.
  void PutBack(std::string_view bytes);
  void FlushInput();

  // --- Program's output. ---
  // Processes and queues; returns how many bytes of `text` were taken. Zero when stopped or full.
  size_t Output(std::string_view text);
  bool CanOutput() const { return !stopped_ && output_.size() < kOutputLimit; }
  size_t output_bytes() const { return output_.size(); }
  std::string TakeOutput(size_t size);
  void PutBackOutput(std::string_view bytes) { output_.insert(0, bytes); }
  void FlushOutput() { output_.clear(); }

  // Flow control: TCXONC, ^S and ^Q.
  void Stop() { stopped_ = true; }
  void Start() { stopped_ = false; }
  bool stopped() const { return stopped_; }
  // TCIOFF, TCION: sends the character to the other side.
  void SendChar(uint8_t c) { output_.push_back(static_cast<char>(c)); }

 private:
  static constexpr size_t kInputLimit = 4096;  // Linux: N_TTY_BUF_SIZE
  static constexpr size_t kOutputLimit = 16384;
  static constexpr int kTabStop = 8;

  // One line of canonical input; `eof` when it was ended by VEOF rather than a line end.
  struct Line {
    std::string text;
    bool eof = false;
  };

  void Receive(uint8_t c);
  void ReceiveLiteral(uint8_t c);
  bool ReceiveSignal(uint8_t c);
  bool ReceiveFlow(uint8_t c);
  bool ReceiveEdit(uint8_t c);
  bool ReceiveLineEnd(uint8_t c);
  void Store(uint8_t c);
  void Raise(int signo, uint8_t c);
  void EraseOne(bool echo);
  void EraseWord();
  void EraseLine();
  void Reprint();
  size_t WidthOfLast() const;

  void Echo(uint8_t c);
  void EchoRaw(std::string_view text);
  bool ProcessOutput(uint8_t c);
  void Advance(uint8_t c);

  abi::Termios termios_;
  std::deque<Line> lines_;
  size_t line_bytes_ = 0;  // of lines_
  std::string edit_;       // the line being typed
  std::string raw_;        // input when ICANON is off
  std::string output_;
  std::vector<int> signals_;
  bool literal_next_ = false;
  bool stopped_ = false;
  size_t column_ = 0;
  size_t edit_column_ = 0;  // where the line being typed began
};

}  // namespace sandbox
