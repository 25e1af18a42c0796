// Terminal: what /dev/tty can stand for, a pseudo terminal or the host's.
#pragma once

#include <sys/ioctl.h>

#include "sentry/kernel/session.h"
#include "sentry/vfs/file.h"

namespace sandbox {

class Terminal : public ControllingTerminal {
 public:
  // open(2) of the terminal through /dev/tty. EIO after a hang-up.
  virtual Result<FileRef> OpenTerminal(Context& context, const Path& path, int flags) = 0;
  RefPtr<Terminal> self() { return std::static_pointer_cast<Terminal>(shared_from_this()); }
};

}  // namespace sandbox
