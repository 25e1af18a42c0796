// link(2), symlink(2), readlink(2), rename(2).
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "tests/util/guest.h"

namespace guest {
namespace {

int Renameat2(const std::string& from, const std::string& to, unsigned flags) {
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
}

class LinkTest : public testing::Test {
 protected:
  LinkTest() {
    WriteFileText(dir_ / "a", "A");
    WriteFileText(dir_ / "b", "B");
    EXPECT_OK(mkdir((dir_ / "d").c_str(), 0755));
  }
  ino_t Ino(const std::string& name) {
    struct stat st = {};
    EXPECT_OK(lstat((dir_ / name).c_str(), &st));
    return st.st_ino;
  }
  TempDir dir_;
};

TEST_F(LinkTest, HardLinksShareTheInode) {
  ASSERT_OK(link((dir_ / "a").c_str(), (dir_ / "hard").c_str()));
  EXPECT_EQ(Ino("a"), Ino("hard"));
  struct stat st;
  ASSERT_OK(stat((dir_ / "a").c_str(), &st));
  EXPECT_EQ(st.st_nlink, 2u);
  EXPECT_ERRNO(EEXIST, link((dir_ / "a").c_str(), (dir_ / "b").c_str()));
  EXPECT_ERRNO(EPERM, link((dir_ / "d").c_str(), (dir_ / "e").c_str()));
  EXPECT_ERRNO(ENOENT, link((dir_ / "none").c_str(), (dir_ / "e").c_str()));
}

TEST_F(LinkTest, LinkDoesNotFollowUnlessAsked) {
  ASSERT_OK(symlink("a", (dir_ / "soft").c_str()));
  ASSERT_OK(link((dir_ / "soft").c_str(), (dir_ / "soft2").c_str()));
  EXPECT_EQ(Ino("soft"), Ino("soft2"));
  ASSERT_OK(linkat(AT_FDCWD, (dir_ / "soft").c_str(), AT_FDCWD, (dir_ / "hard").c_str(), AT_SYMLINK_FOLLOW));
  EXPECT_EQ(Ino("a"), Ino("hard"));
  EXPECT_ERRNO(EINVAL, linkat(AT_FDCWD, "a", AT_FDCWD, "b", 0x8000));
}

TEST_F(LinkTest, ReadlinkCutsAndDoesNotTerminate) {
  ASSERT_OK(symlink("target", (dir_ / "soft").c_str()));
  char text[8] = "zzzzzzz";
  EXPECT_EQ(readlink((dir_ / "soft").c_str(), text, 3), 3);
  EXPECT_STREQ(text, "tarzzzz");
  EXPECT_EQ(readlink((dir_ / "soft").c_str(), text, sizeof(text)), 6);
  EXPECT_ERRNO(EINVAL, readlink((dir_ / "a").c_str(), text, sizeof(text)));
  EXPECT_ERRNO(EINVAL, readlink((dir_ / "soft").c_str(), text, 0));
  EXPECT_ERRNO(ENOENT, readlink((dir_ / "none").c_str(), text, sizeof(text)));
  EXPECT_ERRNO(EFAULT, readlink((dir_ / "soft").c_str(), static_cast<char*>(BadPointer()), 8));
  ScopedFd fd(open((dir_ / "a").c_str(), O_PATH));
  EXPECT_ERRNO(ENOENT, readlinkat(fd.get(), "", text, sizeof(text)));
}

TEST_F(LinkTest, SymlinkErrors) {
  EXPECT_ERRNO(EEXIST, symlink("x", (dir_ / "a").c_str()));
  EXPECT_ERRNO(ENOENT, symlink("", (dir_ / "new").c_str()));
  EXPECT_ERRNO(ENAMETOOLONG, symlink(std::string(PATH_MAX, 'x').c_str(), (dir_ / "new").c_str()));
  EXPECT_ERRNO(ENOENT, symlink("x", (dir_ / "new/").c_str()));
  EXPECT_ERRNO(EFAULT, symlink(static_cast<char*>(BadPointer()), (dir_ / "new").c_str()));
}

TEST_F(LinkTest, RenameMovesAndReplaces) {
  const ino_t a = Ino("a");
  ASSERT_OK(rename((dir_ / "a").c_str(), (dir_ / "d/x").c_str()));
  EXPECT_EQ(Ino("d/x"), a);
  ASSERT_OK(rename((dir_ / "d/x").c_str(), (dir_ / "b").c_str()));
  EXPECT_EQ(Ino("b"), a);
  EXPECT_EQ(ReadFileText(dir_ / "b"), "A");
  EXPECT_ERRNO(ENOENT, access((dir_ / "a").c_str(), F_OK));
}

TEST_F(LinkTest, RenameErrors) {
  EXPECT_ERRNO(ENOENT, rename((dir_ / "none").c_str(), (dir_ / "x").c_str()));
  EXPECT_ERRNO(EISDIR, rename((dir_ / "a").c_str(), (dir_ / "d").c_str()));
  EXPECT_ERRNO(ENOTDIR, rename((dir_ / "d").c_str(), (dir_ / "a").c_str()));
  EXPECT_ERRNO(EINVAL, rename((dir_ / "d").c_str(), (dir_ / "d/e").c_str()));
  EXPECT_ERRNO(EBUSY, rename((dir_ / ".").c_str(), (dir_ / "x").c_str()));
  EXPECT_ERRNO(EBUSY, rename((dir_ / "d/..").c_str(), (dir_ / "x").c_str()));
  EXPECT_ERRNO(ENOTDIR, rename((dir_ / "a/").c_str(), (dir_ / "x").c_str()));
  EXPECT_ERRNO(ENOTDIR, rename((dir_ / "a").c_str(), (dir_ / "x/").c_str()));
  EXPECT_ERRNO(EXDEV, rename((dir_ / "a").c_str(), "/proc/x"));
  ASSERT_OK(mkdir((dir_ / "e").c_str(), 0755));
  WriteFileText(dir_ / "e/f", "");
  EXPECT_ERRNO(ENOTEMPTY, rename((dir_ / "d").c_str(), (dir_ / "e").c_str()));
  EXPECT_ERRNO(ENOTEMPTY, rename((dir_ / "e/f").c_str(), (dir_ / "e").c_str()));
  EXPECT_OK(rename((dir_ / "e").c_str(), (dir_ / "d").c_str()));
}

TEST_F(LinkTest, RenameFlags) {
  EXPECT_ERRNO(EEXIST, Renameat2(dir_ / "a", dir_ / "b", RENAME_NOREPLACE));
  EXPECT_OK(Renameat2(dir_ / "a", dir_ / "b", RENAME_EXCHANGE));
  EXPECT_EQ(ReadFileText(dir_ / "a"), "B");
  EXPECT_OK(Renameat2(dir_ / "a", dir_ / "d", RENAME_EXCHANGE));
  struct stat st;
  ASSERT_OK(stat((dir_ / "a").c_str(), &st));
  EXPECT_TRUE(S_ISDIR(st.st_mode));
  EXPECT_ERRNO(ENOENT, Renameat2(dir_ / "b", dir_ / "none", RENAME_EXCHANGE));
  EXPECT_ERRNO(EINVAL, Renameat2(dir_ / "a", dir_ / "b", RENAME_EXCHANGE | RENAME_NOREPLACE));
  EXPECT_ERRNO(EINVAL, Renameat2(dir_ / "a", dir_ / "b", 0x80));
}

TEST_F(LinkTest, RenamingOneFileOntoItselfDoesNothing) {
  ASSERT_OK(link((dir_ / "a").c_str(), (dir_ / "a2").c_str()));
  EXPECT_OK(rename((dir_ / "a").c_str(), (dir_ / "a2").c_str()));
  EXPECT_OK(access((dir_ / "a").c_str(), F_OK));
  EXPECT_OK(access((dir_ / "a2").c_str(), F_OK));
}

TEST_F(LinkTest, AMovedDirectoryKnowsItsNewParent) {
  ASSERT_OK(mkdir((dir_ / "d/inner").c_str(), 0755));
  ScopedFd inner(open((dir_ / "d/inner").c_str(), O_RDONLY));
  ASSERT_OK(rename((dir_ / "d/inner").c_str(), (dir_ / "moved").c_str()));
  struct stat up, top;
  ASSERT_OK(fstatat(inner.get(), "..", &up, 0));
  ASSERT_OK(stat(dir_.path().c_str(), &top));
  EXPECT_EQ(up.st_ino, top.st_ino);
}

}  // namespace
}  // namespace guest
