// name_to_handle_at(2), open_by_handle_at(2).
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "tests/util/guest.h"

namespace guest {
namespace {

struct Handle {
  file_handle header;
  unsigned char bytes[128];
};

class HandleTest : public testing::Test {
 protected:
  int Make(Handle* handle, int* mount_id) {
    memset(handle, 0, sizeof(*handle));
    handle->header.handle_bytes = sizeof(handle->bytes);
    return name_to_handle_at(AT_FDCWD, path_.c_str(), &handle->header, mount_id, 0);
  }
  TempDir dir_;
  const std::string path_ = dir_ / "f";
};

TEST_F(HandleTest, OpensTheSameFile) {
  WriteFileText(path_, "content");
  Handle handle;
  int mount_id = -1;
  ASSERT_OK(Make(&handle, &mount_id));
  EXPECT_GT(handle.header.handle_bytes, 0u);
  const int mount = open(path_.c_str(), O_RDONLY);
  const int fd = open_by_handle_at(mount, &handle.header, O_RDONLY);
  ASSERT_GE(fd, 0) << strerror(errno);
  char text[8] = {};
  EXPECT_EQ(read(fd, text, sizeof(text)), 7);
  EXPECT_STREQ(text, "content");
  close(fd);
  ASSERT_OK(unlink(path_.c_str()));
  close(mount);
}

TEST_F(HandleTest, SizeIsTold) {
  WriteFileText(path_, "");
  Handle handle;
  int mount_id = -1;
  memset(&handle, 0, sizeof(handle));
  EXPECT_ERRNO(EOVERFLOW, name_to_handle_at(AT_FDCWD, path_.c_str(), &handle.header, &mount_id, 0));
  EXPECT_GT(handle.header.handle_bytes, 0u);
  EXPECT_GE(mount_id, 0);
}

TEST_F(HandleTest, Errors) {
  WriteFileText(path_, "");
  Handle handle;
  int mount_id;
  memset(&handle, 0, sizeof(handle));
  handle.header.handle_bytes = 129;
  EXPECT_ERRNO(EINVAL, name_to_handle_at(AT_FDCWD, path_.c_str(), &handle.header, &mount_id, 0));
  handle.header.handle_bytes = 128;
  EXPECT_ERRNO(EINVAL, name_to_handle_at(AT_FDCWD, path_.c_str(), &handle.header, &mount_id, 0x4000000));
  EXPECT_ERRNO(ENOENT, name_to_handle_at(AT_FDCWD, "/nowhere", &handle.header, &mount_id, 0));
  EXPECT_ERRNO(EFAULT, name_to_handle_at(AT_FDCWD, path_.c_str(), reinterpret_cast<file_handle*>(8), &mount_id, 0));
  handle.header.handle_bytes = 0;
  EXPECT_ERRNO(EINVAL, open_by_handle_at(AT_FDCWD, &handle.header, O_RDONLY));
  handle.header.handle_bytes = 129;
  EXPECT_ERRNO(EINVAL, open_by_handle_at(AT_FDCWD, &handle.header, O_RDONLY));
  EXPECT_ERRNO(EFAULT, open_by_handle_at(AT_FDCWD, reinterpret_cast<file_handle*>(8), O_RDONLY));
  handle.header.handle_bytes = 16;
  EXPECT_ERRNO(EBADF, open_by_handle_at(9999, &handle.header, O_RDONLY));
}

}  // namespace
}  // namespace guest
