// chown(2), fchownat(2), chmod(2), fchmodat2(2), umask(2), utimensat(2): who may, and what goes with it.
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

constexpr uid_t kUser = 1000, kOther = 1001;

class OwnerTest : public testing::Test {
 protected:
  OwnerTest() { Reset(); }
  void Reset(uid_t owner = kUser, gid_t group = kUser, mode_t mode = 0644) {
    WriteFileText(file_, "x");
    EXPECT_OK(chown(file_.c_str(), owner, group));
    EXPECT_OK(chmod(file_.c_str(), mode));
  }
  struct stat Stat() {
    struct stat st = {};
    EXPECT_OK(lstat(file_.c_str(), &st));
    return st;
  }
  mode_t Mode() { return Stat().st_mode & 07777; }
  static void AsUser(const std::function<void()>& body, std::initializer_list<gid_t> groups = {}) {
    EXPECT_EQ(RunInChild([&] {
                if (syscall(SYS_setgroups, groups.size(), groups.begin()) != 0) return 1;
                if (setresgid(kUser, kUser, kUser) != 0 || setresuid(kUser, kUser, kUser) != 0) return 2;
                body();
                return 0;
              }),
              0);
  }
  TempDir dir_;
  const std::string file_ = dir_ / "file";
};

TEST_F(OwnerTest, OwnersGiveToTheirGroupsOnly) {
  AsUser(
      [&] {
        EXPECT_OK(chown(file_.c_str(), -1, 30));
        EXPECT_OK(chown(file_.c_str(), kUser, kUser));
        EXPECT_ERRNO(EPERM, chown(file_.c_str(), -1, 40));
        EXPECT_ERRNO(EPERM, chown(file_.c_str(), kOther, -1));
        EXPECT_OK(chown(file_.c_str(), -1, -1));
      },
      {30});
  Reset(kOther, kUser);
  AsUser([&] {
    EXPECT_ERRNO(EPERM, chown(file_.c_str(), -1, kUser));
    EXPECT_ERRNO(EPERM, chmod(file_.c_str(), 0600));
    EXPECT_OK(chown(file_.c_str(), -1, -1));
  });
}

TEST_F(OwnerTest, SetIdBitsGoByTheChanger) {
  for (const mode_t mode : {06755u, 02745u, 04644u}) {
    Reset(kUser, kUser, mode);
    EXPECT_OK(chown(file_.c_str(), kOther, kOther));
    // Group set-id without group execute is a lock's mark and stays for the privileged.
    EXPECT_EQ(Mode(), mode & (mode & S_IXGRP ? ~06000u : ~04000u)) << std::oct << mode;
    Reset(kUser, kUser, mode);
    AsUser([&] { EXPECT_OK(chown(file_.c_str(), -1, kUser)); });
    EXPECT_EQ(Mode() & 04010u & mode, mode & 00010u) << std::oct << mode;
  }
  ASSERT_OK(mkdir((dir_ / "d").c_str(), 0755));
  ASSERT_OK(chmod((dir_ / "d").c_str(), 06755));
  ASSERT_OK(chown((dir_ / "d").c_str(), kUser, kUser));
  struct stat st;
  ASSERT_OK(stat((dir_ / "d").c_str(), &st));
  EXPECT_EQ(st.st_mode & 07777, 06755u) << "directories keep them";
}

TEST_F(OwnerTest, SetGroupIdNeedsTheGroup) {
  Reset(kUser, 40);
  AsUser([&] { EXPECT_OK(chmod(file_.c_str(), 02755)); });
  EXPECT_EQ(Mode(), 0755u) << "silently dropped";
  Reset(kUser, 40);
  AsUser([&] { EXPECT_OK(chmod(file_.c_str(), 02755)); }, {40});
  EXPECT_EQ(Mode(), 02755u);
  Reset(kUser, 40, 0755);
  AsUser([&] {
    ScopedFd fd(open(file_.c_str(), O_RDONLY));
    EXPECT_OK(fchmod(fd.get(), 07777));
  });
  EXPECT_EQ(Mode(), 05777u);
}

TEST_F(OwnerTest, LinksAndDescriptors) {
  ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
  EXPECT_OK(fchownat(AT_FDCWD, (dir_ / "link").c_str(), 5, 6, AT_SYMLINK_NOFOLLOW));
  struct stat st;
  ASSERT_OK(lstat((dir_ / "link").c_str(), &st));
  EXPECT_EQ(st.st_uid, 5u);
  EXPECT_EQ(Stat().st_uid, kUser);
  ScopedFd path(open(file_.c_str(), O_PATH)), fd(open(file_.c_str(), O_RDONLY));
  EXPECT_ERRNO(EBADF, fchown(path.get(), 1, 1));
  EXPECT_ERRNO(EBADF, fchmod(path.get(), 0600));
  EXPECT_OK(fchownat(path.get(), "", 7, 8, AT_EMPTY_PATH));
  EXPECT_EQ(Stat().st_uid, 7u);
  EXPECT_OK(fchown(fd.get(), 9, -1));
  EXPECT_EQ(Stat().st_uid, 9u);
  EXPECT_EQ(Stat().st_gid, 8u);
  EXPECT_ERRNO(EINVAL, fchownat(AT_FDCWD, file_.c_str(), 1, 1, 0x8000));
  EXPECT_ERRNO(ENOENT, fchownat(fd.get(), "", 1, 1, 0));
  EXPECT_ERRNO(ENOTDIR, fchownat(fd.get(), "x", 1, 1, 0));
  EXPECT_ERRNO(EBADF, fchownat(-1, "x", 1, 1, 0));
  EXPECT_ERRNO(EFAULT, chown(static_cast<char*>(BadPointer()), 1, 1));
}

TEST_F(OwnerTest, ModeForms) {
  constexpr long kFchmodat2 = 452;
  ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
  EXPECT_OK(syscall(SYS_fchmodat, AT_FDCWD, (dir_ / "link").c_str(), 0611));
  EXPECT_EQ(Mode(), 0611u);
  EXPECT_OK(chmod(file_.c_str(), 0170644)) << "what is no permission is ignored";
  EXPECT_EQ(Mode(), 0644u);
  EXPECT_ERRNO(ENOTDIR, chmod((dir_ / "file/").c_str(), 0600));
  if (syscall(kFchmodat2, AT_FDCWD, file_.c_str(), 0600, 0) != 0 && errno == ENOSYS) return;  // before Linux 6.6
  EXPECT_EQ(Mode(), 0600u);
  EXPECT_ERRNO(EOPNOTSUPP, syscall(kFchmodat2, AT_FDCWD, (dir_ / "link").c_str(), 0600, AT_SYMLINK_NOFOLLOW));
  EXPECT_ERRNO(EINVAL, syscall(kFchmodat2, AT_FDCWD, file_.c_str(), 0600, 0x8000));
  ScopedFd path(open(file_.c_str(), O_PATH));
  EXPECT_OK(syscall(kFchmodat2, path.get(), "", 0640, AT_EMPTY_PATH));
  EXPECT_EQ(Mode(), 0640u);
}

TEST_F(OwnerTest, TheMaskAppliesToEverythingCreated) {
  EXPECT_EQ(RunInChild([&] {
              EXPECT_EQ(umask(0137) & ~0777u, 0u);
              EXPECT_EQ(umask(07137), 0137u) << "permission bits only";
              EXPECT_EQ(umask(0137), 0137u);
              struct stat st;
              ScopedFd fd(open((dir_ / "o").c_str(), O_CREAT | O_WRONLY, 07777));
              EXPECT_OK(fstat(fd.get(), &st));
              EXPECT_EQ(st.st_mode & 07777, 07640u);
              EXPECT_OK(mknod((dir_ / "n").c_str(), S_IFIFO | 0777, 0));
              EXPECT_OK(stat((dir_ / "n").c_str(), &st));
              EXPECT_EQ(st.st_mode & 07777, 0640u);
              EXPECT_OK(mkdir((dir_ / "d").c_str(), 07777));
              EXPECT_OK(stat((dir_ / "d").c_str(), &st));
              EXPECT_EQ(st.st_mode & 07777, 01640u) << "mkdir takes no set-id bits";
              EXPECT_EQ(RunInChild([] { return umask(0) == 0137 ? 0 : 1; }), 0);
              return 0;
            }),
            0);
}

TEST_F(OwnerTest, SetGroupIdDirectoriesPassTheirGroupOn) {
  ASSERT_OK(mkdir((dir_ / "d").c_str(), 0755));
  ASSERT_OK(chown((dir_ / "d").c_str(), kUser, 40));
  ASSERT_OK(chmod((dir_ / "d").c_str(), 02777));
  AsUser([&] {
    struct stat st;
    ScopedFd fd(open((dir_ / "d/f").c_str(), O_CREAT | O_WRONLY, 02775));
    EXPECT_OK(fstat(fd.get(), &st));
    EXPECT_EQ(st.st_gid, 40u);
    EXPECT_EQ(st.st_mode & S_ISGID, 0u) << "of a group the creator is not in";
    EXPECT_OK(mkdir((dir_ / "d/e").c_str(), 0755));
    EXPECT_OK(stat((dir_ / "d/e").c_str(), &st));
    EXPECT_EQ(st.st_gid, 40u);
    EXPECT_EQ(st.st_mode & S_ISGID, static_cast<mode_t>(S_ISGID));
  });
}

TEST_F(OwnerTest, WhoMaySetTimes) {
  const timespec past[] = {{1, 0}, {2, 0}}, omit_both[] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
  const timespec now_both[] = {{0, UTIME_NOW}, {0, UTIME_NOW}}, now_and_omit[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
  const struct {
    uid_t owner;
    mode_t mode;
    const timespec* times;
    int error;
  } cases[] = {
      {kUser, 0400, past, 0},          {kUser, 0000, now_both, 0},          {kOther, 0666, past, EPERM},
      {kOther, 0666, now_both, 0},     {kOther, 0666, nullptr, 0},          {kOther, 0644, now_both, EACCES},
      {kOther, 0644, nullptr, EACCES}, {kOther, 0666, now_and_omit, EPERM}, {kOther, 0000, omit_both, 0},
  };
  for (const auto& c : cases) {
    Reset(c.owner, c.owner, c.mode);
    AsUser([&] {
      const int result = utimensat(AT_FDCWD, file_.c_str(), c.times, 0);
      EXPECT_EQ(result == 0 ? 0 : errno, c.error) << &c - cases;
    });
  }
}

TEST_F(OwnerTest, TimesErrors) {
  const timespec bad[] = {{1, -1}, {1, 0}};
  EXPECT_ERRNO(EINVAL, utimensat(AT_FDCWD, file_.c_str(), bad, 0));
  EXPECT_ERRNO(EINVAL, utimensat(AT_FDCWD, file_.c_str(), nullptr, 0x8000));
  EXPECT_ERRNO(EFAULT, syscall(SYS_utimensat, AT_FDCWD, nullptr, nullptr, 0));
  EXPECT_ERRNO(EBADF, syscall(SYS_utimensat, -1, nullptr, nullptr, 0));
  EXPECT_ERRNO(EBADF, utimensat(-1, "x", nullptr, 0));
  EXPECT_ERRNO(ENOENT, utimensat(AT_FDCWD, "", nullptr, 0));
  ScopedFd fd(open(file_.c_str(), O_RDONLY));
  EXPECT_ERRNO(ENOTDIR, utimensat(fd.get(), "x", nullptr, 0));
  EXPECT_OK(utimensat(fd.get(), "", nullptr, AT_EMPTY_PATH));
  ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
  const timespec past[] = {{-5, 7}, {10, 0}};
  EXPECT_OK(utimensat(AT_FDCWD, (dir_ / "link").c_str(), past, AT_SYMLINK_NOFOLLOW));
  struct stat st;
  ASSERT_OK(lstat((dir_ / "link").c_str(), &st));
  EXPECT_EQ(st.st_atim.tv_sec, -5) << "before 1970";
  EXPECT_EQ(st.st_atim.tv_nsec, 7);
  EXPECT_GT(Stat().st_mtim.tv_sec, 10);
  timeval tv[] = {{1, 0}, {1, -1}};
  EXPECT_ERRNO(EINVAL, syscall(SYS_futimesat, AT_FDCWD, file_.c_str(), tv));
  EXPECT_ERRNO(EFAULT, syscall(SYS_utime, file_.c_str(), BadPointer()));
}

}  // namespace
}  // namespace guest
