// Requests on terminals (ioctl_tty(2); Linux: tty_ioctl, n_tty_ioctl, pty_unix98_ioctl).
#pragma once

#include "sentry/fs/devpts/pty.h"

namespace sandbox {

Result<int64_t> PtySlaveIoctl(Context& context, Pty& pty, uint32_t request, uint64_t argument);
// `path`: where the master was opened.
Result<int64_t> PtyMasterIoctl(Context& context, Pty& pty, const Path& path, uint32_t request, uint64_t argument);

// Sessions and foreground groups, the same for every kind of terminal. ENOIOCTLCMD (kNotJobControl) when the request is
// none of these.
inline constexpr int kNotJobControl = 515;
Result<int64_t> JobControlIoctl(Context& context, Terminal& terminal, uint32_t request, uint64_t argument,
                                bool from_master);

}  // namespace sandbox
