#include "sentry/fs/sys/sys_net.h"

#include <dirent.h>
#include <linux/if.h>

#include <array>
#include <optional>

#include "base/log.h"
#include "sentry/socket/interfaces.h"

namespace sandbox {
namespace {

using synthetic::AddDirectory;
using synthetic::MakeText;
using synthetic::StaticDirectory;

std::optional<NetInterface> Find(Context& context, std::string_view name) {
  for (NetInterface& interface : CurrentNetState(context).interfaces) {
    if (interface.name == name) return std::move(interface);
  }
  return std::nullopt;
}

std::string HardwareText(const std::array<uint8_t, 6>& address) {
  std::string text;
  for (const uint8_t byte : address) text += StrPrintf(text.empty() ? "%02x" : ":%02x", byte);
  return text;
}

// Linux: operstates of net/core/net-sysfs.c.
std::string StateText(uint8_t state) {
  static constexpr std::array<const char*, 7> kNames = {"unknown", "notpresent", "down", "lowerlayerdown",
                                                        "testing", "dormant",    "up"};
  return state < kNames.size() ? kNames[state] : kNames[0];
}

struct Attribute {
  const char* name;
  Result<std::string> (*text)(const NetInterface& interface);
};

Result<std::string> Zero(const NetInterface&) { return std::string("0"); }
// Only while it is up, and virtual ones have no speed.
Result<std::string> Invalid(const NetInterface&) { return Err(EINVAL); }

constexpr std::array<Attribute, 24> kAttributes = {{
    {"addr_assign_type", &Zero},
    {"addr_len", [](const NetInterface& one) -> Result<std::string> { return std::to_string(one.hardware.size()); }},
    {"address", [](const NetInterface& one) -> Result<std::string> { return HardwareText(one.hardware); }},
    {"broadcast", [](const NetInterface& one) -> Result<std::string> { return HardwareText(one.broadcast); }},
    {"carrier",
     [](const NetInterface& one) -> Result<std::string> {
       if (!(one.flags & IFF_UP)) return Err(EINVAL);
       return std::string(one.flags & IFF_LOWER_UP ? "1" : "0");
     }},
    {"carrier_changes", &Zero},
    {"dev_id", [](const NetInterface&) -> Result<std::string> { return std::string("0x0"); }},
    {"dev_port", &Zero},
    {"dormant", &Zero},
    {"duplex", &Invalid},
    {"flags",
     [](const NetInterface& one) -> Result<std::string> {
       // What only the kernel keeps (IFF_RUNNING, IFF_LOWER_UP …) is not among dev->flags.
       constexpr uint32_t kShown = IFF_UP | IFF_BROADCAST | IFF_DEBUG | IFF_LOOPBACK | IFF_POINTOPOINT |
                                   IFF_NOTRAILERS | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_MASTER | IFF_SLAVE |
                                   IFF_MULTICAST | IFF_PORTSEL | IFF_AUTOMEDIA | IFF_DYNAMIC;
       return StrPrintf("0x%x", one.flags & kShown);
     }},
    {"ifalias", [](const NetInterface&) -> Result<std::string> { return std::string(); }},
    {"ifindex", [](const NetInterface& one) -> Result<std::string> { return std::to_string(one.index); }},
    {"iflink",
     [](const NetInterface& one) -> Result<std::string> {
       return std::to_string(one.link != 0 ? one.link : one.index);
     }},
    {"link_mode", &Zero},
    {"mtu", [](const NetInterface& one) -> Result<std::string> { return std::to_string(one.mtu); }},
    {"netdev_group", &Zero},
    {"operstate", [](const NetInterface& one) -> Result<std::string> { return StateText(one.operational); }},
    {"proto_down", &Zero},
    {"speed", &Invalid},
    {"testing", &Zero},
    {"tx_queue_len", [](const NetInterface& one) -> Result<std::string> { return std::to_string(one.queue_length); }},
    {"type", [](const NetInterface& one) -> Result<std::string> { return std::to_string(one.type); }},
    {"uevent",
     [](const NetInterface& one) -> Result<std::string> {
       return "INTERFACE=" + one.name + "\nIFINDEX=" + std::to_string(one.index);
     }},
}};

struct Counter {
  const char* name;
  __u64 rtnl_link_stats64::*value;
};
constexpr std::array<Counter, 23> kCounters = {{{"collisions", &rtnl_link_stats64::collisions},
                                                {"multicast", &rtnl_link_stats64::multicast},
                                                {"rx_bytes", &rtnl_link_stats64::rx_bytes},
                                                {"rx_compressed", &rtnl_link_stats64::rx_compressed},
                                                {"rx_crc_errors", &rtnl_link_stats64::rx_crc_errors},
                                                {"rx_dropped", &rtnl_link_stats64::rx_dropped},
                                                {"rx_errors", &rtnl_link_stats64::rx_errors},
                                                {"rx_fifo_errors", &rtnl_link_stats64::rx_fifo_errors},
                                                {"rx_frame_errors", &rtnl_link_stats64::rx_frame_errors},
                                                {"rx_length_errors", &rtnl_link_stats64::rx_length_errors},
                                                {"rx_missed_errors", &rtnl_link_stats64::rx_missed_errors},
                                                {"rx_nohandler", &rtnl_link_stats64::rx_nohandler},
                                                {"rx_over_errors", &rtnl_link_stats64::rx_over_errors},
                                                {"rx_packets", &rtnl_link_stats64::rx_packets},
                                                {"tx_aborted_errors", &rtnl_link_stats64::tx_aborted_errors},
                                                {"tx_bytes", &rtnl_link_stats64::tx_bytes},
                                                {"tx_carrier_errors", &rtnl_link_stats64::tx_carrier_errors},
                                                {"tx_compressed", &rtnl_link_stats64::tx_compressed},
                                                {"tx_dropped", &rtnl_link_stats64::tx_dropped},
                                                {"tx_errors", &rtnl_link_stats64::tx_errors},
                                                {"tx_fifo_errors", &rtnl_link_stats64::tx_fifo_errors},
                                                {"tx_heartbeat_errors", &rtnl_link_stats64::tx_heartbeat_errors},
                                                {"tx_packets", &rtnl_link_stats64::tx_packets}}};

// Reads of an interface that went away meanwhile fail as on Linux.
template <typename F>
void AddValue(synthetic::Fs& fs, StaticDirectory& directory, const char* file, const std::string& interface, F text) {
  directory.Add(file, MakeText(fs, [interface, text](Context& context) -> Result<std::string> {
                  const auto now = Find(context, interface);
                  if (!now) return Err(ENODEV);
                  return TRY(text(*now)) + "\n";
                }));
}

synthetic::NodeRef MakeInterface(synthetic::Fs& fs, const std::string& name) {
  auto directory = MakeRef<StaticDirectory>(fs, 0755);
  for (const Attribute& attribute : kAttributes) AddValue(fs, *directory, attribute.name, name, attribute.text);
  const auto statistics = AddDirectory(fs, *directory, "statistics", 0755);
  for (const Counter& counter : kCounters) {
    AddValue(fs, *statistics, counter.name, name, [&counter](const NetInterface& one) -> Result<std::string> {
      return std::to_string(one.statistics.*counter.value);
    });
  }
  directory->Add("subsystem", MakeRef<synthetic::Symlink>(fs, std::string("../../../../class/net")));
  return directory;
}

// One entry for each interface: its directory, or a link to that.
class InterfacesDirectory final : public StaticDirectory {
 public:
  InterfacesDirectory(synthetic::Fs& fs, bool links) : StaticDirectory(fs, 0755), owner_(fs), links_(links) {}
  Result<InodeRef> Revalidate(Context& context, std::string_view name, const InodeRef& cached) override {
    if (!Find(context, name)) return Err(ENOENT);
    return cached;
  }

 protected:
  Result<InodeRef> FindDynamic(Context& context, std::string_view name) override {
    if (!Find(context, name)) return Err(ENOENT);
    if (!links_) return InodeRef(MakeInterface(owner_, std::string(name)));
    return InodeRef(MakeRef<synthetic::Symlink>(owner_, "../../devices/virtual/net/" + std::string(name)));
  }
  Result<void> ListDynamic(Context& context, std::vector<synthetic::Entry>& entries) override {
    for (const NetInterface& interface : CurrentNetState(context).interfaces) {
      entries.push_back({interface.name, owner_.NextIno(), static_cast<uint8_t>(links_ ? DT_LNK : DT_DIR)});
    }
    return {};
  }

 private:
  synthetic::Fs& owner_;  // an inode lives no longer than its file system
  const bool links_;
};

}  // namespace

void AddNetwork(synthetic::Fs& fs, StaticDirectory& devices, StaticDirectory& classes) {
  AddDirectory(fs, devices, "virtual", 0755)->Add("net", MakeRef<InterfacesDirectory>(fs, false));
  classes.Add("net", MakeRef<InterfacesDirectory>(fs, true));
}

}  // namespace sandbox
