#include "sentry/socket/interfaces.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

namespace sandbox {
namespace {

constexpr uint32_t kLoopbackMtu = 65536;
constexpr uint32_t kLowerUp = 1 << 16;  // IFF_LOWER_UP of <linux/if.h>, which the C library's <net/if.h> excludes

NetState LoopbackOnly() {
  NetInterface lo;
  lo.index = 1;
  lo.name = "lo";
  lo.flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING | kLowerUp;
  lo.type = ARPHRD_LOOPBACK;
  lo.mtu = kLoopbackMtu;
  InterfaceAddress v4{AF_INET, 8, RT_SCOPE_HOST, {127, 0, 0, 1}, {}, IFA_F_PERMANENT};
  InterfaceAddress v6{AF_INET6, 128, RT_SCOPE_HOST, {}, {}, IFA_F_PERMANENT};
  v6.bytes[15] = 1;
  lo.addresses = {v4, v6};
  NetState state;
  for (const InterfaceAddress& address : lo.addresses) {
    NetRoute local;
    local.family = address.family;
    local.prefix = address.prefix;
    local.table = RT_TABLE_LOCAL;
    local.protocol = RTPROT_KERNEL;
    local.scope = address.scope;
    local.type = RTN_LOCAL;
    local.interface = lo.index;
    local.destination = address.bytes;
    state.routes.push_back(local);
  }
  state.interfaces.push_back(std::move(lo));
  return state;
}

std::function<NetState()>& Source() {
  static auto& source = *new std::function<NetState()>(&LoopbackOnly);
  return source;
}

bool SharesPrefix(const InternetAddress& a, const InternetAddress& b, unsigned bits) {
  const unsigned whole = std::min(bits / 8, 16u), rest = bits % 8;
  if (std::memcmp(a.data(), b.data(), whole) != 0) return false;
  return rest == 0 || whole == 16 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

void FillInet(sockaddr* to, const uint8_t* bytes) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  std::memcpy(&in.sin_addr, bytes, sizeof(in.sin_addr));
  std::memcpy(to, &in, sizeof(in));
}

const InterfaceAddress* FirstInet(const NetInterface& interface) {
  for (const InterfaceAddress& address : interface.addresses) {
    if (address.family == AF_INET) return &address;
  }
  return nullptr;
}

// SIOCGIFCONF: the IPv4 addresses, in a buffer of the guest.
Result<int64_t> ListConfigured(Context& context, uint64_t argument) {
  auto conf = TRY(InPtr<ifconf>(GuestAddr(argument)).Read(context.memory()));
  const auto buffer = reinterpret_cast<uint64_t>(conf.ifc_buf);
  int used = 0;
  const NetState state = CurrentNetState(context);
  for (const NetInterface& interface : state.interfaces) {
    const InterfaceAddress* address = FirstInet(interface);
    if (address == nullptr) continue;
    ifreq request{};
    std::strncpy(request.ifr_name, interface.name.c_str(), IFNAMSIZ - 1);
    FillInet(&request.ifr_addr, address->bytes.data());
    if (buffer != 0) {
      if (used + static_cast<int>(sizeof(request)) > conf.ifc_len) break;
      TRY(OutPtr<ifreq>(TRY(GuestAddr(buffer).Add(used))).Write(context.memory(), request));
    }
    used += sizeof(request);
  }
  conf.ifc_len = used;
  TRY(OutPtr<ifconf>(GuestAddr(argument)).Write(context.memory(), conf));
  return 0;
}

Result<void> FillRequest(const NetInterface& interface, uint32_t code, ifreq& request) {
  const InterfaceAddress* address = FirstInet(interface);
  switch (code) {
    case SIOCGIFFLAGS:
      request.ifr_flags = static_cast<short>(interface.flags);
      return {};
    case SIOCGIFINDEX:
      request.ifr_ifindex = interface.index;
      return {};
    case SIOCGIFMTU:
      request.ifr_mtu = static_cast<int>(interface.mtu);
      return {};
    case SIOCGIFMETRIC:
      request.ifr_metric = 0;
      return {};
    case SIOCGIFTXQLEN:
      request.ifr_qlen = static_cast<int>(interface.queue_length);
      return {};
    case SIOCGIFHWADDR:
      request.ifr_hwaddr.sa_family = interface.type;
      std::memcpy(request.ifr_hwaddr.sa_data, interface.hardware.data(), interface.hardware.size());
      return {};
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
      if (address == nullptr) return Err(EADDRNOTAVAIL);
      FillInet(&request.ifr_addr, address->bytes.data());
      return {};
    case SIOCGIFNETMASK: {
      if (address == nullptr) return Err(EADDRNOTAVAIL);
      const uint32_t mask = htonl(address->prefix == 0 ? 0 : ~uint32_t{0} << (32 - address->prefix));
      FillInet(&request.ifr_addr, reinterpret_cast<const uint8_t*>(&mask));
      return {};
    }
    case SIOCGIFBRDADDR: {
      if (address == nullptr) return Err(EADDRNOTAVAIL);
      FillInet(&request.ifr_addr, address->broadcast.data());
      return {};
    }
    default:
      return Err(ENOTTY);
  }
}

bool IsQuery(uint32_t request) {
  switch (request) {
    case SIOCGIFFLAGS:
    case SIOCGIFINDEX:
    case SIOCGIFMTU:
    case SIOCGIFMETRIC:
    case SIOCGIFTXQLEN:
    case SIOCGIFHWADDR:
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFBRDADDR:
      return true;
    default:
      return false;
  }
}

}  // namespace

NetState CurrentNetState(Context& context) { return context.net()->initial() ? Source()() : LoopbackOnly(); }
void SetNetSource(std::function<NetState()> source) { Source() = std::move(source); }

bool IsZero(const InternetAddress& address) { return address == InternetAddress{}; }

const NetRoute* FindRoute(const NetState& state, int family, const InternetAddress& to) {
  const NetRoute* best = nullptr;
  const auto better = [](const NetRoute& a, const NetRoute& b) {
    if ((a.table == RT_TABLE_LOCAL) != (b.table == RT_TABLE_LOCAL)) return a.table == RT_TABLE_LOCAL;
    if (a.prefix != b.prefix) return a.prefix > b.prefix;
    return a.priority < b.priority;
  };
  for (const NetRoute& route : state.routes) {
    if (route.family != family || (route.table != RT_TABLE_LOCAL && route.table != RT_TABLE_MAIN)) continue;
    if (!SharesPrefix(route.destination, to, route.prefix)) continue;
    if (best == nullptr || better(route, *best)) best = &route;
  }
  return best;
}

Result<int64_t> InterfaceIoctl(Context& context, uint32_t request, uint64_t argument) {
  if (request == SIOCGIFCONF) return ListConfigured(context, argument);
  if (request == SIOCSIFFLAGS || request == SIOCSIFADDR || request == SIOCSIFMTU || request == SIOCSIFNETMASK) {
    TRY(InPtr<ifreq>(GuestAddr(argument)).Read(context.memory()));
    return Err(EPERM);
  }
  if (request != SIOCGIFNAME && !IsQuery(request)) return Err(ENOTTY);
  auto wanted = TRY(InPtr<ifreq>(GuestAddr(argument)).Read(context.memory()));
  wanted.ifr_name[IFNAMSIZ - 1] = 0;
  const NetState state = CurrentNetState(context);
  const auto& all = state.interfaces;
  const auto found = std::find_if(all.begin(), all.end(), [&](const NetInterface& interface) {
    return request == SIOCGIFNAME ? interface.index == wanted.ifr_ifindex : interface.name == wanted.ifr_name;
  });
  if (found == all.end()) return Err(ENODEV);
  if (request == SIOCGIFNAME) {
    std::strncpy(wanted.ifr_name, found->name.c_str(), IFNAMSIZ - 1);
  } else {
    TRY(FillRequest(*found, request, wanted));
  }
  TRY(OutPtr<ifreq>(GuestAddr(argument)).Write(context.memory(), wanted));
  return 0;
}

}  // namespace sandbox
