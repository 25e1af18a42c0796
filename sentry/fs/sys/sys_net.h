// /sys/devices/virtual/net and /sys/class/net: the interfaces of the reader's network namespace (sysfs-class-net).
#pragma once

#include "sentry/fs/synthetic/synthetic.h"

namespace sandbox {

void AddNetwork(synthetic::Fs& fs, synthetic::StaticDirectory& devices, synthetic::StaticDirectory& classes);

}  // namespace sandbox
