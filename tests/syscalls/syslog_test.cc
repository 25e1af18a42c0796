// syslog(2).
#include <sys/klog.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

TEST(SyslogTest, Arguments) {
  char buffer[16];
  EXPECT_ERRNO(EINVAL, klogctl(100, buffer, sizeof(buffer)));
  EXPECT_ERRNO(EINVAL, klogctl(3, nullptr, sizeof(buffer)));
  EXPECT_ERRNO(EINVAL, klogctl(3, buffer, -1));
  EXPECT_ERRNO(EINVAL, klogctl(8, buffer, 0));
  EXPECT_ERRNO(EINVAL, klogctl(8, buffer, 9));
  EXPECT_OK(klogctl(0, nullptr, 0));
  EXPECT_GT(klogctl(10, nullptr, 0), 0);
  EXPECT_GE(klogctl(3, buffer, sizeof(buffer)), 0);
}

}  // namespace
}  // namespace guest
