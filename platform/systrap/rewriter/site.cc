#include "platform/systrap/rewriter/site.h"

#include <algorithm>
#include <cstring>

#include "base/guest_addr.h"
#include "platform/api/text_rewriter.h"

namespace sandbox::platform::systrap {
namespace {

constexpr size_t kLoadSize = 5;  // b8 imm32
constexpr uint32_t kMaxCall = 1024;
constexpr size_t kFunctionAlignment = 16;
// The longest instruction between a load and its syscall.
constexpr size_t kMaxBetween = 12;

// The instructions that check for an error, as compilers and assemblers of the C libraries and of Go write them:
// cmp $-4096 or $-4095 with %rax or %eax.
constexpr uint8_t kCmpRax[] = {0x48, 0x3d};
constexpr uint8_t kCmpEax[] = {0x3d};

bool StartsWith(std::span<const uint8_t> text, std::span<const uint8_t> bytes) {
  return text.size() >= bytes.size() && std::memcmp(text.data(), bytes.data(), bytes.size()) == 0;
}

// Size of an error check at the start of `text`, else 0.
size_t ErrorCheck(std::span<const uint8_t> text) {
  size_t opcode = 0;
  if (StartsWith(text, kCmpRax))
    opcode = sizeof(kCmpRax);
  else if (StartsWith(text, kCmpEax))
    opcode = sizeof(kCmpEax);
  if (opcode == 0 || text.size() < opcode + 4) return 0;
  const auto immediate = text.subspan(opcode, 4);
  const bool errors = immediate[0] <= 1 && immediate[1] == 0xf0 && immediate[2] == 0xff && immediate[3] == 0xff;
  return errors ? opcode + 4 : 0;
}

// Size of the padding instruction at the start of `text` (nop, int3, the nopl and nopw family), else 0.
size_t Padding(std::span<const uint8_t> text) {
  size_t at = 0;
  while (at < text.size() && at < 10 && (text[at] == 0x66 || text[at] == 0x2e)) ++at;
  if (at + 1 > text.size()) return 0;
  if (text[at] == 0x90 || (at == 0 && text[at] == 0xcc)) return at + 1;
  if (at + 3 > text.size() || text[at] != 0x0f || text[at + 1] != 0x1f) return 0;
  const uint8_t modrm = text[at + 2], mod = modrm >> 6, rm = modrm & 7;
  if (mod == 3 || ((modrm >> 3) & 7) != 0) return 0;
  return at + 3 + (rm == 4 ? 1 : 0) + (mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

// Whether nothing but padding lies between `at` and the next place where a function can start. At least two bytes:
// as many as the jump takes away behind `syscall; ret`.
bool PaddedToAlignment(std::span<const uint8_t> text, size_t at) {
  const size_t end = (at + kFunctionAlignment - 1) / kFunctionAlignment * kFunctionAlignment;
  if (end - at < 2 || end > text.size()) return false;
  while (at < end) {
    const size_t size = Padding(text.subspan(at));
    if (size == 0) return false;
    at += size;
  }
  return at == end;
}

struct Movable {
  size_t size = 0;             // 0: not one of those
  size_t displacement_at = 0;  // of four bytes from the instruction's end; 0 = none
};

// An instruction at the start of `text` that does the same at another place: what compilers put between the number of a
// call and the call, which is lea, mov and xor of registers.
Movable MovableInstruction(std::span<const uint8_t> text) {
  constexpr uint8_t kRexW = 8;
  const size_t opcode_at = !text.empty() && (text[0] & 0xf0) == 0x40 ? 1 : 0;
  if (opcode_at + 2 > text.size()) return {};
  const uint8_t rex = opcode_at == 1 ? text[0] : 0, opcode = text[opcode_at], modrm = text[opcode_at + 1];
  if (opcode >= 0xb8 && opcode <= 0xbf) return {(rex & kRexW) != 0 ? 0 : opcode_at + 5};
  const bool exclusive_or = opcode == 0x31 || opcode == 0x33, immediate = opcode == 0xc7;
  if (opcode != 0x8d && opcode != 0x89 && opcode != 0x8b && !exclusive_or && !immediate) return {};
  const uint8_t mod = modrm >> 6, rm = modrm & 7;
  if ((exclusive_or && mod != 3) || (immediate && (modrm >> 3 & 7) != 0) || (opcode == 0x8d && mod == 3)) return {};
  const bool sib = mod != 3 && rm == 4, relative = mod == 0 && rm == 5;
  if (sib && opcode_at + 3 > text.size()) return {};
  const bool base_only = mod == 0 && sib && (text[opcode_at + 2] & 7) == 5;
  const size_t displacement = mod == 1 ? 1 : mod == 2 || relative || base_only ? 4 : 0;
  const size_t displacement_at = opcode_at + 2 + (sib ? 1 : 0);
  return {displacement_at + displacement + (immediate ? 4 : 0), relative ? displacement_at : 0};
}

bool InOnePage(size_t start, size_t size) { return start / kPageSize == (start + size - 1) / kPageSize; }

}  // namespace

std::optional<Site> RecogniseLoad(std::span<const uint8_t> text, size_t at) {
  for (size_t between = 0; between <= kMaxBetween && at >= kLoadSize + between; ++between) {
    const size_t start = at - between - kLoadSize;
    if (text[start] != 0xb8) continue;
    uint32_t call;
    std::memcpy(&call, &text[start + 1], sizeof(call));
    if (call >= kMaxCall || !InOnePage(start, kLoadSize + between + kSyscallSize)) continue;
    Site site{Site::Kind::kLoad, start, between, false};
    if (between != 0) {
      const Movable moved = MovableInstruction(text.subspan(start + kLoadSize, between));
      if (moved.size != between) continue;
      site.displacement_at = moved.displacement_at;
    }
    return site;
  }
  return std::nullopt;
}

std::optional<Site> RecogniseTail(std::span<const uint8_t> text, size_t at) {
  const size_t behind = at + kSyscallSize;
  if (behind >= text.size() || !InOnePage(at, TextPatch::kSize)) return std::nullopt;
  if (const size_t size = ErrorCheck(text.subspan(behind)); size != 0 && InOnePage(at, kSyscallSize + size)) {
    return Site{Site::Kind::kTail, at, size, false};
  }
  if (text[behind] == 0xc3 && PaddedToAlignment(text, behind + 1)) return Site{Site::Kind::kTail, at, 1, true};
  return std::nullopt;
}

}  // namespace sandbox::platform::systrap
