#include "sentry/socket/interfaces.h"

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

std::vector<NetInterface>& Interfaces() {
  static std::vector<NetInterface> interfaces = [] {
    NetInterface lo;
    lo.index = 1;
    lo.name = "lo";
    lo.flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
    lo.type = ARPHRD_LOOPBACK;
    lo.mtu = kLoopbackMtu;
    InterfaceAddress v4{AF_INET, 8, RT_SCOPE_HOST, {127, 0, 0, 1}};
    InterfaceAddress v6{AF_INET6, 128, RT_SCOPE_HOST, {}};
    v6.bytes[15] = 1;
    lo.addresses = {v4, v6};
    return std::vector<NetInterface>{lo};
  }();
  return interfaces;
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
  for (const NetInterface& interface : NetInterfaces()) {
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
      request.ifr_qlen = 1000;
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
      const uint8_t none[4] = {};
      FillInet(&request.ifr_addr, none);
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

size_t InterfaceAddress::size() const { return family == AF_INET ? 4 : 16; }

const std::vector<NetInterface>& NetInterfaces() { return Interfaces(); }
void SetNetInterfaces(std::vector<NetInterface> interfaces) { Interfaces() = std::move(interfaces); }

Result<int64_t> InterfaceIoctl(Context& context, uint32_t request, uint64_t argument) {
  if (request == SIOCGIFCONF) return ListConfigured(context, argument);
  if (request == SIOCSIFFLAGS || request == SIOCSIFADDR || request == SIOCSIFMTU || request == SIOCSIFNETMASK) {
    TRY(InPtr<ifreq>(GuestAddr(argument)).Read(context.memory()));
    return Err(EPERM);
  }
  if (request != SIOCGIFNAME && !IsQuery(request)) return Err(ENOTTY);
  auto wanted = TRY(InPtr<ifreq>(GuestAddr(argument)).Read(context.memory()));
  wanted.ifr_name[IFNAMSIZ - 1] = 0;
  const auto& all = NetInterfaces();
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
