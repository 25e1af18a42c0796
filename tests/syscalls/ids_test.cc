// setuid(2), setreuid(2), setresuid(2), setfsuid(2), their group forms, getgroups(2), setgroups(2).
#include <fcntl.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <vector>

#include "tests/util/guest.h"

namespace guest {
namespace {

struct Ids {
  uid_t real, effective, saved;
  bool operator==(const Ids&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Ids& ids) {
  return out << ids.real << "/" << ids.effective << "/" << ids.saved;
}

// The raw calls: the C library's would change all threads.
struct Family {
  const char* name;
  long set, setre, setres, getres, setfs;
};
constexpr Family kUsers = {"users", SYS_setuid, SYS_setreuid, SYS_setresuid, SYS_getresuid, SYS_setfsuid};
constexpr Family kGroups = {"groups", SYS_setgid, SYS_setregid, SYS_setresgid, SYS_getresgid, SYS_setfsgid};

constexpr uid_t kKeep = -1;

class IdsTest : public testing::TestWithParam<Family> {
 protected:
  static Ids Get() {
    Ids ids = {};
    EXPECT_OK(syscall(GetParam().getres, &ids.real, &ids.effective, &ids.saved));
    return ids;
  }
  static uid_t FsId() { return static_cast<uid_t>(syscall(GetParam().setfs, kKeep)); }
  // In a child with ids 1000/1001/1002 and no privilege.
  static void Unprivileged(const std::function<void()>& body) {
    EXPECT_EQ(RunInChild([&] {
                if (syscall(SYS_setresgid, 1000, 1001, 1002) != 0) return 1;
                if (syscall(SYS_setresuid, 1000, 1001, 1002) != 0) return 2;
                body();
                return 0;
              }),
              0);
  }
};

TEST_P(IdsTest, RulesOfTheUnprivileged) {
  const Family& f = GetParam();
  const struct {
    long call;
    uid_t a, b, c;
    int error;
    Ids after;
  } cases[] = {
      {f.set, 1000, 0, 0, 0, {1000, 1000, 1002}},
      {f.set, 1002, 0, 0, 0, {1000, 1002, 1002}},
      {f.set, 1001, 0, 0, EPERM, {1000, 1001, 1002}},  // the effective id does not count
      {f.set, 7, 0, 0, EPERM, {1000, 1001, 1002}},
      {f.set, 0, 0, 0, EPERM, {1000, 1001, 1002}},
      {f.set, kKeep, 0, 0, EINVAL, {1000, 1001, 1002}},
      {f.setres, kKeep, kKeep, kKeep, 0, {1000, 1001, 1002}},
      {f.setres, 1002, 1000, 1001, 0, {1002, 1000, 1001}},
      {f.setres, kKeep, 1000, kKeep, 0, {1000, 1000, 1002}},
      {f.setres, 7, kKeep, kKeep, EPERM, {1000, 1001, 1002}},
      {f.setres, kKeep, 7, kKeep, EPERM, {1000, 1001, 1002}},
      {f.setres, kKeep, kKeep, 7, EPERM, {1000, 1001, 1002}},
      {f.setre, kKeep, kKeep, 0, 0, {1000, 1001, 1002}},
      {f.setre, 1001, 1000, 0, 0, {1001, 1000, 1000}},       // a new real id sets the saved one
      {f.setre, 1002, kKeep, 0, EPERM, {1000, 1001, 1002}},  // the saved id is no real one
      {f.setre, kKeep, 1002, 0, 0, {1000, 1002, 1002}},
      {f.setre, kKeep, 1000, 0, 0, {1000, 1000, 1002}},  // the real id again: the saved one stays
      {f.setre, kKeep, 7, 0, EPERM, {1000, 1001, 1002}},
  };
  for (const auto& c : cases) {
    Unprivileged([&] {
      const long result = syscall(c.call, c.a, c.b, c.c);
      EXPECT_EQ(result == 0 ? 0 : errno, c.error) << &c - cases;
      EXPECT_EQ(Get(), c.after) << &c - cases;
      EXPECT_EQ(FsId(), c.after.effective) << &c - cases;
    });
  }
}

TEST_P(IdsTest, ThePrivilegedMayTakeAny) {
  const Family& f = GetParam();
  const struct {
    long call;
    uid_t a, b, c;
    Ids after;
  } cases[] = {
      {f.set, 5, 0, 0, {5, 5, 5}},   {f.setres, 5, 6, 7, {5, 6, 7}},    {f.setre, 5, kKeep, 0, {5, 0, 0}},
      {f.setre, 5, 6, 0, {5, 6, 6}}, {f.setre, kKeep, 6, 0, {0, 6, 6}},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(RunInChild([&] {
                EXPECT_OK(syscall(c.call, c.a, c.b, c.c));
                EXPECT_EQ(Get(), c.after) << &c - cases;
                EXPECT_EQ(FsId(), c.after.effective);
                return 0;
              }),
              0);
  }
}

TEST_P(IdsTest, FileSystemIdIsReturnedWhetherChangedOrNot) {
  const long setfs = GetParam().setfs;
  Unprivileged([&] {
    EXPECT_EQ(syscall(setfs, 1002), 1001);
    EXPECT_EQ(syscall(setfs, 7), 1002);
    EXPECT_EQ(syscall(setfs, 1000), 1002);
    EXPECT_EQ(syscall(setfs, kKeep), 1000);
    EXPECT_EQ(Get(), (Ids{1000, 1001, 1002}));
    EXPECT_OK(syscall(GetParam().setres, kKeep, 1001, kKeep));
    EXPECT_EQ(FsId(), 1001u) << "follows any change of the effective id";
  });
}

TEST_P(IdsTest, BadPointers) {
  Ids ids;
  const long getres = GetParam().getres;
  EXPECT_ERRNO(EFAULT, syscall(getres, BadPointer(), &ids.effective, &ids.saved));
  EXPECT_ERRNO(EFAULT, syscall(getres, &ids.real, BadPointer(), &ids.saved));
  EXPECT_ERRNO(EFAULT, syscall(getres, &ids.real, &ids.effective, BadPointer()));
}

INSTANTIATE_TEST_SUITE_P(Families, IdsTest, testing::Values(kUsers, kGroups),
                         [](const auto& info) { return info.param.name; });

TEST(FsuidTest, OwnsNewFilesAndOpensThem) {
  TempDir dir;
  EXPECT_EQ(RunInChild([&] {
              setfsgid(1001);
              setfsuid(1000);
              ScopedFd fd(open((dir / "mine").c_str(), O_CREAT | O_RDWR, 0600));
              EXPECT_GE(fd.get(), 0);
              struct stat st;
              EXPECT_OK(fstat(fd.get(), &st));
              EXPECT_EQ(st.st_uid, 1000u);
              EXPECT_EQ(st.st_gid, 1001u);
              setfsuid(1002);
              EXPECT_ERRNO(EACCES, open((dir / "mine").c_str(), O_RDONLY));
              EXPECT_OK(access((dir / "mine").c_str(), R_OK)) << "access(2) asks for the real user";
              setfsuid(0);
              ScopedFd again(open((dir / "mine").c_str(), O_RDONLY));
              EXPECT_GE(again.get(), 0) << "root's file system privileges are back";
              return 0;
            }),
            0);
}

TEST(GroupsTest, SetAndGet) {
  EXPECT_EQ(RunInChild([] {
              const gid_t wanted[] = {30, 10, 20, 10};
              EXPECT_OK(syscall(SYS_setgroups, 4, wanted));
              gid_t got[4] = {};
              EXPECT_EQ(getgroups(0, nullptr), 4);
              EXPECT_EQ(getgroups(4, got), 4);
              EXPECT_EQ((std::vector<gid_t>(got, got + 4)), (std::vector<gid_t>{10, 10, 20, 30}));
              EXPECT_ERRNO(EINVAL, getgroups(3, got));
              EXPECT_ERRNO(EINVAL, syscall(SYS_getgroups, -1, got));
              EXPECT_ERRNO(EFAULT, getgroups(4, static_cast<gid_t*>(BadPointer())));
              EXPECT_OK(syscall(SYS_setgroups, 0, nullptr));
              EXPECT_EQ(getgroups(0, nullptr), 0);
              return 0;
            }),
            0);
}

TEST(GroupsTest, Errors) {
  const gid_t bad[] = {1, static_cast<gid_t>(-1)};
  EXPECT_ERRNO(EINVAL, syscall(SYS_setgroups, NGROUPS_MAX + 1, bad));
  EXPECT_ERRNO(EINVAL, syscall(SYS_setgroups, -1, bad));
  EXPECT_ERRNO(EINVAL, syscall(SYS_setgroups, 2, bad));
  EXPECT_ERRNO(EFAULT, syscall(SYS_setgroups, 2, BadPointer()));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, syscall(SYS_setgroups, 0, nullptr));
              EXPECT_ERRNO(EPERM, syscall(SYS_setgroups, -1, bad));
              return 0;
            }),
            0);
}

TEST(GroupsTest, OpenFilesOfTheirGroup) {
  TempDir dir;
  WriteFileText(dir / "f", "x");
  ASSERT_OK(chown((dir / "f").c_str(), 0, 4321));
  ASSERT_OK(chmod((dir / "f").c_str(), 0040));
  const auto opens = [&](std::vector<gid_t> groups) {
    return RunInChild([&] {
      if (syscall(SYS_setgroups, groups.size(), groups.data()) != 0 || setresgid(7, 7, 7) != 0 ||
          setresuid(7, 7, 7) != 0)
        return 1;
      ScopedFd fd(open((dir / "f").c_str(), O_RDONLY));
      return fd.get() >= 0 ? 0 : errno;
    });
  };
  EXPECT_EQ(opens({1, 4321, 9}), 0);
  EXPECT_EQ(opens({1, 9}), EACCES);
}

}  // namespace
}  // namespace guest
