// Path walks: symbolic links, trailing slashes, limits; faccessat2(2), openat2(2) RESOLVE_*.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "tests/util/guest.h"

namespace guest {
namespace {

class PathTest : public testing::Test {
 protected:
  PathTest() {
    WriteFileText(dir_ / "file", "text");
    EXPECT_OK(mkdir((dir_ / "sub").c_str(), 0755));
  }
  int Stat(const std::string& path) {
    struct stat st;
    return stat(path.c_str(), &st) == 0 ? 0 : errno;
  }
  TempDir dir_;
};

TEST_F(PathTest, FortyLinksAreFollowedAndNoMore) {
  ASSERT_OK(symlink("file", (dir_ / "l0").c_str()));
  for (int i = 1; i <= 40; ++i) {
    ASSERT_OK(symlink(("l" + std::to_string(i - 1)).c_str(), (dir_ / ("l" + std::to_string(i))).c_str()));
  }
  EXPECT_EQ(Stat(dir_ / "l39"), 0);
  EXPECT_EQ(Stat(dir_ / "l40"), ELOOP);
}

TEST_F(PathTest, TrailingSlashesAskForDirectories) {
  ASSERT_OK(symlink("sub", (dir_ / "tosub").c_str()));
  ASSERT_OK(symlink("file", (dir_ / "tofile").c_str()));
  const struct {
    const char* name;
    int error;
  } cases[] = {{"file/", ENOTDIR},    {"file/.", ENOTDIR}, {"file/..", ENOTDIR}, {"sub/", 0},
               {"sub//./..//sub", 0}, {"tosub/", 0},       {"tofile/", ENOTDIR}, {"none/", ENOENT},
               {"none/..", ENOENT},   {"//sub", 0}};
  for (const auto& c : cases) EXPECT_EQ(Stat(dir_ / c.name), c.error) << c.name;
  struct stat st;
  ASSERT_OK(lstat((dir_ / "tosub/").c_str(), &st));
  EXPECT_TRUE(S_ISDIR(st.st_mode)) << "a slash follows the link";
  EXPECT_ERRNO(EISDIR, open((dir_ / "new/").c_str(), O_CREAT | O_WRONLY, 0600));
  EXPECT_ERRNO(ENOTDIR, rmdir((dir_ / "tosub").c_str()));
  EXPECT_ERRNO(ENOTDIR, open((dir_ / "file").c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_ERRNO(ELOOP, open((dir_ / "tofile").c_str(), O_RDONLY | O_NOFOLLOW));
  EXPECT_ERRNO(ENOTDIR, open((dir_ / "tosub").c_str(), O_RDONLY | O_NOFOLLOW | O_DIRECTORY));
  EXPECT_EQ(Stat("/../../.."), 0);
}

TEST_F(PathTest, Lengths) {
  EXPECT_EQ(Stat(dir_ / std::string(255, 'x')), ENOENT);
  EXPECT_EQ(Stat(dir_ / std::string(256, 'x')), ENAMETOOLONG);
  std::string path = dir_ / "file";
  path.insert(0, PATH_MAX - 1 - path.size(), '/');
  EXPECT_EQ(Stat(path), 0) << "4095 bytes";
  EXPECT_EQ(Stat("/" + path), ENAMETOOLONG);
}

TEST_F(PathTest, DescriptorsMustBeDirectoriesWhereTheyAreUsed) {
  ScopedFd file(open((dir_ / "file").c_str(), O_RDONLY));
  struct stat st;
  EXPECT_ERRNO(ENOTDIR, fstatat(file.get(), "x", &st, 0));
  EXPECT_ERRNO(EBADF, fstatat(-1, "x", &st, 0));
  EXPECT_OK(fstatat(-1, dir_.path().c_str(), &st, 0)) << "not used for an absolute path";
  EXPECT_ERRNO(ENOENT, fstatat(-1, "", &st, 0));
  EXPECT_ERRNO(EBADF, fstatat(-1, "", &st, AT_EMPTY_PATH));
}

TEST_F(PathTest, Faccessat2) {
  const auto access2 = [](int fd, const char* path, int mode, int flags) {
    return syscall(SYS_faccessat2, fd, path, mode, flags);
  };
  const std::string file = dir_ / "file";
  ASSERT_OK(symlink("nowhere", (dir_ / "dangling").c_str()));
  EXPECT_ERRNO(ENOENT, access2(AT_FDCWD, (dir_ / "dangling").c_str(), F_OK, 0));
  EXPECT_OK(access2(AT_FDCWD, (dir_ / "dangling").c_str(), F_OK, AT_SYMLINK_NOFOLLOW));
  EXPECT_ERRNO(EINVAL, access2(AT_FDCWD, file.c_str(), 8, 0));
  EXPECT_ERRNO(EINVAL, access2(AT_FDCWD, file.c_str(), F_OK, 0x8000));
  ScopedFd path(open(file.c_str(), O_PATH));
  EXPECT_OK(access2(path.get(), "", R_OK, AT_EMPTY_PATH));
  EXPECT_ERRNO(EACCES, access2(path.get(), "", X_OK, AT_EMPTY_PATH));
  EXPECT_ERRNO(ENOENT, access2(path.get(), "", R_OK, 0));
  EXPECT_OK(access(dir_.path().c_str(), R_OK | W_OK | X_OK));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, access(file.c_str(), W_OK));
              EXPECT_OK(access(file.c_str(), R_OK));
              EXPECT_ERRNO(EACCES, access((dir_ / "sub").c_str(), W_OK));
              return 0;
            }),
            0);
}

long Openat2(int dirfd, const std::string& path, uint64_t resolve, uint64_t flags = O_RDONLY) {
  open_how how = {};
  how.flags = flags;
  how.resolve = resolve;
  return syscall(SYS_openat2, dirfd, path.c_str(), &how, sizeof(how));
}

TEST_F(PathTest, ResolveFlags) {
  WriteFileText(dir_ / "sub/inner", "");
  ASSERT_OK(mkdir((dir_ / "sub/deep").c_str(), 0755));
  ASSERT_OK(symlink("deep/../inner", (dir_ / "sub/within").c_str()));
  ASSERT_OK(symlink("../file", (dir_ / "sub/out").c_str()));
  ASSERT_OK(symlink("/inner", (dir_ / "sub/rooted").c_str()));
  ASSERT_OK(symlink("/proc/self/exe", (dir_ / "sub/magic").c_str()));
  ScopedFd sub(open((dir_ / "sub").c_str(), O_RDONLY | O_DIRECTORY));
  const struct {
    const char* path;
    uint64_t resolve;
    int error;
  } cases[] = {
      {"inner", RESOLVE_BENEATH, 0},
      {"within", RESOLVE_BENEATH, 0},
      {"deep/../inner", RESOLVE_BENEATH, 0},
      {"deep/../../file", RESOLVE_BENEATH, EXDEV},
      {"..", RESOLVE_BENEATH, EXDEV},
      {"rooted", RESOLVE_BENEATH, EXDEV},
      {"magic", RESOLVE_BENEATH, EXDEV},
      {"rooted", RESOLVE_IN_ROOT, 0},
      {"/inner", RESOLVE_IN_ROOT, 0},
      {"../../../inner", RESOLVE_IN_ROOT, 0},
      {"out", RESOLVE_IN_ROOT, ENOENT},
      {"magic", RESOLVE_IN_ROOT, ENOENT},
      {"within", RESOLVE_NO_SYMLINKS, ELOOP},
      {"inner", RESOLVE_NO_SYMLINKS, 0},
      {"magic", RESOLVE_NO_MAGICLINKS, ELOOP},
      {"within", RESOLVE_NO_MAGICLINKS, 0},
      {"inner", RESOLVE_NO_XDEV, 0},
      {"/proc/version", RESOLVE_NO_XDEV, EXDEV},
      {"inner", RESOLVE_BENEATH | RESOLVE_IN_ROOT, EINVAL},
      {"inner", 0x1000, EINVAL},
  };
  for (const auto& c : cases) {
    const long fd = Openat2(sub.get(), c.path, c.resolve);
    EXPECT_EQ(fd >= 0 ? 0 : errno, c.error) << c.path << " " << c.resolve;
    if (fd >= 0) close(static_cast<int>(fd));
  }
  ScopedFd link(static_cast<int>(Openat2(sub.get(), "within", RESOLVE_NO_SYMLINKS, O_PATH | O_NOFOLLOW)));
  EXPECT_GE(link.get(), 0) << "a last link that is not followed does not matter";
}

}  // namespace
}  // namespace guest
