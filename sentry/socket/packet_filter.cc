#include "sentry/socket/packet_filter.h"

#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "base/host_sys.h"

namespace sandbox {
namespace {

constexpr auto kAncillary = static_cast<uint32_t>(SKF_AD_OFF);

class PacketInput final : public BpfInput {
 public:
  PacketInput(std::string_view packet, const PacketFacts& facts) : packet_(packet), facts_(facts) {}
  uint32_t length() const override { return static_cast<uint32_t>(packet_.size()); }
  std::optional<uint32_t> Load(uint32_t offset, int bytes) const override {
    if (offset >= kAncillary) return Fact(offset - kAncillary);
    if (offset > packet_.size() || static_cast<size_t>(bytes) > packet_.size() - offset) return std::nullopt;
    uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | static_cast<uint8_t>(packet_[offset + i]);
    return value;
  }

 private:
  std::optional<uint32_t> Fact(uint32_t which) const {
    switch (which) {
      case SKF_AD_PROTOCOL:
        return facts_.protocol;
      case SKF_AD_PKTTYPE:
        return facts_.direction;
      case SKF_AD_IFINDEX:
        return facts_.interface;
      case SKF_AD_HATYPE:
        return facts_.hardware;
      case SKF_AD_RANDOM: {
        uint32_t value = 0;
        (void)host::Random(&value, sizeof(value));
        return value;
      }
      default:
        return 0;  // marks, queues, VLANs: there are none
    }
  }

  const std::string_view packet_;
  const PacketFacts& facts_;
};

}  // namespace

Result<PacketFilterRef> PacketFilter::Read(Context& context, OptionIn value) {
  sock_fprog given;
  if (value.size() != sizeof(given)) return Err(EINVAL);
  std::memcpy(&given, value.data(), sizeof(given));
  if (given.filter == nullptr || given.len == 0 || given.len > BPF_MAXINSNS) return Err(EINVAL);
  const InPtr<sock_filter> from(GuestAddr(reinterpret_cast<uint64_t>(given.filter)));
  std::vector<sock_filter> program = TRY(from.ReadArray(context.memory(), given.len));
  TRY(CheckBpf(program, BpfKind::kPacket));
  for (const sock_filter& insn : program) {
    // Linux: the last offset that bpf_check_classic knows.
    const bool absolute = BPF_CLASS(insn.code) == BPF_LD && BPF_MODE(insn.code) == BPF_ABS;
    if (absolute && insn.k >= kAncillary && insn.k > kAncillary + SKF_AD_VLAN_TPID) return Err(EINVAL);
  }
  return MakeRef<const PacketFilter>(std::move(program));
}

size_t PacketFilter::Run(std::string_view packet, const PacketFacts& facts) const {
  return std::min<size_t>(RunBpf(program_, PacketInput(packet, facts)).value_or(0), packet.size());
}

}  // namespace sandbox
