#include "gofer/server/main.h"

#include <malloc.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "base/image_pages.h"
#include "base/log.h"
#include "gofer/server/host_fs.h"
#include "gofer/server/session.h"

namespace sandbox::gofer {

int GoferMain(GoferOptions options) {
  // One arena: with more, the C library opens files behind our back, which the filter kills for
  // (/sys/devices/system/cpu to limit their number, /proc/sys/vm/overcommit_memory before it gives memory of one back).
  (void)::mallopt(M_ARENA_MAX, 1);
  (void)::signal(SIGPIPE, SIG_IGN);
  // Terminal and group signals are for the guest. `meanwhile` may want to fetch them: then they are blocked already.
  if (!options.meanwhile) {
    (void)::signal(SIGINT, SIG_IGN);
    (void)::signal(SIGHUP, SIG_IGN);
  }
  if (const auto ready = InitReopen(); !ready.ok()) {
    LOGF(kError, "gofer: cannot open /proc/self/fd: errno %d", ready.error().value());
    return 1;
  }
  Session session(options.low_ports);
  for (Tree& tree : options.trees) {
    if (const auto added = session.nodes().AddTree(std::move(tree)); !added.ok()) {
      LOGF(kError, "gofer: cannot export a tree: errno %d", added.error().value());
      return 1;
    }
  }
  ::umask(0);
  if (options.confine) {
    if (const auto confined = Confine(options.root, options.low_ports); !confined.ok()) {
      LOGF(kError, "gofer: cannot confine itself: errno %d", confined.error().value());
      return 1;
    }
  }
  if (!session.Start(std::move(options.connection)).ok()) return 1;
  ForgetImagePages();
  // Not returned from: the threads that serve use the session.
  if (options.meanwhile) {
    const int status = options.meanwhile();
    session.FinishDeferred();
    ::_exit(status);
  }
  session.Wait();
  return 0;
}

}  // namespace sandbox::gofer
