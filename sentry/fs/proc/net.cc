// /proc/net: interfaces, addresses and routes are those that rtnetlink shows; files about counters have their headings
// only. Sockets are in net_sockets.cc.
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "base/log.h"
#include "sentry/fs/proc/net_sockets.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/socket/interfaces.h"

namespace sandbox::proc {
namespace {

struct NetFile {
  const char* name;
  const char* text;
};

constexpr std::array<NetFile, 8> kFiles = {{
    {"arp", "IP address       HW type     Flags       HW address            Mask     Device\n"},
    {"dev_mcast", ""},
    {"igmp", "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"},
    {"netstat",
     "TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned"
     " OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab"
     " BeyondWindow TSEcrRejected PAWSOldAck PAWSTimewait DelayedACKs DelayedACKLocked DelayedACKLost"
     " ListenOverflows ListenDrops TCPHPHits TCPPureAcks TCPHPAcks TCPRenoRecovery TCPSackRecovery"
     " TCPSACKReneging TCPSACKReorder TCPRenoReorder TCPTSReorder TCPFullUndo TCPPartialUndo TCPDSACKUndo"
     " TCPLossUndo TCPLostRetransmit TCPRenoFailures TCPSackFailures TCPLossFailures TCPFastRetrans"
     " TCPSlowStartRetrans TCPTimeouts TCPLossProbes TCPLossProbeRecovery TCPRenoRecoveryFail"
     " TCPSackRecoveryFail TCPRcvCollapsed TCPBacklogCoalesce TCPDSACKOldSent TCPDSACKOfoSent TCPDSACKRecv"
     " TCPDSACKOfoRecv TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout TCPAbortOnLinger"
     " TCPAbortFailed TCPMemoryPressures TCPMemoryPressuresChrono TCPSACKDiscard TCPDSACKIgnoredOld"
     " TCPDSACKIgnoredNoUndo TCPSpuriousRTOs TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPSackShifted"
     " TCPSackMerged TCPSackShiftFallback TCPBacklogDrop PFMemallocDrop TCPMinTTLDrop TCPDeferAcceptDrop"
     " IPReversePathFilter TCPTimeWaitOverflow TCPReqQFullDoCookies TCPReqQFullDrop TCPRetransFail"
     " TCPRcvCoalesce TCPOFOQueue TCPOFODrop TCPOFOMerge TCPChallengeACK TCPSYNChallenge TCPFastOpenActive"
     " TCPFastOpenActiveFail TCPFastOpenPassive TCPFastOpenPassiveFail TCPFastOpenListenOverflow"
     " TCPFastOpenCookieReqd TCPFastOpenBlackhole TCPSpuriousRtxHostQueues BusyPollRxPackets"
     " TCPAutoCorking TCPFromZeroWindowAdv TCPToZeroWindowAdv TCPWantZeroWindowAdv TCPSynRetrans"
     " TCPOrigDataSent TCPHystartTrainDetect TCPHystartTrainCwnd TCPHystartDelayDetect TCPHystartDelayCwnd"
     " TCPACKSkippedSynRecv TCPACKSkippedPAWS TCPACKSkippedSeq TCPACKSkippedFinWait2 TCPACKSkippedTimeWait"
     " TCPACKSkippedChallenge TCPWinProbe TCPKeepAlive TCPMTUPFail TCPMTUPSuccess TCPDelivered"
     " TCPDeliveredCE TCPAckCompressed TCPZeroWindowDrop TCPRcvQDrop TCPWqueueTooBig"
     " TCPFastOpenPassiveAltKey TcpTimeoutRehash TcpDuplicateDataRehash TCPDSACKRecvSegs"
     " TCPDSACKIgnoredDubious TCPMigrateReqSuccess TCPMigrateReqFailure TCPPLBRehash TCPAORequired"
     " TCPAOBad TCPAOKeyNotFound TCPAOGood TCPAODroppedIcmps\n"
     "TcpExt: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
     " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"
     " 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
     "IpExt: InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets"
     " OutOctets InMcastOctets OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors InNoECTPkts"
     " InECT1Pkts InECT0Pkts InCEPkts ReasmOverlaps\n"
     "IpExt: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"},
    {"protocols",
     "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp"
     " em\n"},
    {"psched", "000003e8 00000040 000f4240 3b9aca00\n"},
    {"ptype", "Type Device      Function\n"},
    {"snmp",
     "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos"
     " InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs"
     " ReasmFails FragOKs FragFails FragCreates OutTransmits\n"
     "Ip: 2 64 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
     "Icmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects"
     " InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors"
     " OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs"
     " OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps\n"
     "Icmp: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
     "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab"
     " InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\n"
     "Tcp: 1 200 120000 -1 0 0 0 0 0 0 0 0 0 0 0\n"
     "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti"
     " MemErrors\n"
     "Udp: 0 0 0 0 0 0 0 0 0\n"
     "UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors"
     " IgnoredMulti MemErrors\n"
     "UdpLite: 0 0 0 0 0 0 0 0 0\n"},
}};

std::string NameOf(const NetState& state, int index) {
  for (const NetInterface& interface : state.interfaces) {
    if (interface.index == index) return interface.name;
  }
  return "*";
}

Result<std::string> Dev(Context& context) {
  std::string text =
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier"
      " compressed\n";
  for (const NetInterface& interface : CurrentNetState(context).interfaces) {
    const rtnl_link_stats64& s = interface.statistics;
    text += StrPrintf(
        "%6s: %7llu %7llu %4llu %4llu %4llu %5llu %10llu %9llu %8llu %7llu %4llu %4llu %4llu %5llu %7llu %10llu\n",
        interface.name.c_str(), s.rx_bytes, s.rx_packets, s.rx_errors, s.rx_dropped, s.rx_fifo_errors,
        s.rx_frame_errors, s.rx_compressed, s.multicast, s.tx_bytes, s.tx_packets, s.tx_errors, s.tx_dropped,
        s.tx_fifo_errors, s.collisions, s.tx_carrier_errors, s.tx_compressed);
  }
  return text;
}

std::string Hex(const InternetAddress& address) {
  std::string text;
  for (const uint8_t byte : address) text += StrPrintf("%02x", byte);
  return text;
}

Result<std::string> IfInet6(Context& context) {
  std::string text;
  for (const NetInterface& interface : CurrentNetState(context).interfaces) {
    for (const InterfaceAddress& address : interface.addresses) {
      if (address.family != AF_INET6) continue;
      // Linux: IPV6_ADDR_LOOPBACK, IPV6_ADDR_LINKLOCAL.
      const int scope = address.scope == RT_SCOPE_HOST ? 0x10 : address.scope == RT_SCOPE_LINK ? 0x20 : 0;
      text += StrPrintf("%s %02x %02x %02x %02x %8s\n", Hex(address.bytes).c_str(), interface.index, address.prefix,
                        scope, address.flags & 0xff, interface.name.c_str());
    }
  }
  return text;
}

constexpr unsigned kRouteUp = 1, kRouteGateway = 2, kRouteHost = 4;  // RTF_*

unsigned RouteFlags(const NetRoute& route) {
  return kRouteUp | (IsZero(route.gateway) ? 0 : kRouteGateway) |
         (route.prefix == AddressSize(route.family) * 8 ? kRouteHost : 0);
}

// The address as the number that the kernel prints: its bytes as they are in memory.
uint32_t Word(const InternetAddress& address) {
  uint32_t word;
  std::memcpy(&word, address.data(), sizeof(word));
  return word;
}

Result<std::string> Route(Context& context) {
  constexpr int kWidth = 127;  // Linux pads every line
  const auto line = [](const std::string& text) { return StrPrintf("%-*s\n", kWidth, text.c_str()); };
  std::string all = line("Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
  const NetState state = CurrentNetState(context);
  for (const NetRoute& route : state.routes) {
    if (route.family != AF_INET || route.table != RT_TABLE_MAIN || route.type != RTN_UNICAST) continue;
    const uint32_t mask = route.prefix == 0 ? 0 : htonl(~uint32_t{0} << (32 - route.prefix));
    all += line(StrPrintf("%s\t%08X\t%08X\t%04X\t0\t0\t%u\t%08X\t0\t0\t0", NameOf(state, route.interface).c_str(),
                          Word(route.destination), Word(route.gateway), RouteFlags(route), route.priority, mask));
  }
  return all;
}

Result<std::string> Ipv6Route(Context& context) {
  std::string all;
  const NetState state = CurrentNetState(context);
  for (const NetRoute& route : state.routes) {
    if (route.family != AF_INET6) continue;
    all += StrPrintf("%s %02x %032d 00 %s %08x 00000001 00000000 %08x %8s\n", Hex(route.destination).c_str(),
                     route.prefix, 0, Hex(route.gateway).c_str(), route.priority, RouteFlags(route),
                     NameOf(state, route.interface).c_str());
  }
  return all;
}

}  // namespace

NodeRef MakeNetDirectory(Fs& fs) {
  auto directory = MakeRef<synthetic::StaticDirectory>(fs);
  directory->Add("dev", synthetic::MakeText(fs, &Dev));
  directory->Add("if_inet6", synthetic::MakeText(fs, &IfInet6));
  directory->Add("ipv6_route", synthetic::MakeText(fs, &Ipv6Route));
  directory->Add("route", synthetic::MakeText(fs, &Route));
  AddSocketTables(fs, *directory);
  for (const NetFile& file : kFiles) directory->Add(file.name, synthetic::MakeText(fs, std::string(file.text)));
  return directory;
}

}  // namespace sandbox::proc
