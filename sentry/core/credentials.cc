#include "sentry/core/credentials.h"

#include <algorithm>

namespace sandbox {

bool Credentials::InGroup(uint32_t id) const {
  return id == fsgid || std::find(groups.begin(), groups.end(), id) != groups.end();
}

}  // namespace sandbox
