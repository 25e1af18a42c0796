#include "sentry/core/classic_bpf.h"

#include <array>
#include <vector>

namespace sandbox {
namespace {

constexpr uint32_t kMaxShift = 31;

bool IsPacketLoad(uint16_t code) {
  switch (code) {
    case BPF_LD | BPF_H | BPF_ABS:
    case BPF_LD | BPF_B | BPF_ABS:
    case BPF_LD | BPF_W | BPF_IND:
    case BPF_LD | BPF_H | BPF_IND:
    case BPF_LD | BPF_B | BPF_IND:
    case BPF_LDX | BPF_B | BPF_MSH:
      return true;
    default:
      return false;
  }
}

bool IsKnown(uint16_t code, BpfKind kind) {
  switch (code) {
    case BPF_LD | BPF_W | BPF_ABS:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_ALU | BPF_NEG:
    case BPF_JMP | BPF_JA:
      return true;
    default:
      break;
  }
  if (kind == BpfKind::kPacket && IsPacketLoad(code)) return true;
  const int op = BPF_OP(code);
  if ((code & ~(0xf0 | BPF_X)) == BPF_JMP) return op == BPF_JEQ || op == BPF_JGE || op == BPF_JGT || op == BPF_JSET;
  if ((code & ~(0xf0 | BPF_X)) != BPF_ALU) return false;
  switch (op) {
    case BPF_ADD:
    case BPF_SUB:
    case BPF_MUL:
    case BPF_DIV:
    case BPF_AND:
    case BPF_OR:
    case BPF_XOR:
    case BPF_LSH:
    case BPF_RSH:
      return true;
    case BPF_MOD:
      return kind == BpfKind::kPacket;
    default:
      return false;
  }
}

// Operands of one instruction at `at` of `size`.
Result<void> CheckOperands(const sock_filter& insn, size_t at, size_t size) {
  switch (insn.code) {
    case BPF_ALU | BPF_DIV | BPF_K:
    case BPF_ALU | BPF_MOD | BPF_K:
      if (insn.k == 0) return Err(EINVAL);
      return {};
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K:
      if (insn.k > kMaxShift) return Err(EINVAL);
      return {};
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
      if (insn.k >= BPF_MEMWORDS) return Err(EINVAL);
      return {};
    case BPF_JMP | BPF_JA:
      if (insn.k >= size - at - 1) return Err(EINVAL);
      return {};
    default:
      break;
  }
  if (BPF_CLASS(insn.code) == BPF_JMP && (at + insn.jt + 1 >= size || at + insn.jf + 1 >= size)) return Err(EINVAL);
  return {};
}

// Every scratch word must have been written on every way to a read of it.
Result<void> CheckScratch(std::span<const sock_filter> program) {
  // Words certainly written when control arrives at an instruction; all ones until somebody jumps there.
  std::vector<uint16_t> arrives(program.size(), 0xffff);
  uint16_t written = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& insn = program[at];
    written &= arrives[at];
    switch (insn.code) {
      case BPF_ST:
      case BPF_STX:
        written |= 1u << insn.k;
        break;
      case BPF_LD | BPF_MEM:
      case BPF_LDX | BPF_MEM:
        if (!(written & (1u << insn.k))) return Err(EINVAL);
        break;
      case BPF_JMP | BPF_JA:
        arrives[at + 1 + insn.k] &= written;
        written = 0xffff;
        break;
      default:
        if (BPF_CLASS(insn.code) != BPF_JMP) break;
        arrives[at + 1 + insn.jt] &= written;
        arrives[at + 1 + insn.jf] &= written;
        written = 0xffff;
        break;
    }
  }
  return {};
}

class Machine {
 public:
  explicit Machine(const BpfInput& input) : input_(input) {}

  std::optional<uint32_t> Run(std::span<const sock_filter> program) {
    for (size_t at = 0; at < program.size(); ++at) {
      const sock_filter& insn = program[at];
      switch (BPF_CLASS(insn.code)) {
        case BPF_RET:
          return BPF_RVAL(insn.code) == BPF_A ? a_ : insn.k;
        case BPF_JMP:
          at += Jump(insn);
          break;
        case BPF_ALU:
          if (!Compute(insn)) return 0;  // division by zero ends a program
          break;
        case BPF_LD:
        case BPF_LDX: {
          const auto value = Load(insn);
          if (!value) return std::nullopt;
          (BPF_CLASS(insn.code) == BPF_LD ? a_ : x_) = *value;
          break;
        }
        case BPF_ST:
          scratch_[insn.k] = a_;
          break;
        case BPF_STX:
          scratch_[insn.k] = x_;
          break;
        case BPF_MISC:
          BPF_MISCOP(insn.code) == BPF_TAX ? x_ = a_ : a_ = x_;
          break;
      }
    }
    return 0;  // not reached: the check demands a return at the end
  }

 private:
  std::optional<uint32_t> Load(const sock_filter& insn) const {
    const int bytes = BPF_SIZE(insn.code) == BPF_B ? 1 : BPF_SIZE(insn.code) == BPF_H ? 2 : 4;
    switch (BPF_MODE(insn.code)) {
      case BPF_ABS:
        return input_.Load(insn.k, bytes);
      case BPF_IND:
        return input_.Load(x_ + insn.k, bytes);
      case BPF_MSH: {
        const auto byte = input_.Load(insn.k, 1);
        if (!byte) return std::nullopt;
        return (*byte & 0xf) * 4;  // the length of an IPv4 header
      }
      case BPF_LEN:
        return input_.length();
      case BPF_MEM:
        return scratch_[insn.k];
      default:
        return insn.k;
    }
  }

  uint32_t Operand(const sock_filter& insn) const { return BPF_SRC(insn.code) == BPF_X ? x_ : insn.k; }

  size_t Jump(const sock_filter& insn) const {
    const uint32_t b = Operand(insn);
    switch (BPF_OP(insn.code)) {
      case BPF_JEQ:
        return a_ == b ? insn.jt : insn.jf;
      case BPF_JGT:
        return a_ > b ? insn.jt : insn.jf;
      case BPF_JGE:
        return a_ >= b ? insn.jt : insn.jf;
      case BPF_JSET:
        return a_ & b ? insn.jt : insn.jf;
      default:
        return insn.k;
    }
  }

  bool Compute(const sock_filter& insn) {
    const uint32_t b = Operand(insn);
    switch (BPF_OP(insn.code)) {
      case BPF_ADD:
        a_ += b;
        break;
      case BPF_SUB:
        a_ -= b;
        break;
      case BPF_MUL:
        a_ *= b;
        break;
      case BPF_DIV:
        if (b == 0) return false;
        a_ /= b;
        break;
      case BPF_MOD:
        if (b == 0) return false;
        a_ %= b;
        break;
      case BPF_AND:
        a_ &= b;
        break;
      case BPF_OR:
        a_ |= b;
        break;
      case BPF_XOR:
        a_ ^= b;
        break;
      case BPF_LSH:
        a_ <<= b & kMaxShift;
        break;
      case BPF_RSH:
        a_ >>= b & kMaxShift;
        break;
      case BPF_NEG:
        a_ = -a_;
        break;
    }
    return true;
  }

  const BpfInput& input_;
  uint32_t a_ = 0, x_ = 0;
  std::array<uint32_t, BPF_MEMWORDS> scratch_ = {};
};

}  // namespace

Result<void> CheckBpf(std::span<const sock_filter> program, BpfKind kind) {
  if (program.empty() || program.size() > BPF_MAXINSNS) return Err(EINVAL);
  for (size_t at = 0; at < program.size(); ++at) {
    if (!IsKnown(program[at].code, kind)) return Err(EINVAL);
    TRY(CheckOperands(program[at], at, program.size()));
  }
  if (BPF_CLASS(program.back().code) != BPF_RET) return Err(EINVAL);
  return CheckScratch(program);
}

std::optional<uint32_t> RunBpf(std::span<const sock_filter> program, const BpfInput& input) {
  return Machine(input).Run(program);
}

}  // namespace sandbox
