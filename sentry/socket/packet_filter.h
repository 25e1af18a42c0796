// A socket's classic BPF filter (socket(7), SO_ATTACH_FILTER; Linux: sk_filter): what arrives is kept, cut or dropped.
#pragma once

#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/classic_bpf.h"
#include "sentry/core/context.h"
#include "sentry/socket/options.h"

namespace sandbox {

// What a filter may ask beside the bytes (SKF_AD_*).
struct PacketFacts {
  uint16_t protocol = 0;   // ETH_P_*
  uint8_t direction = 0;   // PACKET_HOST …
  uint16_t interface = 0;  // index
  uint16_t hardware = 0;   // ARPHRD_*
};

class PacketFilter {
 public:
  // Of a struct sock_fprog that the guest gave: EINVAL, EFAULT.
  static Result<RefPtr<const PacketFilter>> Read(Context& context, OptionIn value);
  explicit PacketFilter(std::vector<sock_filter> program) : program_(std::move(program)) {}

  // How many bytes of the packet are kept; 0 = it is dropped.
  size_t Run(std::string_view packet, const PacketFacts& facts) const;
  const std::vector<sock_filter>& program() const { return program_; }

 private:
  const std::vector<sock_filter> program_;
};
using PacketFilterRef = RefPtr<const PacketFilter>;

}  // namespace sandbox
