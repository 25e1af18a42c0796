// /proc/net/{tcp,udp,unix,…}: the sockets of the reader's network namespace (proc_pid_net(5)).
#include "sentry/fs/proc/net_sockets.h"

#include <linux/if_packet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <array>
#include <cstring>

#include "base/log.h"
#include "sentry/socket/socket.h"

namespace sandbox::proc {
namespace {

// Linux prints addresses as the numbers that their words are in memory.
std::string Words(const void* bytes, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    uint32_t word;
    std::memcpy(&word, static_cast<const char*>(bytes) + i * sizeof(word), sizeof(word));
    text += StrPrintf("%08X", word);
  }
  return text;
}

std::string AddressText(const SocketAddress& address, int family) {
  if (family == AF_INET) {
    const auto in = address.As<sockaddr_in>();
    return Words(&in.sin_addr, 1) + StrPrintf(":%04X", ntohs(in.sin_port));
  }
  const auto in = address.As<sockaddr_in6>();
  return Words(&in.sin6_addr, 4) + StrPrintf(":%04X", ntohs(in.sin6_port));
}

struct Table {
  const char* name;
  int family;
  int type;
  int protocol;
  const char* heading;
  size_t width;  // Linux pads lines of IPv4's tables
};

constexpr char kTcp[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
constexpr char kTcp6[] =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when"
    " retrnsmt   uid  timeout inode";
constexpr char kUdp[] =
    "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer "
    "drops";
constexpr char kUdp6[] =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when"
    " retrnsmt   uid  timeout inode ref pointer drops";

constexpr std::array<Table, 8> kTables = {{{"tcp", AF_INET, SOCK_STREAM, IPPROTO_TCP, kTcp, 149},
                                           {"tcp6", AF_INET6, SOCK_STREAM, IPPROTO_TCP, kTcp6, 0},
                                           {"udp", AF_INET, SOCK_DGRAM, IPPROTO_UDP, kUdp, 127},
                                           {"udp6", AF_INET6, SOCK_DGRAM, IPPROTO_UDP, kUdp6, 0},
                                           {"udplite", AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE, kUdp, 127},
                                           {"udplite6", AF_INET6, SOCK_DGRAM, IPPROTO_UDPLITE, kUdp6, 0},
                                           {"raw", AF_INET, SOCK_RAW, 0, kUdp, 127},
                                           {"raw6", AF_INET6, SOCK_RAW, 0, kUdp6, 0}}};

bool Belongs(const Socket& socket, const Table& table) {
  if (socket.type() != table.type) return false;
  const bool any = table.type == SOCK_RAW;
  // A socket of the host's that was made for the usual protocol may say 0.
  const int usual = table.type == SOCK_STREAM ? static_cast<int>(IPPROTO_TCP) : static_cast<int>(IPPROTO_UDP);
  return any || (socket.protocol() != 0 ? socket.protocol() : usual) == table.protocol;
}

std::string Line(Context& context, Socket& socket, const Table& table, size_t number) {
  const SocketSummary summary = socket.Summary(context);
  std::string text = StrPrintf("%4zu: ", number) + AddressText(summary.local, table.family) + " " +
                     AddressText(summary.peer, table.family);
  text += StrPrintf(" %02X %08zX:%08zX 00:00000000 00000000 %5u        0 %lu", summary.state, summary.to_send,
                    summary.to_receive, context.creds().ShownUid(socket.owner_uid()), socket.ino());
  // Reference count, address, and of TCP timers and windows, of datagrams drops.
  text += table.type == SOCK_STREAM ? " 1 0000000000000000 100 0 0 10 0" : " 2 0000000000000000 0";
  return StrPrintf("%-*s\n", static_cast<int>(table.width), text.c_str());
}

Result<std::string> InternetSockets(Context& context, const Table& table) {
  std::string text = StrPrintf("%-*s\n", static_cast<int>(table.width), table.heading);
  size_t number = 0;
  for (const SocketRef& socket : Socket::All(*context.net(), table.family)) {
    if (!Belongs(*socket, table)) continue;
    // As Linux: a stream that neither listens nor is connected has no place.
    constexpr uint8_t kClose = 7;
    if (table.type == SOCK_STREAM && socket->Summary(context).state == kClose) continue;
    if (table.type == SOCK_DGRAM && socket->Summary(context).local.As<sockaddr_in>().sin_port == 0) continue;
    text += Line(context, *socket, table, number++);
  }
  return text;
}

Result<std::string> UnixSockets(Context& context) {
  constexpr unsigned kAcceptsConnections = 1 << 16;  // __SO_ACCEPTCON
  std::string text = "Num       RefCount Protocol Flags    Type St Inode Path\n";
  for (const SocketRef& socket : Socket::All(*context.net(), AF_UNIX)) {
    const SocketSummary summary = socket->Summary(context);
    text += StrPrintf("%016lx: %08X %08X %08X %04X %02X %5lu", 0ul, 2u, 0u, summary.listening ? kAcceptsConnections : 0,
                      static_cast<unsigned>(socket->type()), summary.state, socket->ino());
    constexpr size_t kFamily = offsetof(sockaddr_un, sun_path);
    if (summary.local.size > kFamily) {
      std::string name(reinterpret_cast<const char*>(summary.local.bytes.data()) + kFamily,
                       summary.local.size - kFamily);
      if (name.front() != '\0') name = name.c_str();
      for (char& byte : name) {
        if (byte == '\0') byte = '@';
      }
      text += " " + name;
    }
    text += "\n";
  }
  return text;
}

Result<std::string> NetlinkSockets(Context& context) {
  std::string text = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";
  for (const SocketRef& socket : Socket::All(*context.net(), AF_NETLINK)) {
    uint32_t port = 0, groups = 0;
    // struct sockaddr_nl: family, padding, port, groups.
    const SocketSummary summary = socket->Summary(context);
    std::memcpy(&port, summary.local.bytes.data() + 4, sizeof(port));
    std::memcpy(&groups, summary.local.bytes.data() + 8, sizeof(groups));
    text += StrPrintf("%016lx %-3d %-10u %08x %-8d %-8d %-5d %-8d %-8u %-8lu\n", 0ul, socket->protocol(), port, groups,
                      static_cast<int>(summary.to_receive), 0, 0, 2, 0u, socket->ino());
  }
  return text;
}

Result<std::string> PacketSockets(Context& context) {
  std::string text = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";
  for (const SocketRef& socket : Socket::All(*context.net(), AF_PACKET)) {
    const SocketSummary summary = socket->Summary(context);
    const auto name = summary.local.As<sockaddr_ll>();
    text += StrPrintf("%016lx %-6d %-4d %04x   %-5d %1d %-6u %-6u %-6lu\n", 0ul, 2, socket->type(),
                      ntohs(name.sll_protocol), name.sll_ifindex, 1, 0u, context.creds().ShownUid(socket->owner_uid()),
                      socket->ino());
  }
  return text;
}

struct Counts {
  int tcp = 0, udp = 0, udplite = 0, raw = 0;
};
Counts Count(Context& context, int family) {
  Counts counts;
  for (const SocketRef& socket : Socket::All(*context.net(), family)) {
    if (socket->type() == SOCK_STREAM) ++counts.tcp;
    if (socket->type() == SOCK_RAW) ++counts.raw;
    if (socket->type() == SOCK_DGRAM) ++(socket->protocol() == IPPROTO_UDPLITE ? counts.udplite : counts.udp);
  }
  return counts;
}

Result<std::string> Sockstat(Context& context) {
  const Counts v4 = Count(context, AF_INET);
  const Counts v6 = Count(context, AF_INET6);
  const size_t all = Socket::All(*context.net(), AF_UNIX).size() + Socket::All(*context.net(), AF_NETLINK).size() +
                     v4.tcp + v4.udp + v4.udplite + v4.raw + v6.tcp + v6.udp + v6.udplite + v6.raw;
  return StrPrintf(
      "sockets: used %zu\nTCP: inuse %d orphan 0 tw 0 alloc %d mem 0\nUDP: inuse %d mem 0\nUDPLITE: inuse %d\n"
      "RAW: inuse %d\nFRAG: inuse 0 memory 0\n",
      all, v4.tcp, v4.tcp + v6.tcp, v4.udp, v4.udplite, v4.raw);
}

Result<std::string> Sockstat6(Context& context) {
  const Counts v6 = Count(context, AF_INET6);
  return StrPrintf("TCP6: inuse %d\nUDP6: inuse %d\nUDPLITE6: inuse %d\nRAW6: inuse %d\nFRAG6: inuse 0 memory 0\n",
                   v6.tcp, v6.udp, v6.udplite, v6.raw);
}

}  // namespace

void AddSocketTables(synthetic::Fs& fs, synthetic::StaticDirectory& directory) {
  for (const Table& table : kTables) {
    directory.Add(table.name, synthetic::MakeText(fs, [&table](Context& context) -> Result<std::string> {
                    return InternetSockets(context, table);
                  }));
  }
  directory.Add("unix", synthetic::MakeText(fs, &UnixSockets));
  directory.Add("packet", synthetic::MakeText(fs, &PacketSockets));
  directory.Add("netlink", synthetic::MakeText(fs, &NetlinkSockets));
  directory.Add("sockstat", synthetic::MakeText(fs, &Sockstat));
  directory.Add("sockstat6", synthetic::MakeText(fs, &Sockstat6));
}

}  // namespace sandbox::proc
