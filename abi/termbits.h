// Terminal settings as ioctl(2) passes them (asm-generic/termbits.h): the kernel's layout, which is not the C
// library's.
#pragma once

#include <termios.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace sandbox::abi {

// struct termios of the kernel (TCGETS).
struct Termios {
  static constexpr size_t kChars = 19;
  uint32_t iflag = ICRNL | IXON;
  uint32_t oflag = OPOST | ONLCR;
  uint32_t cflag = B38400 | CS8 | CREAD;
  uint32_t lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
  uint8_t line = 0;
  std::array<uint8_t, kChars> cc = DefaultChars();

  bool Input(uint32_t flag) const { return iflag & flag; }
  bool Output(uint32_t flag) const { return oflag & flag; }
  bool Local(uint32_t flag) const { return lflag & flag; }
  bool canonical() const { return Local(ICANON); }
  // A control character slot holding zero is disabled.
  bool Is(uint8_t c, int slot) const { return cc[slot] == c && c != 0; }

  static constexpr std::array<uint8_t, kChars> DefaultChars() {
    std::array<uint8_t, kChars> c{};
    c[VINTR] = 3, c[VQUIT] = 28, c[VERASE] = 127, c[VKILL] = 21, c[VEOF] = 4, c[VMIN] = 1, c[VSTART] = 17;
    c[VSTOP] = 19, c[VSUSP] = 26, c[VREPRINT] = 18, c[VDISCARD] = 15, c[VWERASE] = 23, c[VLNEXT] = 22;
    return c;
  }
};

// struct termios2 (TCGETS2).
struct Termios2 {
  Termios base;
  uint32_t input_speed = 38400;
  uint32_t output_speed = 38400;
};

}  // namespace sandbox::abi
