#include "sentry/kernel/seccomp_bpf.h"

#include <cstddef>
#include <cstring>

namespace sandbox {
namespace {

// The first `known` bytes of a call's data.
class CallInput final : public BpfInput {
 public:
  CallInput(const SeccompData& data, size_t known) : data_(data), known_(known) {}
  uint32_t length() const override { return sizeof(SeccompData); }
  std::optional<uint32_t> Load(uint32_t offset, int) const override {
    if (offset >= known_) return std::nullopt;
    uint32_t word;
    std::memcpy(&word, reinterpret_cast<const uint8_t*>(&data_) + offset, sizeof(word));
    return word;
  }

 private:
  const SeccompData& data_;
  const size_t known_;
};

}  // namespace

Result<void> CheckSeccompProgram(std::span<const sock_filter> program) {
  TRY(CheckBpf(program, BpfKind::kCall));
  for (const sock_filter& insn : program) {
    if (insn.code != (BPF_LD | BPF_W | BPF_ABS)) continue;
    if (insn.k >= sizeof(SeccompData) || insn.k % sizeof(uint32_t) != 0) return Err(EINVAL);
  }
  return {};
}

uint32_t RunSeccompProgram(std::span<const sock_filter> program, const SeccompData& data) {
  return *RunBpf(program, CallInput(data, sizeof(data)));
}

std::optional<uint32_t> ConstantSeccompVerdict(std::span<const sock_filter> program, int nr, uint32_t arch) {
  SeccompData data = {};
  data.nr = nr;
  data.arch = arch;
  return RunBpf(program, CallInput(data, offsetof(SeccompData, instruction_pointer)));
}

}  // namespace sandbox
