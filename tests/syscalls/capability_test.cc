// capget(2), capset(2), the capability parts of prctl(2), and what changes of ids do to capabilities (capabilities(7)).
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }

struct Caps {
  uint64_t effective, permitted, inheritable;
};

Caps Get() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  EXPECT_OK(syscall(SYS_capget, &header, data));
  const auto join = [](uint32_t low, uint32_t high) { return low | uint64_t{high} << 32; };
  return {join(data[0].effective, data[1].effective), join(data[0].permitted, data[1].permitted),
          join(data[0].inheritable, data[1].inheritable)};
}

long Set(const Caps& caps, pid_t pid = 0) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};
  const auto low = [](uint64_t set) { return static_cast<uint32_t>(set); };
  const auto high = [](uint64_t set) { return static_cast<uint32_t>(set >> 32); };
  const __user_cap_data_struct data[2] = {{low(caps.effective), low(caps.permitted), low(caps.inheritable)},
                                          {high(caps.effective), high(caps.permitted), high(caps.inheritable)}};
  return syscall(SYS_capset, &header, data);
}

// Ids are set by raw calls in a child: nothing of the C library shall broadcast them.
long SetUids(uid_t real, uid_t effective, uid_t saved) { return syscall(SYS_setresuid, real, effective, saved); }
void InChild(const std::function<void()>& body) {
  EXPECT_EQ(RunInChild([&] {
              body();
              return 0;
            }),
            0);
}

TEST(CapgetTest, VersionsAndPids) {
  __user_cap_header_struct header = {0, 0};
  __user_cap_data_struct data[2];
  EXPECT_ERRNO(EINVAL, syscall(SYS_capget, &header, data));
  EXPECT_EQ(header.version, static_cast<uint32_t>(_LINUX_CAPABILITY_VERSION_3)) << "the preferred one is told";
  header.version = 0;
  EXPECT_OK(syscall(SYS_capget, &header, nullptr)) << "a question for the version";
  header.version = 0;
  EXPECT_ERRNO(EINVAL, syscall(SYS_capset, &header, data));
  EXPECT_EQ(header.version, static_cast<uint32_t>(_LINUX_CAPABILITY_VERSION_3));
  EXPECT_ERRNO(EFAULT, syscall(SYS_capget, BadPointer(), data));
  EXPECT_ERRNO(EFAULT, syscall(SYS_capget, &header, BadPointer()));
  EXPECT_ERRNO(EFAULT, syscall(SYS_capset, &header, BadPointer()));
  header.pid = -1;
  EXPECT_ERRNO(EINVAL, syscall(SYS_capget, &header, data));
  header.pid = 0x3fffffff;
  EXPECT_ERRNO(ESRCH, syscall(SYS_capget, &header, data));
  EXPECT_ERRNO(EPERM, syscall(SYS_capset, &header, data));
  header.pid = getppid();
  EXPECT_ERRNO(EPERM, syscall(SYS_capset, &header, data));
  header = {_LINUX_CAPABILITY_VERSION_1, gettid()};
  EXPECT_OK(syscall(SYS_capget, &header, data));
  EXPECT_EQ(data[0].effective, static_cast<uint32_t>(Get().effective));
}

TEST(CapsetTest, Rules) {
  InChild([] {
    const uint64_t some = Bit(CAP_KILL) | Bit(CAP_CHOWN);
    EXPECT_OK(Set({some, some, Bit(CAP_KILL)}));
    EXPECT_ERRNO(EPERM, Set({some, some | Bit(CAP_SYS_ADMIN), 0})) << "the permitted set only shrinks";
    EXPECT_ERRNO(EPERM, Set({some, Bit(CAP_KILL), 0})) << "effective within permitted";
    EXPECT_ERRNO(EPERM, Set({some, some, Bit(CAP_SYS_ADMIN)})) << "inheritable without SETPCAP";
    EXPECT_OK(Set({0, Bit(CAP_CHOWN), Bit(CAP_KILL)})) << "inheritable may be kept";
    EXPECT_OK(Set({Bit(CAP_CHOWN), Bit(CAP_CHOWN), Bit(CAP_CHOWN)}));
    EXPECT_ERRNO(EPERM, Set({0, 0, Bit(CAP_KILL)}));
    EXPECT_EQ(Get().inheritable, Bit(CAP_CHOWN));
    EXPECT_OK(Set({0, 0, 0}));
  });
}

TEST(IdChangeTest, LeavingRootDropsAll) {
  InChild([] {
    EXPECT_OK(SetUids(1000, 1000, 1000));
    const Caps caps = Get();
    EXPECT_EQ(caps.permitted, 0u);
    EXPECT_EQ(caps.effective, 0u);
  });
}

TEST(IdChangeTest, TheEffectiveSetFollowsTheEffectiveId) {
  InChild([] {
    const Caps before = Get();
    EXPECT_OK(SetUids(-1, 1000, -1));
    EXPECT_EQ(Get().effective, 0u);
    EXPECT_EQ(Get().permitted, before.permitted);
    EXPECT_OK(SetUids(-1, 0, -1));
    EXPECT_EQ(Get().effective, before.permitted);
  });
}

TEST(IdChangeTest, KeepingKeepsThePermittedSet) {
  InChild([] {
    const Caps before = Get();
    EXPECT_OK(prctl(PR_SET_KEEPCAPS, 1));
    EXPECT_EQ(prctl(PR_GET_KEEPCAPS), 1);
    EXPECT_EQ(prctl(PR_GET_SECUREBITS), SECBIT_KEEP_CAPS);
    EXPECT_OK(SetUids(1000, 1000, 1000));
    EXPECT_EQ(Get().permitted, before.permitted);
    EXPECT_EQ(Get().effective, 0u);
    EXPECT_ERRNO(EINVAL, prctl(PR_SET_KEEPCAPS, 2));
  });
}

TEST(IdChangeTest, FileSystemIdMovesFileSystemCapabilities) {
  InChild([] {
    constexpr uint64_t kFile = Bit(CAP_CHOWN) | Bit(CAP_DAC_OVERRIDE) | Bit(CAP_DAC_READ_SEARCH) | Bit(CAP_FOWNER) |
                               Bit(CAP_FSETID) | Bit(CAP_LINUX_IMMUTABLE) | Bit(CAP_MAC_OVERRIDE) | Bit(CAP_MKNOD);
    const uint64_t before = Get().effective;
    syscall(SYS_setfsuid, 1000);
    EXPECT_EQ(Get().effective, before & ~kFile);
    syscall(SYS_setfsuid, 0);
    EXPECT_EQ(Get().effective, before);
  });
}

TEST(SecurebitsTest, NoFixupLeavesCapabilitiesAlone) {
  InChild([] {
    const Caps before = Get();
    EXPECT_OK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP));
    EXPECT_OK(SetUids(1000, 1000, 1000));
    EXPECT_EQ(Get().effective, before.effective);
    EXPECT_EQ(Get().permitted, before.permitted);
  });
}

TEST(SecurebitsTest, LocksStay) {
  InChild([] {
    EXPECT_ERRNO(EPERM, prctl(PR_SET_SECUREBITS, 1 << 12));
    EXPECT_OK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED));
    EXPECT_ERRNO(EPERM, prctl(PR_SET_SECUREBITS, SECBIT_NOROOT_LOCKED)) << "a locked bit is fixed";
    EXPECT_ERRNO(EPERM, prctl(PR_SET_SECUREBITS, SECBIT_NOROOT)) << "a lock is not taken off";
    EXPECT_OK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS_LOCKED));
    EXPECT_ERRNO(EPERM, prctl(PR_SET_KEEPCAPS, 1));
    EXPECT_OK(Set({0, 0, 0}));
    EXPECT_ERRNO(EPERM, prctl(PR_SET_SECUREBITS, 0)) << "needs SETPCAP";
  });
}

TEST(BoundingTest, DropsForGood) {
  InChild([] {
    EXPECT_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 1);
    EXPECT_OK(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
    EXPECT_EQ(prctl(PR_CAPBSET_READ, CAP_CHOWN), 0);
    EXPECT_NE(Get().permitted & Bit(CAP_CHOWN), 0u) << "the permitted set is another matter";
    Caps caps = Get();
    caps.inheritable |= Bit(CAP_CHOWN);
    EXPECT_ERRNO(EPERM, Set(caps)) << "what is not in the bounding set is not made inheritable";
    EXPECT_ERRNO(EINVAL, prctl(PR_CAPBSET_DROP, 63));
    EXPECT_OK(Set({0, 0, 0}));
    EXPECT_ERRNO(EPERM, prctl(PR_CAPBSET_DROP, CAP_KILL));
  });
}

long Ambient(unsigned long operation, unsigned long capability = 0, unsigned long last = 0) {
  return prctl(PR_CAP_AMBIENT, operation, capability, last, 0);
}

TEST(AmbientTest, IsWithinPermittedAndInheritable) {
  InChild([] {
    EXPECT_ERRNO(EPERM, Ambient(PR_CAP_AMBIENT_RAISE, CAP_KILL)) << "not inheritable";
    Caps caps = Get();
    caps.inheritable = Bit(CAP_KILL) | Bit(CAP_CHOWN);
    ASSERT_OK(Set(caps));
    EXPECT_OK(Ambient(PR_CAP_AMBIENT_RAISE, CAP_KILL));
    EXPECT_OK(Ambient(PR_CAP_AMBIENT_RAISE, CAP_CHOWN));
    EXPECT_EQ(Ambient(PR_CAP_AMBIENT_IS_SET, CAP_KILL), 1);
    EXPECT_OK(Ambient(PR_CAP_AMBIENT_LOWER, CAP_KILL));
    EXPECT_EQ(Ambient(PR_CAP_AMBIENT_IS_SET, CAP_KILL), 0);
    caps.inheritable = 0;
    ASSERT_OK(Set(caps));
    EXPECT_EQ(Ambient(PR_CAP_AMBIENT_IS_SET, CAP_CHOWN), 0) << "goes with the inheritable set";
    caps.inheritable = Bit(CAP_KILL);
    ASSERT_OK(Set(caps));
    EXPECT_OK(Ambient(PR_CAP_AMBIENT_RAISE, CAP_KILL));
    EXPECT_ERRNO(EINVAL, Ambient(PR_CAP_AMBIENT_CLEAR_ALL, 1));
    EXPECT_OK(Ambient(PR_CAP_AMBIENT_CLEAR_ALL));
    EXPECT_EQ(Ambient(PR_CAP_AMBIENT_IS_SET, CAP_KILL), 0);
    EXPECT_ERRNO(EINVAL, Ambient(99, CAP_KILL));
    EXPECT_ERRNO(EINVAL, Ambient(PR_CAP_AMBIENT_RAISE, 63));
    EXPECT_ERRNO(EINVAL, Ambient(PR_CAP_AMBIENT_RAISE, CAP_KILL, 1));
    EXPECT_OK(prctl(PR_SET_SECUREBITS, SECBIT_NO_CAP_AMBIENT_RAISE));
    EXPECT_ERRNO(EPERM, Ambient(PR_CAP_AMBIENT_RAISE, CAP_KILL));
  });
}

TEST(NoNewPrivsTest, IsSetForGood) {
  InChild([] {
    EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
    EXPECT_ERRNO(EINVAL, prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    EXPECT_ERRNO(EINVAL, prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
    EXPECT_ERRNO(EINVAL, prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
    EXPECT_OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    EXPECT_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
    EXPECT_EQ(RunInChild([] { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }), 1) << "inherited";
  });
}

}  // namespace
}  // namespace guest
