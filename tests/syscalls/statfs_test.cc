// sysfs(2), ustat(2).
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

struct Ustat {
  int free_blocks;
  unsigned long free_inodes;
  char name[6], pack[6];
};

TEST(SysfsTest, NumbersAndNames) {
  const long types = syscall(SYS_sysfs, 3);
  ASSERT_GT(types, 0);
  char name[64];
  for (long i = 0; i < types; ++i) {
    ASSERT_OK(syscall(SYS_sysfs, 2, i, name));
    EXPECT_EQ(syscall(SYS_sysfs, 1, name), i);
  }
  EXPECT_ERRNO(EINVAL, syscall(SYS_sysfs, 2, types, name));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sysfs, 1, "no such type"));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sysfs, 4));
  EXPECT_ERRNO(EFAULT, syscall(SYS_sysfs, 1, 8));
  EXPECT_ERRNO(EFAULT, syscall(SYS_sysfs, 2, 0, 8));
}

TEST(UstatTest, OfAMountedFileSystem) {
  struct stat st;
  ASSERT_OK(stat("/", &st));
  Ustat out;
  EXPECT_OK(syscall(SYS_ustat, st.st_dev, &out));
  EXPECT_ERRNO(EINVAL, syscall(SYS_ustat, 0, &out));
  EXPECT_ERRNO(EFAULT, syscall(SYS_ustat, st.st_dev, 8));
}

}  // namespace
}  // namespace guest
