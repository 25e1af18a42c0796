// Names of unix sockets: path names live on inodes, abstract names in a table of their network
// namespace (unix(7)).
#pragma once

#include "sentry/socket/local_endpoint.h"

namespace sandbox {

// Binds `endpoint`: EINVAL for malformed addresses, EADDRINUSE, or an error of making the node. An address that is
// only a family gets an abstract name of our choice.
Result<void> BindUnixName(NetNamespace& net, const SocketCaller& caller, const LocalEndpointRef& endpoint,
                          const SocketAddress& address);
// Who is bound to `address`: ECONNREFUSED, ENOENT …; EACCES without write permission on the node.
Result<LocalEndpointRef> FindUnixName(NetNamespace& net, const SocketCaller& caller, const SocketAddress& address);
// Frees an abstract name when its socket is closed. Path names stay, as files do.
void ReleaseUnixName(NetNamespace& net, const LocalEndpoint& endpoint);

}  // namespace sandbox
