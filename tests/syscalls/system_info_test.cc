// uname(2), sethostname(2), sysinfo(2), getrandom(2), getcpu(2), personality(2), arch_prctl(2) and the like.
#include <sched.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <set>
#include <string>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

namespace guest {
namespace {

TEST(UnameTest, NamesCanBeSetInANamespaceOfOnesOwn) {
  EXPECT_EQ(RunInChild([] {
              utsname names;
              EXPECT_OK(uname(&names));
              EXPECT_STREQ(names.sysname, "Linux");
              EXPECT_STREQ(names.machine, "x86_64");
              if (unshare(CLONE_NEWUTS) != 0) return 1;
              EXPECT_OK(sethostname("short\0hidden", 12));
              EXPECT_OK(setdomainname("", 0));
              EXPECT_OK(uname(&names));
              EXPECT_STREQ(names.nodename, "short");
              EXPECT_STREQ(names.domainname, "");
              EXPECT_EQ(ReadFileText("/proc/sys/kernel/hostname"), "short\n");
              const std::string longest(64, 'h');
              EXPECT_OK(sethostname(longest.data(), 64));
              EXPECT_OK(uname(&names));
              EXPECT_EQ(names.nodename, longest);
              EXPECT_ERRNO(EINVAL, syscall(SYS_sethostname, longest.data(), 65));
              EXPECT_ERRNO(EINVAL, syscall(SYS_sethostname, longest.data(), -1));
              EXPECT_ERRNO(EINVAL, syscall(SYS_setdomainname, BadPointer(), 65));
              EXPECT_ERRNO(EFAULT, syscall(SYS_sethostname, BadPointer(), 5));
              return RunAsNobody([] {
                EXPECT_ERRNO(EPERM, syscall(SYS_sethostname, BadPointer(), -1));
                EXPECT_ERRNO(EPERM, syscall(SYS_setdomainname, "x", 1));
                return 0;
              });
            }),
            0);
  EXPECT_ERRNO(EFAULT, syscall(SYS_uname, BadPointer()));
}

TEST(UnameTest, FollowsThePersonality) {
  EXPECT_EQ(RunInChild([] {
              utsname own, other;
              EXPECT_OK(uname(&own));
              EXPECT_EQ(personality(PER_LINUX32), PER_LINUX);
              EXPECT_OK(uname(&other));
              EXPECT_STREQ("i686", other.machine);
              EXPECT_STREQ(own.release, other.release);
              EXPECT_EQ(personality(UNAME26), PER_LINUX32);
              EXPECT_OK(uname(&other));
              EXPECT_STREQ(own.machine, other.machine);
              int major, minor;
              EXPECT_EQ(2, sscanf(own.release, "%d.%d", &major, &minor));
              const std::string start = "2.6." + std::to_string(minor + 60);
              EXPECT_EQ(start, std::string(other.release).substr(0, start.size()));
              EXPECT_EQ(personality(PER_LINUX), UNAME26);
              EXPECT_OK(uname(&other));
              EXPECT_STREQ(own.release, other.release);
              return 0;
            }),
            0);
}

TEST(SysinfoTest, IsPlausible) {
  struct sysinfo info;
  EXPECT_OK(sysinfo(&info));
  EXPECT_GT(info.totalram, info.freeram);
  EXPECT_GT(info.procs, 0);
  EXPECT_GE(info.uptime, 0);
  EXPECT_GT(info.mem_unit, 0u);
  EXPECT_ERRNO(EFAULT, sysinfo(static_cast<struct sysinfo*>(BadPointer())));
}

TEST(GetrandomTest, FillsAndDiffers) {
  std::set<std::string> seen;
  for (int i = 0; i < 8; ++i) {
    std::string bytes(256, '\0');
    EXPECT_EQ(getrandom(bytes.data(), bytes.size(), i % 2 == 0 ? 0 : GRND_NONBLOCK), 256);
    seen.insert(bytes);
  }
  EXPECT_EQ(seen.size(), 8u);
  std::string large(100'000, '\0');
  EXPECT_EQ(getrandom(large.data(), large.size(), 0), 100'000);
  EXPECT_EQ(getrandom(nullptr, 0, 0), 0);
}

TEST(GetrandomTest, Errors) {
  char byte;
  EXPECT_ERRNO(EINVAL, getrandom(&byte, 1, 0x100));
  EXPECT_ERRNO(EINVAL, getrandom(&byte, 1, GRND_RANDOM | 4 /* GRND_INSECURE */));
  EXPECT_ERRNO(EFAULT, getrandom(BadPointer(), 1, 0));
  EdgeBuffer edge(100);
  EXPECT_EQ(getrandom(edge.front(), 200, 0), 100) << "up to the border";
}

TEST(GetcpuTest, IsOneOfOurs) {
  unsigned cpu = ~0u, node = ~0u;
  EXPECT_OK(syscall(SYS_getcpu, &cpu, &node, nullptr));
  cpu_set_t set;
  ASSERT_OK(sched_getaffinity(0, sizeof(set), &set));
  EXPECT_TRUE(CPU_ISSET(cpu, &set));
  EXPECT_OK(syscall(SYS_getcpu, nullptr, nullptr, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_getcpu, BadPointer(), nullptr, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_getcpu, nullptr, BadPointer(), nullptr));
}

TEST(PersonalityTest, IsInheritedAndReported) {
  EXPECT_EQ(RunInChild([] {
              const int old = personality(0xffffffff);
              EXPECT_EQ(personality(ADDR_NO_RANDOMIZE), old);
              EXPECT_EQ(RunInChild([] { return personality(0xffffffff) == ADDR_NO_RANDOMIZE ? 0 : 1; }), 0);
              EXPECT_NE(ReadFileText("/proc/self/personality").find("00040000"), std::string::npos);
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace guest
