// /proc/sys/net of the sandbox's initial network namespace: Linux's defaults, and what the container's configuration
// set.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "sentry/core/context.h"

namespace sandbox {

// By path below /proc/sys: "net/ipv4/ip_forward".
const std::map<std::string, std::string>& NetSysctls();
// Before the first guest instruction.
void SetNetSysctl(const std::string& path, const std::string& value);

// net.ipv4.ip_unprivileged_port_start: below it, bind(2) asks for CAP_NET_BIND_SERVICE.
bool MayBind(Context& context, uint16_t port);
// net.ipv4.ping_group_range: who may open an ICMP socket that only pings (icmp(7)).
bool MayPing(Context& context);

}  // namespace sandbox
