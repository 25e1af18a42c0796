#include "sentry/fs/devpts/line_discipline.h"

#include <signal.h>

#include <algorithm>

namespace sandbox {
namespace {

bool IsControl(uint8_t c) { return c < 0x20 || c == 0x7f; }
bool IsContinuation(uint8_t c) { return (c & 0xc0) == 0x80; }
bool IsWord(uint8_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c >= 0x80;
}

}  // namespace

void LineDiscipline::SetTermios(const abi::Termios& termios) {
  const bool was = termios_.canonical();
  termios_ = termios;
  if (!termios_.Input(IXON)) stopped_ = false;
  if (was == termios_.canonical()) return;
  if (was) {
    for (const Line& line : lines_) raw_ += line.text;
    raw_ += edit_;
    lines_.clear();
    edit_.clear();
    line_bytes_ = 0;
  } else if (!raw_.empty()) {
    line_bytes_ = raw_.size();
    lines_.push_back({std::exchange(raw_, {}), true});
  }
  literal_next_ = false;
}

// --- Keyboard side ---------------------------------------------------------------------------------------------------

size_t LineDiscipline::Input(std::string_view typed) {
  size_t taken = 0;
  for (const char c : typed) {
    // Canonical input beyond the limit is dropped by Store; a raw reader slows the writer down instead.
    if (!termios_.canonical() && raw_.size() >= kInputLimit) break;
    Receive(static_cast<uint8_t>(c));
    ++taken;
  }
  return taken;
}

void LineDiscipline::Receive(uint8_t c) {
  if (termios_.Input(ISTRIP)) c &= 0x7f;
  if (termios_.Input(IUCLC) && termios_.Local(IEXTEN) && c >= 'A' && c <= 'Z') c += 'a' - 'A';
  if (literal_next_) {
    literal_next_ = false;
    return ReceiveLiteral(c);
  }
  if (ReceiveFlow(c) || ReceiveSignal(c)) return;
  if (c == '\r') {
    if (termios_.Input(IGNCR)) return;
    if (termios_.Input(ICRNL)) c = '\n';
  } else if (c == '\n' && termios_.Input(INLCR)) {
    c = '\r';
  }
  if (termios_.canonical() && (ReceiveEdit(c) || ReceiveLineEnd(c))) return;
  ReceiveLiteral(c);
}

void LineDiscipline::ReceiveLiteral(uint8_t c) {
  if (edit_.empty()) edit_column_ = column_;
  if (termios_.Local(ECHO)) Echo(c);
  // A marked error begins with this byte, so the byte itself comes twice (termios(3), PARMRK).
  if (c == 0xff && termios_.Input(PARMRK)) Store(c);
  Store(c);
}

void LineDiscipline::Store(uint8_t c) {
  if (!termios_.canonical()) {
    raw_.push_back(static_cast<char>(c));
    return;
  }
  // One place is kept for the line end, so that an overlong line can still be finished.
  if (line_bytes_ + edit_.size() + 1 >= kInputLimit) {
    if (termios_.Input(IMAXBEL)) EchoRaw("\a");
    return;
  }
  edit_.push_back(static_cast<char>(c));
}

bool LineDiscipline::ReceiveFlow(uint8_t c) {
  if (!termios_.Input(IXON)) return false;
  if (termios_.Is(c, VSTART)) {
    Start();
    return true;
  }
  if (termios_.Is(c, VSTOP)) {
    Stop();
    return true;
  }
  if (stopped_ && termios_.Input(IXANY)) Start();
  return false;
}

void LineDiscipline::Raise(int signo, uint8_t c) {
  if (!termios_.Local(NOFLSH)) {
    FlushInput();
    output_.clear();
  }
  Start();
  if (termios_.Local(ECHO)) Echo(c);
  signals_.push_back(signo);
}

bool LineDiscipline::ReceiveSignal(uint8_t c) {
  if (!termios_.Local(ISIG)) return false;
  const int signo = termios_.Is(c, VINTR)   ? SIGINT
                    : termios_.Is(c, VQUIT) ? SIGQUIT
                    : termios_.Is(c, VSUSP) ? SIGTSTP
                                            : 0;
  if (signo == 0) return false;
  Raise(signo, c);
  return true;
}

bool LineDiscipline::ReceiveEdit(uint8_t c) {
  if (termios_.Is(c, VERASE)) {
    EraseOne(true);
    return true;
  }
  if (termios_.Is(c, VKILL)) {
    EraseLine();
    return true;
  }
  if (!termios_.Local(IEXTEN)) return false;
  if (termios_.Is(c, VWERASE)) {
    EraseWord();
    return true;
  }
  if (termios_.Is(c, VLNEXT)) {
    literal_next_ = true;
    if (termios_.Local(ECHO) && termios_.Local(ECHOCTL)) EchoRaw("^\b");
    return true;
  }
  if (termios_.Is(c, VREPRINT) && termios_.Local(ECHO)) {
    Reprint();
    return true;
  }
  return false;
}

bool LineDiscipline::ReceiveLineEnd(uint8_t c) {
  const bool newline = c == '\n';
  const bool eof = termios_.Is(c, VEOF);
  const bool other = termios_.Is(c, VEOL) || (termios_.Is(c, VEOL2) && termios_.Local(IEXTEN));
  if (!newline && !eof && !other) return false;
  if (newline && (termios_.Local(ECHO) || termios_.Local(ECHONL))) EchoRaw("\n");
  if (other && termios_.Local(ECHO)) Echo(c);
  if (!eof) edit_.push_back(static_cast<char>(c));
  line_bytes_ += edit_.size();
  lines_.push_back({std::exchange(edit_, {}), eof});
  edit_column_ = column_;
  return true;
}

// Columns the last character of the line takes on the screen.
size_t LineDiscipline::WidthOfLast() const {
  const auto c = static_cast<uint8_t>(edit_.back());
  if (c == '\t') {
    size_t column = edit_column_;
    for (const char raw : edit_.substr(0, edit_.size() - 1)) {
      const auto b = static_cast<uint8_t>(raw);
      if (b == '\t') {
        column += kTabStop - column % kTabStop;
      } else if (IsControl(b)) {
        column += termios_.Local(ECHOCTL) ? 2 : 0;
      } else if (!termios_.Input(IUTF8) || !IsContinuation(b)) {
        ++column;
      }
    }
    return kTabStop - column % kTabStop;
  }
  if (IsControl(c)) return termios_.Local(ECHOCTL) ? 2 : 0;
  return 1;
}

void LineDiscipline::EraseOne(bool echo) {
  if (edit_.empty()) return;
  const size_t width = WidthOfLast();
  const bool tab = edit_.back() == '\t';
  if (termios_.Input(IUTF8)) {
    while (edit_.size() > 1 && IsContinuation(edit_.back())) edit_.pop_back();
  }
  edit_.pop_back();
  if (!echo || !termios_.Local(ECHO)) return;
  if (!termios_.Local(ECHOE)) return Echo(termios_.cc[VERASE]);
  for (size_t i = 0; i < width; ++i) EchoRaw(tab ? "\b" : "\b \b");
}

void LineDiscipline::EraseWord() {
  bool seen_word = false;
  while (!edit_.empty()) {
    const bool word = IsWord(static_cast<uint8_t>(edit_.back()));
    if (seen_word && !word) break;
    seen_word = seen_word || word;
    EraseOne(true);
  }
}

void LineDiscipline::EraseLine() {
  if (edit_.empty()) return;
  const bool visible = termios_.Local(ECHO);
  if (visible && termios_.Local(ECHOK) && termios_.Local(ECHOKE) && termios_.Local(ECHOE)) {
    while (!edit_.empty()) EraseOne(true);
    return;
  }
  edit_.clear();
  if (!visible) return;
  Echo(termios_.cc[VKILL]);
  if (termios_.Local(ECHOK)) EchoRaw("\n");
}

void LineDiscipline::Reprint() {
  Echo(termios_.cc[VREPRINT]);
  EchoRaw("\n");
  for (const char c : edit_) Echo(static_cast<uint8_t>(c));
}

// --- Program's input -------------------------------------------------------------------------------------------------

size_t LineDiscipline::readable_bytes() const { return termios_.canonical() ? line_bytes_ : raw_.size(); }

std::string LineDiscipline::Take(size_t size, bool* end_of_file) {
  *end_of_file = false;
  if (!termios_.canonical()) {
    std::string out = raw_.substr(0, size);
    raw_.erase(0, out.size());
    return out;
  }
  if (lines_.empty()) return {};
  Line& line = lines_.front();
  if (line.text.empty()) {
    *end_of_file = line.eof;
    lines_.pop_front();
    return {};
  }
  std::string out = line.text.substr(0, size);
  line.text.erase(0, out.size());
  line_bytes_ -= out.size();
  if (line.text.empty()) lines_.pop_front();
  return out;
}

void LineDiscipline::PutBack(std::string_view bytes) {
  if (bytes.empty()) return;
  if (!termios_.canonical()) {
    raw_.insert(0, bytes);
    return;
  }
  line_bytes_ += bytes.size();
  const bool ended = bytes.back() == '\n';
  if (ended || lines_.empty()) {
    lines_.push_front({std::string(bytes), false});
  } else {
    lines_.front().text.insert(0, bytes);
  }
}

void LineDiscipline::FlushInput() {
  lines_.clear();
  edit_.clear();
  raw_.clear();
  line_bytes_ = 0;
}

// --- Output ----------------------------------------------------------------------------------------------------------

void LineDiscipline::Advance(uint8_t c) {
  if (c == '\n') {
    if (termios_.Output(ONLRET)) column_ = 0;
  } else if (c == '\r') {
    column_ = 0;
  } else if (c == '\b') {
    if (column_ > 0) --column_;
  } else if (c == '\t') {
    column_ += kTabStop - column_ % kTabStop;
  } else if (!IsControl(c) && !(termios_.Input(IUTF8) && IsContinuation(c))) {
    ++column_;
  }
}

// Queues one byte after output processing (Linux: do_output_char).
bool LineDiscipline::ProcessOutput(uint8_t c) {
  if (output_.size() >= kOutputLimit) return false;
  if (!termios_.Output(OPOST)) {
    output_.push_back(static_cast<char>(c));
    return true;
  }
  if (c == '\n' && termios_.Output(ONLCR)) {
    output_ += "\r\n";
    column_ = 0;
    return true;
  }
  if (c == '\r') {
    if (termios_.Output(ONOCR) && column_ == 0) return true;
    if (termios_.Output(OCRNL)) c = '\n';
  }
  if (c == '\t' && (termios_.oflag & TABDLY) == TAB3) {
    output_.append(kTabStop - column_ % kTabStop, ' ');
    Advance(c);
    return true;
  }
  if (termios_.Output(OLCUC) && c >= 'a' && c <= 'z') c -= 'a' - 'A';
  Advance(c);
  output_.push_back(static_cast<char>(c));
  return true;
}

size_t LineDiscipline::Output(std::string_view text) {
  if (stopped_) return 0;
  size_t taken = 0;
  while (taken < text.size() && ProcessOutput(static_cast<uint8_t>(text[taken]))) ++taken;
  return taken;
}

void LineDiscipline::EchoRaw(std::string_view text) {
  for (const char c : text) (void)ProcessOutput(static_cast<uint8_t>(c));  // echo that finds no room is lost
}

void LineDiscipline::Echo(uint8_t c) {
  if (termios_.Local(ECHOCTL) && IsControl(c) && c != '\t' && c != '\n') {
    const char shown[] = {'^', static_cast<char>(c ^ 0x40), 0};
    return EchoRaw(shown);
  }
  const char one[] = {static_cast<char>(c), 0};
  EchoRaw(std::string_view(one, 1));
}

std::string LineDiscipline::TakeOutput(size_t size) {
  std::string out = output_.substr(0, size);
  output_.erase(0, out.size());
  return out;
}

}  // namespace sandbox
