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
      {kFirstPort, "1024"},
      {kPingGroups, "1\t0"},
      {"net/core/busy_poll", "0"},
      {"net/core/busy_read", "0"},
      {"net/core/default_qdisc", "pfifo_fast"},
      {"net/core/dev_weight", "64"},
      {"net/core/max_skb_frags", "17"},
      {"net/core/message_burst", "10"},
      {"net/core/message_cost", "5"},
      {"net/core/netdev_budget", "300"},
      {"net/core/netdev_max_backlog", "1000"},
      {"net/core/optmem_max", "131072"},
      {"net/core/rmem_default", "212992"},
      {"net/core/rmem_max", "212992"},
      {"net/core/somaxconn", "4096"},
      {"net/core/wmem_default", "212992"},
      {"net/core/wmem_max", "212992"},
      {"net/ipv4/conf/all/accept_local", "0"},
      {"net/ipv4/conf/all/forwarding", "0"},
      {"net/ipv4/conf/all/rp_filter", "0"},
      {"net/ipv4/conf/default/forwarding", "0"},
      {"net/ipv4/conf/default/rp_filter", "0"},
      {"net/ipv4/conf/lo/forwarding", "0"},
      {"net/ipv4/conf/lo/rp_filter", "0"},
      {"net/ipv4/icmp_echo_ignore_all", "0"},
      {"net/ipv4/icmp_echo_ignore_broadcasts", "1"},
      {"net/ipv4/icmp_ratelimit", "1000"},
      {"net/ipv4/icmp_ratemask", "6168"},
      {"net/ipv4/igmp_max_memberships", "20"},
      {"net/ipv4/igmp_max_msf", "10"},
      {"net/ipv4/ip_default_ttl", "64"},
      {"net/ipv4/ip_forward", "0"},
      {"net/ipv4/ip_local_port_range", "32768\t60999"},
      {"net/ipv4/ip_local_reserved_ports", ""},
      {"net/ipv4/ip_no_pmtu_disc", "0"},
      {"net/ipv4/ip_nonlocal_bind", "0"},
      {"net/ipv4/tcp_abort_on_overflow", "0"},
      {"net/ipv4/tcp_adv_win_scale", "1"},
      {"net/ipv4/tcp_allowed_congestion_control", "reno cubic"},
      {"net/ipv4/tcp_available_congestion_control", "reno cubic"},
      {"net/ipv4/tcp_congestion_control", "cubic"},
      {"net/ipv4/tcp_dsack", "1"},
      {"net/ipv4/tcp_ecn", "2"},
      {"net/ipv4/tcp_fastopen", "1"},
      {"net/ipv4/tcp_fin_timeout", "60"},
      {"net/ipv4/tcp_keepalive_intvl", "75"},
      {"net/ipv4/tcp_keepalive_probes", "9"},
      {"net/ipv4/tcp_keepalive_time", "7200"},
      {"net/ipv4/tcp_max_orphans", "131072"},
      {"net/ipv4/tcp_max_syn_backlog", "2048"},
      {"net/ipv4/tcp_max_tw_buckets", "131072"},
      {"net/ipv4/tcp_moderate_rcvbuf", "1"},
      {"net/ipv4/tcp_mtu_probing", "0"},
      {"net/ipv4/tcp_no_metrics_save", "0"},
      {"net/ipv4/tcp_orphan_retries", "0"},
      {"net/ipv4/tcp_retries1", "3"},
      {"net/ipv4/tcp_retries2", "15"},
      {"net/ipv4/tcp_rmem", "4096\t131072\t6291456"},
      {"net/ipv4/tcp_sack", "1"},
      {"net/ipv4/tcp_slow_start_after_idle", "1"},
      {"net/ipv4/tcp_syn_retries", "6"},
      {"net/ipv4/tcp_synack_retries", "5"},
      {"net/ipv4/tcp_syncookies", "1"},
      {"net/ipv4/tcp_timestamps", "1"},
      {"net/ipv4/tcp_tw_reuse", "2"},
      {"net/ipv4/tcp_window_scaling", "1"},
      {"net/ipv4/tcp_wmem", "4096\t16384\t4194304"},
      {"net/ipv4/udp_rmem_min", "4096"},
      {"net/ipv4/udp_wmem_min", "4096"},
      {"net/ipv6/bindv6only", "0"},
      {"net/ipv6/conf/all/disable_ipv6", "0"},
      {"net/ipv6/conf/all/forwarding", "0"},
      {"net/ipv6/conf/default/disable_ipv6", "0"},
      {"net/ipv6/conf/default/forwarding", "0"},
      {"net/ipv6/conf/lo/disable_ipv6", "0"},
      {"net/ipv6/conf/lo/forwarding", "0"},
      {"net/ipv6/ip_nonlocal_bind", "0"},
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
