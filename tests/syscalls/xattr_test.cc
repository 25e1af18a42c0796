// Extended attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class XattrTest : public testing::Test {
 protected:
  void SetUp() override { WriteFileText(file_, ""); }
  TempDir dir_;
  const std::string file_ = dir_ / "file";
};

TEST_F(XattrTest, SetGetListRemove) {
  ASSERT_OK(setxattr(file_.c_str(), "user.a", "value", 5, 0));
  ASSERT_OK(setxattr(file_.c_str(), "user.b", "", 0, 0));
  char value[16] = {};
  EXPECT_EQ(getxattr(file_.c_str(), "user.a", value, sizeof(value)), 5);
  EXPECT_STREQ(value, "value");
  EXPECT_EQ(getxattr(file_.c_str(), "user.a", nullptr, 0), 5);
  EXPECT_EQ(getxattr(file_.c_str(), "user.b", value, sizeof(value)), 0);
  char list[64];
  const ssize_t length = listxattr(file_.c_str(), list, sizeof(list));
  const std::string names(list, static_cast<size_t>(std::max<ssize_t>(length, 0)));
  EXPECT_NE(names.find(std::string("user.a\0", 7)), std::string::npos);
  EXPECT_OK(removexattr(file_.c_str(), "user.a"));
  EXPECT_ERRNO(ENODATA, getxattr(file_.c_str(), "user.a", value, sizeof(value)));
  EXPECT_ERRNO(ENODATA, removexattr(file_.c_str(), "user.a"));
}

TEST_F(XattrTest, CreateAndReplace) {
  EXPECT_ERRNO(ENODATA, setxattr(file_.c_str(), "user.a", "1", 1, XATTR_REPLACE));
  EXPECT_OK(setxattr(file_.c_str(), "user.a", "1", 1, XATTR_CREATE));
  EXPECT_ERRNO(EEXIST, setxattr(file_.c_str(), "user.a", "2", 1, XATTR_CREATE));
  EXPECT_OK(setxattr(file_.c_str(), "user.a", "2", 1, XATTR_REPLACE));
  EXPECT_ERRNO(EINVAL, setxattr(file_.c_str(), "user.a", "2", 1, 4));
}

TEST_F(XattrTest, Errors) {
  char value[4];
  ASSERT_OK(setxattr(file_.c_str(), "user.a", "value", 5, 0));
  EXPECT_ERRNO(ERANGE, getxattr(file_.c_str(), "user.a", value, sizeof(value)));
  EXPECT_ERRNO(ERANGE, listxattr(file_.c_str(), value, 1));
  EXPECT_ERRNO(EOPNOTSUPP, setxattr(file_.c_str(), "bogus.a", "", 0, 0));
  EXPECT_ERRNO(ERANGE, setxattr(file_.c_str(), ("user." + std::string(260, 'x')).c_str(), "", 0, 0));
  EXPECT_ERRNO(ERANGE, setxattr(file_.c_str(), "", "", 0, 0));
  const std::string large(65537, 'x');
  EXPECT_ERRNO(E2BIG, setxattr(file_.c_str(), "user.a", large.data(), large.size(), 0));
  EXPECT_ERRNO(EFAULT, setxattr(file_.c_str(), "user.a", BadPointer(), 4, 0));
  EXPECT_ERRNO(ENOENT, getxattr((dir_ / "none").c_str(), "user.a", value, 4));
  EXPECT_ERRNO(EBADF, fgetxattr(-1, "user.a", value, 4));
  ASSERT_OK(symlink("file", (dir_ / "link").c_str()));
  EXPECT_ERRNO(EPERM, lsetxattr((dir_ / "link").c_str(), "user.a", "", 0, 0));
}

TEST_F(XattrTest, TrustedNamesAreHiddenFromUsers) {
  ASSERT_OK(chmod(file_.c_str(), 0666));
  ASSERT_OK(setxattr(file_.c_str(), "trusted.t", "1", 1, 0));
  EXPECT_EQ(RunAsNobody([&] {
              char value[4];
              EXPECT_ERRNO(ENODATA, getxattr(file_.c_str(), "trusted.t", value, 4));
              EXPECT_ERRNO(EPERM, setxattr(file_.c_str(), "trusted.t", "2", 1, 0));
              EXPECT_OK(setxattr(file_.c_str(), "user.u", "2", 1, 0));
              return 0;
            }),
            0);
  ASSERT_OK(chmod(file_.c_str(), 0644));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, setxattr(file_.c_str(), "user.u", "2", 1, 0));
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace guest
