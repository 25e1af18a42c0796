// getdents(2), getdents64(2).
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>
#include <set>

#include "tests/util/guest.h"

namespace guest {
namespace {

class GetdentsTest : public testing::Test {
 protected:
  GetdentsTest() {
    for (int i = 0; i < 300; ++i) WriteFileText(dir_ / ("file" + std::to_string(i)), "");
    EXPECT_OK(mkdir((dir_ / "sub").c_str(), 0755));
    EXPECT_OK(symlink("x", (dir_ / "link").c_str()));
    EXPECT_OK(mkfifo((dir_ / "fifo").c_str(), 0644));
  }
  TempDir dir_;
};

std::multiset<std::string> Names(int fd, size_t buffer_size) {
  std::multiset<std::string> names;
  std::string buffer(buffer_size, '\0');
  for (;;) {
    const long got = syscall(SYS_getdents64, fd, buffer.data(), buffer.size());
    EXPECT_GE(got, 0);
    if (got <= 0) return names;
    for (long at = 0; at < got;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      names.insert(entry->d_name);
      at += entry->d_reclen;
    }
  }
}

TEST_F(GetdentsTest, ListsEachEntryOnceWithSmallAndLargeBuffers) {
  ScopedFd fd(open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY));
  const auto large = Names(fd.get(), 65536);
  EXPECT_EQ(large.size(), 305u);
  EXPECT_EQ(large.count("."), 1u);
  EXPECT_EQ(large.count("file299"), 1u);
  lseek(fd.get(), 0, SEEK_SET);
  EXPECT_EQ(Names(fd.get(), 100), large);
}

TEST_F(GetdentsTest, TypesAndInodesMatchStat) {
  DIR* dir = opendir(dir_.path().c_str());
  ASSERT_NE(dir, nullptr);
  const std::map<std::string, int> types = {{"sub", DT_DIR}, {"link", DT_LNK}, {"fifo", DT_FIFO}, {"file1", DT_REG}};
  while (const dirent* entry = readdir(dir)) {
    auto it = types.find(entry->d_name);
    if (it == types.end()) continue;
    EXPECT_EQ(entry->d_type, it->second) << entry->d_name;
    struct stat st;
    ASSERT_OK(lstat((dir_ / entry->d_name).c_str(), &st));
    EXPECT_EQ(entry->d_ino, st.st_ino) << entry->d_name;
  }
  closedir(dir);
}

TEST_F(GetdentsTest, PositionsCanBeReturnedTo) {
  DIR* dir = opendir(dir_.path().c_str());
  for (int i = 0; i < 100; ++i) readdir(dir);
  const long here = telldir(dir);
  const std::string next = readdir(dir)->d_name;
  for (int i = 0; i < 50; ++i) readdir(dir);
  seekdir(dir, here);
  EXPECT_EQ(readdir(dir)->d_name, next);
  closedir(dir);
}

TEST_F(GetdentsTest, RemovingWhileReadingMissesNothing) {
  DIR* dir = opendir(dir_.path().c_str());
  int removed = 0;
  while (const dirent* entry = readdir(dir)) {
    if (std::strncmp(entry->d_name, "file", 4) != 0) continue;
    EXPECT_OK(unlink((dir_ / entry->d_name).c_str()));
    ++removed;
  }
  closedir(dir);
  EXPECT_EQ(removed, 300);
}

TEST_F(GetdentsTest, TheOldFormHasTheTypeAtTheEnd) {
  ScopedFd fd(open((dir_ / "sub").c_str(), O_RDONLY));
  alignas(8) char buffer[256];
  const long got = syscall(SYS_getdents, fd.get(), buffer, sizeof(buffer));
  ASSERT_GT(got, 0);
  unsigned short length;
  std::memcpy(&length, buffer + 16, sizeof(length));
  EXPECT_STREQ(buffer + 18, ".");
  EXPECT_EQ(buffer[length - 1], DT_DIR);
}

TEST_F(GetdentsTest, Errors) {
  char buffer[1024];
  ScopedFd file(open((dir_ / "file1").c_str(), O_RDONLY));
  EXPECT_ERRNO(ENOTDIR, syscall(SYS_getdents64, file.get(), buffer, sizeof(buffer)));
  EXPECT_ERRNO(EBADF, syscall(SYS_getdents64, -1, buffer, sizeof(buffer)));
  ScopedFd fd(open(dir_.path().c_str(), O_RDONLY));
  EXPECT_ERRNO(EINVAL, syscall(SYS_getdents64, fd.get(), buffer, 8));
  EXPECT_ERRNO(EFAULT, syscall(SYS_getdents64, fd.get(), BadPointer(), sizeof(buffer)));
  ScopedFd gone(open((dir_ / "sub").c_str(), O_RDONLY));
  ASSERT_OK(rmdir((dir_ / "sub").c_str()));
  EXPECT_ERRNO(ENOENT, syscall(SYS_getdents64, gone.get(), buffer, sizeof(buffer)));
}

}  // namespace
}  // namespace guest
