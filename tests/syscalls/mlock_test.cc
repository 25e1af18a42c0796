// mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2), MAP_LOCKED, RLIMIT_MEMLOCK.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

namespace guest {
namespace {

constexpr long kPageKb = kPage / 1024;
long LockedKb() { return StatusKilobytes("VmLck"); }

void LimitLocks(rlim_t bytes) {
  const rlimit limit = {bytes, bytes};
  EXPECT_OK(setrlimit(RLIMIT_MEMLOCK, &limit));
}

TEST(MlockTest, PagesAreCounted) {
  Mapping memory(4);
  const long before = LockedKb();
  ASSERT_GE(before, 0);
  ASSERT_OK(mlock(memory.page() + 100, kPage)) << "spans two pages";
  EXPECT_EQ(LockedKb(), before + 2 * kPageKb);
  ASSERT_OK(mlock(memory.page(), 2 * kPage)) << "again counts once";
  EXPECT_EQ(LockedKb(), before + 2 * kPageKb);
  ASSERT_OK(syscall(SYS_mlock2, memory.page(3), kPage, 1 /* MLOCK_ONFAULT */));
  EXPECT_EQ(LockedKb(), before + 3 * kPageKb);
  ASSERT_OK(munlock(memory.page(), 4 * kPage));
  EXPECT_EQ(LockedKb(), before);
  ASSERT_OK(mlock(memory.page(), kPage));
  ASSERT_OK(munmap(memory.page(), kPage));
  EXPECT_EQ(LockedKb(), before);
}

TEST(MlockTest, Errors) {
  Mapping memory(3);
  ASSERT_OK(munmap(memory.page(1), kPage));
  const long before = LockedKb();
  EXPECT_ERRNO(ENOMEM, mlock(memory.page(), 3 * kPage));
  EXPECT_EQ(LockedKb(), before + kPageKb) << "what lies before the hole is locked";
  EXPECT_ERRNO(ENOMEM, munlock(memory.page(), 3 * kPage));
  EXPECT_EQ(LockedKb(), before);
  EXPECT_ERRNO(EINVAL, mlock(memory.page(), ~size_t{0} - 2 * kPage));
  EXPECT_ERRNO(EINVAL, syscall(SYS_mlock2, memory.page(), kPage, 2));
  EXPECT_OK(mlock(memory.page(), 0));
  ASSERT_OK(mprotect(memory.page(2), kPage, PROT_NONE));
  EXPECT_ERRNO(ENOMEM, mlock(memory.page(2), kPage)) << "locked, though nothing can be brought in";
  EXPECT_EQ(LockedKb(), before + kPageKb);
  EXPECT_ERRNO(EINVAL, mlockall(0));
  EXPECT_ERRNO(EINVAL, mlockall(MCL_ONFAULT));
  EXPECT_ERRNO(EINVAL, mlockall(0x100));
}

TEST(MlockTest, TheLimitHoldsWithoutPrivilege) {
  Mapping memory(4);
  EXPECT_EQ(RunInChild([&] {
              LimitLocks(2 * kPage);
              return RunAsNobody([&] {
                EXPECT_ERRNO(ENOMEM, mlock(memory.page(), 3 * kPage));
                EXPECT_OK(mlock(memory.page(), 2 * kPage));
                EXPECT_OK(mlock(memory.page(), 2 * kPage));
                EXPECT_ERRNO(ENOMEM, mlock(memory.page(2), kPage));
                EXPECT_ERRNO(EAGAIN,
                             Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0)));
                EXPECT_OK(munlock(memory.page(), kPage));
                EXPECT_OK(mlock(memory.page(2), kPage));
                EXPECT_ERRNO(ENOMEM, mlockall(MCL_CURRENT));
                EXPECT_OK(mlockall(MCL_FUTURE));
                EXPECT_ERRNO(EAGAIN, Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
                EXPECT_OK(munlockall());
                EXPECT_EQ(LockedKb(), 0);
                return 0;
              });
            }),
            0);
  EXPECT_EQ(RunInChild([&] {
              LimitLocks(0);
              return RunAsNobody([&] {
                EXPECT_ERRNO(EPERM, mlock(memory.page(), kPage));
                EXPECT_ERRNO(EPERM, mlockall(MCL_CURRENT));
                EXPECT_ERRNO(EPERM,
                             Address(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0)));
                EXPECT_OK(munlock(memory.page(), kPage));
                return 0;
              });
            }),
            0);
}

TEST(MlockTest, LocksAreNotInherited) {
  Mapping memory(1);
  ASSERT_OK(mlock(memory.page(), kPage));
  EXPECT_EQ(RunInChild([] { return LockedKb() == 0 ? 0 : 1; }), 0);
}

TEST(MlockTest, FutureMappingsAreLocked) {
  EXPECT_EQ(RunInChild([] {
              EXPECT_OK(mlockall(MCL_FUTURE));
              const long before = LockedKb();
              Mapping memory(2);
              EXPECT_EQ(LockedKb(), before + 2 * kPageKb);
              EXPECT_OK(munlockall());
              Mapping later(2);
              EXPECT_EQ(LockedKb(), 0);
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace guest
