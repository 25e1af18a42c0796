// /proc/net: what is true of a network with nothing but loopback. Files whose contents only a host network would have
// show their heading.
#include <array>

#include "sentry/fs/proc/proc.h"

namespace sandbox::proc {
namespace {

struct NetFile {
  const char* name;
  const char* text;
};

constexpr char kTcpHeading[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
    "                                                     \n";
constexpr char kTcp6Heading[] =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when"
    " retrnsmt   uid  timeout inode\n";
constexpr char kUdpHeading[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops"
    "             \n";
constexpr char kUdp6Heading[] =
    "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when"
    " retrnsmt   uid  timeout inode ref pointer drops\n";

constexpr std::array<NetFile, 22> kFiles = {{
    {"arp", "IP address       HW type     Flags       HW address            Mask     Device\n"},
    {"dev",
     "Inter-|   Receive                                                |  Transmit\n"
     " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier"
     " compressed\n"
     "    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0"
     "          0\n"},
    {"dev_mcast", ""},
    {"if_inet6", "00000000000000000000000000000001 01 80 10 80       lo\n"},
    {"igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"},
    {"ipv6_route",
     "00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000"
     " 00000001 00000000 80200001       lo\n"},
    {"netlink",
     "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"},
    {"netstat", "TcpExt: SyncookiesSent\nTcpExt: 0\nIpExt: InNoRoutes\nIpExt: 0\n"},
    {"packet", "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n"},
    {"protocols",
     "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp"
     " em\n"},
    {"psched", "000003e8 00000040 000f4240 3b9aca00\n"},
    {"ptype", "Type Device      Function\n"},
    {"raw", kUdpHeading},
    {"raw6", kUdp6Heading},
    {"route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
              "                                                       \n"},
    {"snmp",
     "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers"
     " OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates\n"
     "Ip: 2 64 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"},
    {"sockstat", "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nRAW: inuse 0\n"
                 "FRAG: inuse 0 memory 0\n"},
    {"tcp", kTcpHeading},
    {"tcp6", kTcp6Heading},
    {"udp", kUdpHeading},
    {"udp6", kUdp6Heading},
    {"unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"},
}};

}  // namespace

NodeRef MakeNetDirectory(Fs& fs) {
  auto directory = MakeRef<synthetic::StaticDirectory>(fs);
  for (const NetFile& file : kFiles) directory->Add(file.name, synthetic::MakeText(fs, std::string(file.text)));
  return directory;
}

}  // namespace sandbox::proc
