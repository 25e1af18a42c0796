// Entry of the gofer process.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/server/node.h"

namespace sandbox::gofer {

// What becomes of the process's root directory.
enum class RootPolicy {
  kKeep,        // it is nothing but the container's already
  kEmpty,       // an empty directory, or there is no gofer
  kEmptyIfMay,  // an empty directory, unless the privilege for it is missing: the mounts are the gofer's own
};

struct GoferOptions {
  // The exported trees, in the order the sentry was told: tree 0 is the root file system. O_PATH descriptors, opened by
  // the starter (whose mounts should be nodev,nosuid; a read-only tree may also be a read-only mount).
  std::vector<Tree> trees;
  // The server's end of a SOCK_SEQPACKET pair (Channel::MakePair). The client makes further channels itself.
  UniqueFd connection;
  // Without it nothing below is restricted; for debugging only.
  bool confine = true;
  RootPolicy root = RootPolicy::kEmptyIfMay;
  // Keeps CAP_NET_BIND_SERVICE and binds the client's sockets to ports below 1024.
  bool low_ports = false;
  // What the main thread does while others serve: the process ends with its result. Null = waits for the client to
  // close all channels, result 0. It may read, write, receive, send, poll, and fetch signals, confined as it is.
  std::function<int()> meanwhile;
};

// Serves until the client closes all channels or `meanwhile` returns; returns the process's exit code. Call it in a
// process of its own, with /proc still visible: it opens /proc/self/fd, then leaves every path behind (Confine).
int GoferMain(GoferOptions options);

// Changes root as `root` says, sets umask 0, drops every capability but those that
// file access as the container's owner takes (and with `low_ports` CAP_NET_BIND_SERVICE), sets no_new_privs, installs
// the seccomp filter. Namespaces (mount, net, ipc, uts, pid) are the starter's.
Result<void> Confine(RootPolicy root, bool low_ports);

}  // namespace sandbox::gofer
