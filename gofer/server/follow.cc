#include "gofer/server/follow.h"

#include <sched.h>

namespace sandbox::gofer {
namespace {

constexpr int kPatience = 4;

}  // namespace

void Follower::Follow(uint32_t processor) {
  if (processor == 0 || processor > CPU_SETSIZE || static_cast<uint32_t>(::sched_getcpu()) + 1 == processor) {
    strangers_ = 0;
    return;
  }
  if (++strangers_ < kPatience) return;
  strangers_ = 0;
  cpu_set_t allowed, there;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  CPU_ZERO(&there);
  CPU_SET(processor - 1, &there);
  // Refused when that processor is not ours to use; a hint is all it was.
  if (::sched_setaffinity(0, sizeof(there), &there) == 0) (void)::sched_setaffinity(0, sizeof(allowed), &allowed);
}

}  // namespace sandbox::gofer
