// Entry of the gofer process.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/server/node.h"

namespace sandbox::gofer {

struct GoferOptions {
  // The exported trees, in the order the sentry was told: tree 0 is the root file system. O_PATH descriptors, opened by
  // the starter (whose mounts should be nodev,nosuid; a read-only tree may also be a read-only mount).
  std::vector<Tree> trees;
  // The server's end of a SOCK_SEQPACKET pair (Channel::MakePair). The client makes further channels itself.
  UniqueFd connection;
  // Without it nothing below is restricted; for debugging only.
  bool confine = true;
  // False when the process's root is nothing but the container's already.
  bool empty_root = true;
  // What the main thread does while others serve: the process ends with its result. Null = waits for the client to
  // close all channels, result 0. It may read, write, receive, send, poll, and fetch signals, confined as it is.
  std::function<int()> meanwhile;
};

// Serves until the client closes all channels or `meanwhile` returns; returns the process's exit code. Call it in a
// process of its own, with /proc still visible: it opens /proc/self/fd, then leaves every path behind (Confine).
int GoferMain(GoferOptions options);

// Changes root to an empty directory if `empty_root` and it may, sets umask 0, drops every capability but those that
// file access as the container's owner takes, sets no_new_privs, installs the seccomp filter. Namespaces (mount, net,
// ipc, uts, pid) are the starter's.
Result<void> Confine(bool empty_root);

}  // namespace sandbox::gofer
