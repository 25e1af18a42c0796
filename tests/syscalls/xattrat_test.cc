// setxattrat(2), getxattrat(2), listxattrat(2), removexattrat(2) of Linux 6.13, and capabilities that end with a write.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

struct Args {
  uint64_t value;
  uint32_t size, flags;
};
long Set(int dir, const char* path, unsigned at, const char* name, const std::string& value, uint32_t flags = 0,
         size_t size = sizeof(Args)) {
  Args args{reinterpret_cast<uint64_t>(value.data()), static_cast<uint32_t>(value.size()), flags};
  return syscall(463, dir, path, at, name, &args, size);
}
long Get(int dir, const char* path, unsigned at, const char* name, std::string* value, uint32_t flags = 0) {
  value->assign(100, 0);
  Args args{reinterpret_cast<uint64_t>(value->data()), static_cast<uint32_t>(value->size()), flags};
  const long got = syscall(464, dir, path, at, name, &args, sizeof(args));
  if (got >= 0) value->resize(got);
  return got;
}
long List(int dir, const char* path, unsigned at, std::string* list) {
  list->assign(100, 0);
  const long got = syscall(465, dir, path, at, list->data(), list->size());
  if (got >= 0) list->resize(got);
  return got;
}
long Remove(int dir, const char* path, unsigned at, const char* name) { return syscall(466, dir, path, at, name); }

class XattratTest : public testing::Test {
 protected:
  XattratTest() {
    WriteFileText(dir_ / "file", "");
    EXPECT_EQ(symlink("file", (dir_ / "link").c_str()), 0);
  }
  TempDir dir_;
  const ScopedFd at_{open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY)};
  std::string text_;
};

TEST_F(XattratTest, ByDescriptorAndName) {
  ASSERT_OK(Set(at_.get(), "link", 0, "user.a", "value"));
  EXPECT_EQ(Get(at_.get(), "file", 0, "user.a", &text_), 5);
  EXPECT_EQ(text_, "value");
  EXPECT_ERRNO(EEXIST, Set(at_.get(), "file", 0, "user.a", "x", XATTR_CREATE));
  EXPECT_ERRNO(ENODATA, Set(at_.get(), "file", 0, "user.b", "x", XATTR_REPLACE));
  EXPECT_ERRNO(EPERM, Set(at_.get(), "link", AT_SYMLINK_NOFOLLOW, "user.a", "x"));
  EXPECT_GE(List(at_.get(), "file", 0, &text_), 7);
  EXPECT_NE(text_.find(std::string("user.a\0", 7)), std::string::npos);
  ASSERT_OK(Remove(at_.get(), "file", 0, "user.a"));
  EXPECT_ERRNO(ENODATA, Remove(at_.get(), "file", 0, "user.a"));
}

TEST_F(XattratTest, EmptyPaths) {
  const ScopedFd file(open((dir_ / "file").c_str(), O_RDWR)), path(open((dir_ / "file").c_str(), O_PATH));
  ASSERT_OK(Set(file.get(), "", AT_EMPTY_PATH, "user.a", "1"));
  EXPECT_EQ(Get(file.get(), nullptr, AT_EMPTY_PATH, "user.a", &text_), 1);
  EXPECT_ERRNO(EBADF, List(path.get(), "", AT_EMPTY_PATH, &text_));
  EXPECT_ERRNO(ENOENT, List(file.get(), "", 0, &text_));
}

TEST_F(XattratTest, Arguments) {
  EXPECT_ERRNO(EINVAL, Set(at_.get(), "file", 0, "user.a", "1", 0, 8));
  EXPECT_ERRNO(E2BIG, Set(at_.get(), "file", 0, "user.a", "1", 0, 5000));
  EXPECT_ERRNO(EINVAL, Set(at_.get(), "file", 4, "user.a", "1"));
  EXPECT_ERRNO(EINVAL, Set(at_.get(), "file", 0, "user.a", "1", 4));
  EXPECT_ERRNO(EINVAL, Get(at_.get(), "file", 0, "user.a", &text_, 1));
  EXPECT_ERRNO(EINVAL, List(at_.get(), "file", 4, &text_));
  EXPECT_ERRNO(EINVAL, Remove(at_.get(), "file", 4, "user.a"));
  EXPECT_ERRNO(ENOENT, Remove(at_.get(), "none", 0, "user.a"));
  EXPECT_ERRNO(EBADF, Remove(-1, "file", 0, "user.a"));
}

TEST_F(XattratTest, CapabilitiesEndWithAWrite) {
  const std::string file = dir_ / "file";
  // struct vfs_cap_data, revision 2: CAP_NET_RAW permitted.
  const uint32_t data[5] = {0x02000000, 1u << CAP_NET_RAW, 0, 0, 0};
  const auto give = [&] { return setxattr(file.c_str(), "security.capability", data, sizeof(data), 0); };
  const auto has = [&] { return getxattr(file.c_str(), "security.capability", nullptr, 0) > 0; };
  if (give() != 0) GTEST_SKIP() << "no file capabilities here";
  EXPECT_TRUE(has());
  const ScopedFd fd(open(file.c_str(), O_RDWR));
  EXPECT_TRUE(has());
  ASSERT_EQ(write(fd.get(), "x", 1), 1);
  EXPECT_FALSE(has());
  ASSERT_OK(give());
  ASSERT_OK(truncate(file.c_str(), 0));
  EXPECT_FALSE(has());
  ASSERT_OK(give());
  ASSERT_OK(chown(file.c_str(), getuid(), getgid()));
  EXPECT_FALSE(has());
}

TEST(FileAttrTest, Arguments) {
  constexpr int kGetattr = 468;
  uint32_t attr[8] = {};
  EXPECT_ERRNO(EINVAL, syscall(kGetattr, AT_FDCWD, "/", attr, 8, 0));
  EXPECT_ERRNO(E2BIG, syscall(kGetattr, AT_FDCWD, "/", attr, 5000, 0));
  EXPECT_ERRNO(EINVAL, syscall(kGetattr, AT_FDCWD, "/", attr, 24, 4));
  EXPECT_ERRNO(EOPNOTSUPP, syscall(kGetattr, AT_FDCWD, "/proc/self/status", attr, 24, 0));
  EXPECT_ERRNO(ENOENT, syscall(kGetattr, AT_FDCWD, "/none", attr, 24, 0));
}

}  // namespace
}  // namespace guest
