#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace sandbox {

void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "runsc: internal error: %s:%d: %s\n", file, line, what);
  std::abort();
}

}  // namespace sandbox
