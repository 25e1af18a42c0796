// The files of /proc/net about sockets.
#pragma once

#include "sentry/fs/synthetic/synthetic.h"

namespace sandbox::proc {

void AddSocketTables(synthetic::Fs& fs, synthetic::StaticDirectory& directory);

}  // namespace sandbox::proc
