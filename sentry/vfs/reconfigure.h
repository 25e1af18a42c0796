// File systems whose options can change while they are mounted (mount(2) with MS_REMOUNT, FSCONFIG_CMD_RECONFIGURE).
#pragma once

#include <string_view>

#include "base/result.h"

namespace sandbox {

class Reconfigurable {
 public:
  virtual ~Reconfigurable() = default;
  // EINVAL for options it does not know or cannot change.
  virtual Result<void> Reconfigure(std::string_view options) = 0;
};

}  // namespace sandbox
