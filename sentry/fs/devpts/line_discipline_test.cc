#include "sentry/fs/devpts/line_discipline.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace sandbox {
namespace {

std::string TakeLine(LineDiscipline& line, size_t size = 4096) {
  bool eof;
  return line.Take(size, &eof);
}

TEST(LineDisciplineTest, DeliversWholeLines) {
  LineDiscipline line;
  line.Input("ab");
  EXPECT_FALSE(line.HasLine());
  line.Input("c\rnext\n");
  EXPECT_EQ(TakeLine(line, 2), "ab");
  EXPECT_EQ(TakeLine(line), "c\n");
  EXPECT_EQ(TakeLine(line), "next\n");
  EXPECT_EQ(line.TakeOutput(100), "abc\r\nnext\r\n");
}

TEST(LineDisciplineTest, ErasesCharactersWordsAndLines) {
  LineDiscipline line;
  line.Input(
      "ab\x7f"
      "c\n");
  EXPECT_EQ(TakeLine(line), "ac\n");
  EXPECT_EQ(line.TakeOutput(100), "ab\b \bc\r\n");
  line.Input(
      "one two\x17"
      "2\n");
  EXPECT_EQ(TakeLine(line), "one 2\n");
  line.Input(
      "gone\x15"
      "kept\n");
  EXPECT_EQ(TakeLine(line), "kept\n");
  line.Input("\x7f\x7fx\n");
  EXPECT_EQ(TakeLine(line), "x\n");
}

TEST(LineDisciplineTest, ErasesUtf8AsOneCharacter) {
  LineDiscipline line;
  abi::Termios termios;
  termios.iflag |= IUTF8;
  line.SetTermios(termios);
  line.Input("a\xc3\xa4\x7f\n");
  EXPECT_EQ(TakeLine(line), "a\n");
}

TEST(LineDisciplineTest, SignalsFlushAndEcho) {
  LineDiscipline line;
  line.Input("half\x03");
  EXPECT_EQ(line.TakeSignals(), std::vector<int>{SIGINT});
  EXPECT_EQ(line.TakeOutput(100), "^C");
  line.Input("\n");
  EXPECT_EQ(TakeLine(line), "\n");
  line.Input("\x1a\x1c");
  EXPECT_EQ(line.TakeSignals(), (std::vector<int>{SIGTSTP, SIGQUIT}));
}

TEST(LineDisciplineTest, EndOfFileOnAnEmptyLine) {
  LineDiscipline line;
  line.Input("tail\x04\x04");
  bool eof = false;
  EXPECT_EQ(line.Take(100, &eof), "tail");
  EXPECT_FALSE(eof);
  EXPECT_TRUE(line.HasLine());
  EXPECT_EQ(line.Take(100, &eof), "");
  EXPECT_TRUE(eof);
}

TEST(LineDisciplineTest, LiteralNextTakesControlCharacters) {
  LineDiscipline line;
  line.Input("\x16\x03\n");
  EXPECT_TRUE(line.TakeSignals().empty());
  EXPECT_EQ(TakeLine(line), "\x03\n");
}

TEST(LineDisciplineTest, FlowControlStopsOutput) {
  LineDiscipline line;
  line.Input("\x13");
  EXPECT_FALSE(line.CanOutput());
  EXPECT_EQ(line.Output("x"), 0u);
  line.Input("\x11");
  EXPECT_EQ(line.Output("x"), 1u);
}

TEST(LineDisciplineTest, RawModeHandsOutEverything) {
  LineDiscipline line;
  abi::Termios termios;
  termios.lflag = 0;
  termios.iflag = 0;
  termios.oflag = 0;
  line.SetTermios(termios);
  line.Input("\x03\x7f\r");
  EXPECT_EQ(TakeLine(line), "\x03\x7f\r");
  EXPECT_EQ(line.Output("a\n"), 2u);
  EXPECT_EQ(line.TakeOutput(10), "a\n");
}

TEST(LineDisciplineTest, ModeChangeKeepsInput) {
  LineDiscipline line;
  line.Input("line\nhalf");
  abi::Termios raw;
  raw.lflag &= ~ICANON;
  line.SetTermios(raw);
  EXPECT_EQ(TakeLine(line), "line\nhalf");
}

TEST(LineDisciplineTest, BoundsWhatIsTyped) {
  LineDiscipline line;
  line.Input(std::string(100000, 'x'));
  line.Input("\n");
  EXPECT_LE(TakeLine(line, 1 << 20).size(), 4096u);
  abi::Termios raw;
  raw.lflag = 0;
  line.SetTermios(raw);
  EXPECT_EQ(line.Input(std::string(100000, 'x')), 4096u);
}

}  // namespace
}  // namespace sandbox
