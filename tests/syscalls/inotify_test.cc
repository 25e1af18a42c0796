// inotify(7).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

namespace {

struct Event {
  int watch;
  uint32_t mask;
  uint32_t cookie;
  std::string name;
};

class InotifyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char dir[] = "/tmp/inotify_testXXXXXX";
    ASSERT_NE(mkdtemp(dir), nullptr);
    dir_ = dir;
    fd_ = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    ASSERT_GE(fd_, 0);
  }
  void TearDown() override {
    close(fd_);
    (void)!system(("rm -rf " + dir_).c_str());
  }
  std::string In(const char* name) const { return dir_ + "/" + name; }
  void Touch(const std::string& path) {
    const int fd = open(path.c_str(), O_CREAT | O_WRONLY, 0600);
    ASSERT_GE(fd, 0);
    close(fd);
  }
  std::vector<Event> Events() {
    alignas(inotify_event) char buffer[8192];
    std::vector<Event> events;
    const ssize_t n = read(fd_, buffer, sizeof(buffer));
    for (ssize_t at = 0; at < n;) {
      inotify_event e;
      memcpy(&e, buffer + at, sizeof(e));
      events.push_back({e.wd, e.mask, e.cookie, e.len > 0 ? std::string(buffer + at + sizeof(e)) : ""});
      at += sizeof(e) + e.len;
    }
    return events;
  }
  std::string dir_;
  int fd_ = -1;
};

TEST_F(InotifyTest, CreateModifyDelete) {
  const int watch = inotify_add_watch(fd_, dir_.c_str(), IN_CREATE | IN_MODIFY | IN_DELETE | IN_CLOSE_WRITE);
  ASSERT_GT(watch, 0);
  const int file = open(In("f").c_str(), O_CREAT | O_WRONLY, 0600);
  ASSERT_EQ(write(file, "x", 1), 1);
  close(file);
  unlink(In("f").c_str());
  mkdir(In("d").c_str(), 0700);
  const auto events = Events();
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0].mask, static_cast<uint32_t>(IN_CREATE));
  EXPECT_EQ(events[0].name, "f");
  EXPECT_EQ(events[0].watch, watch);
  EXPECT_EQ(events[1].mask, static_cast<uint32_t>(IN_MODIFY));
  EXPECT_EQ(events[2].mask, static_cast<uint32_t>(IN_CLOSE_WRITE));
  EXPECT_EQ(events[3].mask, static_cast<uint32_t>(IN_DELETE));
  EXPECT_EQ(events[4].mask, static_cast<uint32_t>(IN_CREATE | IN_ISDIR));
}

TEST_F(InotifyTest, MovesShareACookie) {
  Touch(In("a"));
  ASSERT_GT(inotify_add_watch(fd_, dir_.c_str(), IN_MOVE), 0);
  ASSERT_EQ(rename(In("a").c_str(), In("b").c_str()), 0);
  const auto events = Events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].mask, static_cast<uint32_t>(IN_MOVED_FROM));
  EXPECT_EQ(events[1].mask, static_cast<uint32_t>(IN_MOVED_TO));
  EXPECT_EQ(events[0].cookie, events[1].cookie);
  EXPECT_NE(events[0].cookie, 0u);
}

TEST_F(InotifyTest, RepeatedEventsAreOne) {
  Touch(In("a"));
  ASSERT_GT(inotify_add_watch(fd_, In("a").c_str(), IN_MODIFY), 0);
  const int file = open(In("a").c_str(), O_WRONLY);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(write(file, "x", 1), 1);
  close(file);
  EXPECT_EQ(Events().size(), 1u);
}

TEST_F(InotifyTest, RemovalIsReported) {
  const int watch = inotify_add_watch(fd_, dir_.c_str(), IN_CREATE);
  ASSERT_EQ(inotify_rm_watch(fd_, watch), 0);
  const auto events = Events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].mask, static_cast<uint32_t>(IN_IGNORED));
  EXPECT_EQ(inotify_rm_watch(fd_, watch), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(InotifyTest, ObjectDeleted) {
  Touch(In("a"));
  ASSERT_GT(inotify_add_watch(fd_, In("a").c_str(), IN_DELETE_SELF), 0);
  unlink(In("a").c_str());
  const auto events = Events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].mask, static_cast<uint32_t>(IN_DELETE_SELF));
  EXPECT_EQ(events[1].mask, static_cast<uint32_t>(IN_IGNORED));
}

TEST_F(InotifyTest, OneShotAndMaskAdd) {
  const int watch = inotify_add_watch(fd_, dir_.c_str(), IN_CREATE);
  EXPECT_EQ(inotify_add_watch(fd_, dir_.c_str(), IN_DELETE | IN_MASK_ADD), watch);
  Touch(In("a"));
  unlink(In("a").c_str());
  EXPECT_EQ(Events().size(), 2u);
  EXPECT_EQ(inotify_add_watch(fd_, dir_.c_str(), IN_CREATE | IN_ONESHOT), watch);
  Touch(In("b"));
  Touch(In("c"));
  const auto events = Events();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].mask, static_cast<uint32_t>(IN_IGNORED));
}

TEST_F(InotifyTest, PollAndSize) {
  pollfd request = {fd_, POLLIN, 0};
  ASSERT_GT(inotify_add_watch(fd_, dir_.c_str(), IN_CREATE), 0);
  EXPECT_EQ(poll(&request, 1, 0), 0);
  Touch(In("a"));
  EXPECT_EQ(poll(&request, 1, 0), 1);
  int bytes;
  ASSERT_EQ(ioctl(fd_, FIONREAD, &bytes), 0);
  EXPECT_EQ(bytes, 32);
  char small[16];
  EXPECT_EQ(read(fd_, small, sizeof(small)), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(InotifyTest, ChecksArguments) {
  EXPECT_EQ(inotify_init1(1), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(inotify_add_watch(fd_, dir_.c_str(), 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(inotify_add_watch(fd_, In("none").c_str(), IN_CREATE), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_EQ(inotify_add_watch(0, dir_.c_str(), IN_CREATE), -1);
  EXPECT_EQ(errno, EINVAL);
  Touch(In("a"));
  EXPECT_EQ(inotify_add_watch(fd_, In("a").c_str(), IN_CREATE | IN_ONLYDIR), -1);
  EXPECT_EQ(errno, ENOTDIR);
}

}  // namespace
