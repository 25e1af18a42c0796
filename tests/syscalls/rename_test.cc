// rename(2), renameat2(2), link(2), unlink(2): permissions and what link_test does not say.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "tests/util/guest.h"

namespace guest {
namespace {

constexpr uid_t kUser = 1000;

class RenameTest : public testing::Test {
 protected:
  std::string Make(const std::string& name, uid_t owner = 0, mode_t mode = 0644) {
    WriteFileText(dir_ / name, name);
    EXPECT_OK(chown((dir_ / name).c_str(), owner, owner));
    EXPECT_OK(chmod((dir_ / name).c_str(), mode));
    return dir_ / name;
  }
  std::string MakeDir(const std::string& name, uid_t owner = 0, mode_t mode = 0755) {
    EXPECT_OK(mkdir((dir_ / name).c_str(), 0755));
    EXPECT_OK(chown((dir_ / name).c_str(), owner, owner));
    EXPECT_OK(chmod((dir_ / name).c_str(), mode));
    return dir_ / name;
  }
  static int Move(const std::string& from, const std::string& to, unsigned flags = 0) {
    return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
  }
  static void AsUser(const std::function<void()>& body) {
    EXPECT_EQ(RunInChild([&] {
                if (setresgid(kUser, kUser, kUser) != 0 || setresuid(kUser, kUser, kUser) != 0) return 1;
                body();
                return 0;
              }),
              0);
  }
  TempDir dir_;
};

TEST_F(RenameTest, BothDirectoriesMustBeWritable) {
  const std::string open = MakeDir("open", kUser), closed = MakeDir("closed");
  Make("open/f", kUser);
  Make("closed/f", kUser);
  AsUser([&] {
    EXPECT_ERRNO(EACCES, Move(open + "/f", closed + "/g"));
    EXPECT_ERRNO(EACCES, Move(closed + "/f", open + "/g"));
    EXPECT_ERRNO(EACCES, Move(open + "/f", closed + "/f", RENAME_EXCHANGE));
    EXPECT_OK(Move(open + "/f", open + "/g"));
  });
}

TEST_F(RenameTest, MovingADirectoryWritesItsParentEntry) {
  const std::string a = MakeDir("a", kUser), b = MakeDir("b", kUser);
  MakeDir("a/mine", kUser);
  MakeDir("a/others", 0);
  MakeDir("a/sealed", kUser, 0500);
  AsUser([&] {
    EXPECT_OK(Move(a + "/mine", b + "/mine"));
    EXPECT_ERRNO(EACCES, Move(a + "/others", b + "/others")) << "its .. would change";
    EXPECT_OK(Move(a + "/others", a + "/renamed")) << "within one directory it does not";
    EXPECT_ERRNO(EACCES, Move(a + "/sealed", b + "/sealed"));
  });
}

TEST_F(RenameTest, StickyDirectories) {
  const std::string sticky = MakeDir("sticky", 0, 01777), open = MakeDir("open", kUser, 0777);
  Make("sticky/mine", kUser);
  Make("sticky/theirs", 0);
  Make("open/f", kUser);
  AsUser([&] {
    EXPECT_ERRNO(EPERM, Move(sticky + "/theirs", open + "/x"));
    EXPECT_ERRNO(EPERM, Move(open + "/f", sticky + "/theirs")) << "the victim is another's";
    EXPECT_ERRNO(EPERM, Move(open + "/f", sticky + "/theirs", RENAME_EXCHANGE));
    EXPECT_OK(Move(open + "/f", sticky + "/mine"));
    EXPECT_ERRNO(EPERM, unlink((sticky + "/theirs").c_str()));
    EXPECT_OK(unlink((sticky + "/mine").c_str()));
  });
}

TEST_F(RenameTest, OrderOfChecks) {
  Make("f");
  Make("g");
  MakeDir("d");
  MakeDir("d/e");
  EXPECT_ERRNO(EINVAL, Move(dir_ / "none", dir_ / "x", 0x100));
  EXPECT_ERRNO(EINVAL, Move(dir_ / "none", dir_ / "x", RENAME_NOREPLACE | RENAME_EXCHANGE));
  EXPECT_ERRNO(EINVAL, Move(dir_ / "none", dir_ / "x", RENAME_WHITEOUT | RENAME_EXCHANGE));
  EXPECT_ERRNO(EEXIST, Move(dir_ / "f", dir_ / ".", RENAME_NOREPLACE));
  EXPECT_ERRNO(EBUSY, Move(dir_ / "f", dir_ / "."));
  EXPECT_ERRNO(ENOENT, Move(dir_ / "none", dir_ / "f", RENAME_NOREPLACE));
  EXPECT_ERRNO(EEXIST, Move(dir_ / "f", dir_ / "g", RENAME_NOREPLACE));
  EXPECT_ERRNO(EEXIST, Move(dir_ / "f", dir_ / "f", RENAME_NOREPLACE));
  EXPECT_ERRNO(EINVAL, Move(dir_ / "d", dir_ / "d/e/x"));
  EXPECT_ERRNO(ENOTEMPTY, Move(dir_ / "d/e", dir_ / "d"));
  EXPECT_ERRNO(EINVAL, Move(dir_ / "d", dir_ / "d/e", RENAME_EXCHANGE));
  EXPECT_ERRNO(EINVAL, Move(dir_ / "d/e", dir_ / "d", RENAME_EXCHANGE));
  EXPECT_ERRNO(ENOTDIR, Move(dir_ / "f/x", dir_ / "y"));
  EXPECT_ERRNO(ENOTDIR, Move(dir_ / "f", dir_ / "g/y"));
  EXPECT_ERRNO(ENOENT, Move(dir_ / "f", dir_ / "none/y"));
  EXPECT_ERRNO(ENOENT, Move("", dir_ / "y"));
  EXPECT_ERRNO(ENOENT, Move(dir_ / "f", ""));
  EXPECT_ERRNO(ENAMETOOLONG, Move(dir_ / "f", dir_ / std::string(256, 'n')));
  EXPECT_ERRNO(ENAMETOOLONG, Move(dir_ / "f", "/" + std::string(PATH_MAX, 'n')));
  EXPECT_ERRNO(EFAULT, rename(static_cast<char*>(BadPointer()), (dir_ / "y").c_str()));
  EXPECT_ERRNO(EFAULT, rename((dir_ / "f").c_str(), static_cast<char*>(BadPointer())));
  EXPECT_ERRNO(EBADF, renameat(-1, "f", AT_FDCWD, (dir_ / "y").c_str()));
  EXPECT_OK(Move(dir_ / "d/", dir_ / "moved/")) << "slashes may follow directories";
  EXPECT_OK(Move(dir_ / "f", dir_ / std::string(255, 'n')));
}

TEST_F(RenameTest, LinksAreMovedThemselves) {
  Make("f");
  ASSERT_OK(symlink("f", (dir_ / "link").c_str()));
  ASSERT_OK(symlink("loop", (dir_ / "loop").c_str()));
  EXPECT_OK(Move(dir_ / "link", dir_ / "moved"));
  EXPECT_OK(Move(dir_ / "loop", dir_ / "loop2"));
  struct stat st;
  ASSERT_OK(lstat((dir_ / "moved").c_str(), &st));
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  Make("g");
  EXPECT_OK(Move(dir_ / "g", dir_ / "moved")) << "the link is replaced, not its target";
  EXPECT_EQ(ReadFileText(dir_ / "f"), "f");
}

TEST_F(RenameTest, MountPointsStay) {
  const std::string point = MakeDir("point");
  MakeDir("d");
  ASSERT_OK(mount("none", point.c_str(), "tmpfs", 0, nullptr));
  EXPECT_ERRNO(EBUSY, Move(point, dir_ / "elsewhere"));
  EXPECT_ERRNO(EBUSY, Move(dir_ / "d", point));
  EXPECT_ERRNO(EBUSY, rmdir(point.c_str()));
  Make("f");
  EXPECT_ERRNO(EXDEV, Move(dir_ / "f", point + "/f"));
  EXPECT_ERRNO(EXDEV, link((dir_ / "f").c_str(), (point + "/f").c_str()));
  EXPECT_OK(umount(point.c_str()));
}

TEST_F(RenameTest, ReadOnlyMounts) {
  const std::string point = MakeDir("point");
  ASSERT_OK(mount("none", point.c_str(), "tmpfs", 0, nullptr));
  WriteFileText(point + "/f", "");
  ASSERT_OK(mount(nullptr, point.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr));
  const std::string file = point + "/f", other = point + "/new";
  EXPECT_ERRNO(EROFS, Move(file, other));
  EXPECT_ERRNO(EROFS, unlink(file.c_str()));
  EXPECT_ERRNO(EROFS, link(file.c_str(), other.c_str()));
  EXPECT_ERRNO(EROFS, symlink("x", other.c_str()));
  EXPECT_ERRNO(EEXIST, symlink("x", file.c_str()));
  EXPECT_ERRNO(EROFS, mkdir(other.c_str(), 0755));
  EXPECT_ERRNO(EROFS, mknod(other.c_str(), S_IFREG, 0));
  EXPECT_ERRNO(EROFS, open(other.c_str(), O_CREAT | O_WRONLY, 0644));
  EXPECT_ERRNO(EROFS, open(file.c_str(), O_WRONLY));
  EXPECT_ERRNO(EROFS, truncate(file.c_str(), 0));
  EXPECT_ERRNO(EROFS, chmod(file.c_str(), 0600));
  EXPECT_ERRNO(EROFS, chown(file.c_str(), 1, 1));
  EXPECT_ERRNO(EROFS, utimensat(AT_FDCWD, file.c_str(), nullptr, 0));
  EXPECT_ERRNO(EROFS, access(file.c_str(), W_OK));
  EXPECT_OK(access(file.c_str(), R_OK));
  EXPECT_OK(umount(point.c_str()));
}

}  // namespace
}  // namespace guest
