#include "sentry/socket/net_sysctls.h"

#include <linux/capability.h>

#include <algorithm>
#include <charconv>
#include <utility>
#include <vector>

namespace sandbox {
namespace {

constexpr char kFirstPort[] = "net/ipv4/ip_unprivileged_port_start", kPingGroups[] = "net/ipv4/ping_group_range";

std::map<std::string, std::string>& Values() {
  static auto& values = *new std::map<std::string, std::string>{
      {"net/core/rmem_default", "212992"},
      {"net/core/rmem_max", "212992"},
      {"net/core/somaxconn", "4096"},
      {"net/core/wmem_default", "212992"},
      {"net/core/wmem_max", "212992"},
      {"net/ipv4/ip_forward", "0"},
      {"net/ipv4/ip_local_port_range", "32768\t60999"},
      {kFirstPort, "1024"},
      {kPingGroups, "1\t0"},
      {"net/ipv4/tcp_fin_timeout", "60"},
      {"net/ipv4/tcp_rmem", "4096\t131072\t6291456"},
      {"net/ipv4/tcp_sack", "1"},
      {"net/ipv4/tcp_wmem", "4096\t16384\t4194304"},
      {"net/ipv6/conf/all/disable_ipv6", "0"},
      {"net/unix/max_dgram_qlen", "512"},
  };
  return values;
}

// Numbers with white space between them.
std::pair<uint64_t, uint64_t> Range(const std::string& text) {
  std::pair<uint64_t, uint64_t> range = {1, 0};
  const auto first = std::from_chars(text.data(), text.data() + text.size(), range.first);
  const size_t at = text.find_first_not_of(" \t", static_cast<size_t>(first.ptr - text.data()));
  if (at != std::string::npos) (void)std::from_chars(text.data() + at, text.data() + text.size(), range.second);
  return range;
}

}  // namespace

const std::map<std::string, std::string>& NetSysctls() { return Values(); }

void SetNetSysctl(const std::string& path, const std::string& value) { Values()[path] = value; }

bool MayBind(Context& context, uint16_t port) {
  constexpr uint16_t kDefaultFirst = 1024;
  if (port == 0 || context.creds().HasIn(*context.net()->owner(), CAP_NET_BIND_SERVICE)) return true;
  return port >= (context.net()->initial() ? Range(Values()[kFirstPort]).first : kDefaultFirst);
}

bool MayPing(Context& context) {
  const auto range = Range(Values()[kPingGroups]);
  const auto within = [range](uint32_t gid) { return gid >= range.first && gid <= range.second; };
  const std::vector<uint32_t>& groups = context.creds().groups;
  return within(context.creds().egid) || std::any_of(groups.begin(), groups.end(), within);
}

}  // namespace sandbox
