// Files that are made before the guest asks for them: what the guest sees, and what the host ends up with.

#include <gtest/gtest.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>

#include <ctime>
#include <string>

#include "gofer/tests/world.h"
#include "sentry/fs/gofer/inode.h"

namespace sandbox {
namespace {

uint64_t Deferred(const GoferWorld& world) { return world.client->journal().sent(); }

std::string Name(int i) { return "f" + std::to_string(i); }

// Enough creations for files to be prepared, in a directory that is known to take them.
void Begin(Calls& calls, const std::string& directory) {
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(calls.WriteTo(directory + "/begin" + std::to_string(i), "").ok());
  }
}

timespec Now() {
  timespec ts;
  ::clock_gettime(CLOCK_REALTIME_COARSE, &ts);  // file systems stamp with it
  return ts;
}
bool Before(const timespec& a, const timespec& b) {
  return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}
timespec ToTimespec(const FileTime& time) { return {time.seconds, static_cast<long>(time.nanoseconds)}; }

TEST(Prepared, ManyFilesWithFewRoundTrips) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Begin(calls, "");
  const uint64_t before = world.client->round_trips();
  uint64_t deferred = Deferred(world);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(calls.WriteTo("/" + Name(i), Name(i)).ok());
  deferred = Deferred(world) - deferred;
  EXPECT_GT(deferred, 100u);  // all but those that came too long after room was last seen
  EXPECT_LT(world.client->round_trips() - before, 2 * (200 - deferred) + 60);
  world.client->Settle();
  for (int i = 0; i < 200; ++i) ASSERT_EQ(world.host.Read(Name(i)), Name(i));
  EXPECT_EQ(calls.List("/").size(), 208u);
  EXPECT_EQ(world.client->journal().failed(), 0u);
}

TEST(Prepared, LooksLikeAFileMadeNow) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Begin(calls, "");
  for (int i = 0; i < 50; ++i) {
    const uint32_t mode = i % 2 == 0 ? 0644 : 0444;
    const timespec before = Now();
    const FileRef file = *calls.Open("/" + Name(i), O_RDWR | O_CREAT | O_EXCL, mode);
    ASSERT_TRUE(calls.Open("/" + Name(i), O_RDWR | O_CREAT | O_EXCL).Is(EEXIST));
    const InodeRef inode = file->path().inode();
    const Attr made = *inode->GetAttr(calls.context());
    EXPECT_EQ(made.mode, S_IFREG | mode);
    EXPECT_EQ(made.nlink, 1u);
    EXPECT_EQ(made.size, 0u);
    for (const FileTime& time : {made.atime, made.mtime, made.ctime, made.btime})
      EXPECT_FALSE(Before(ToTimespec(time), before)) << i;
    EXPECT_EQ(*calls.Write(*file, "text"), 4u);
    const Attr written = *inode->GetAttr(calls.context());
    EXPECT_EQ(written.size, 4u);
    struct stat st;
    ASSERT_EQ(::stat((world.host / Name(i)).c_str(), &st), 0);  // the attributes were asked for after the name
    EXPECT_EQ(st.st_ino, made.ino);
    EXPECT_EQ(st.st_mode, S_IFREG | mode);
    EXPECT_EQ(st.st_nlink, 1u);
    EXPECT_FALSE(Before(st.st_mtim, before));
    EXPECT_EQ(written.mtime.nanoseconds, st.st_mtim.tv_nsec);
    EXPECT_EQ(written.ctime.nanoseconds, st.st_ctim.tv_nsec);
    EXPECT_FALSE(Before(st.st_atim, before));
  }
}

TEST(Prepared, EmptyFilesHaveTheTimeOfTheirCreation) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Begin(calls, "");
  std::vector<timespec> before(60);
  for (int i = 0; i < 60; ++i) {
    before[i] = Now();
    ASSERT_TRUE(calls.Open("/" + Name(i), O_WRONLY | O_CREAT).ok());  // closed at once
    while (i % 20 == 10 && Now().tv_nsec == before[i].tv_nsec) {      // prepared files get older
    }
  }
  world.client->Settle();
  for (int i = 0; i < 60; ++i) {
    struct stat st;
    ASSERT_EQ(::stat((world.host / Name(i)).c_str(), &st), 0);
    EXPECT_FALSE(Before(st.st_mtim, before[i])) << i;
    EXPECT_EQ(calls.Stat("/" + Name(i))->mtime.nanoseconds, st.st_mtim.tv_nsec);
  }
}

TEST(Prepared, TimesThatAreSetStay) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Begin(calls, "");
  for (int i = 0; i < 20; ++i) {
    {
      const FileRef file = *calls.Open("/" + Name(i), O_RDWR | O_CREAT);
      AttrChange change;
      change.mtime = FileTime{1000 + i, 0};
      ASSERT_TRUE(file->path().inode()->SetAttr(calls.context(), change).ok());
    }
    EXPECT_EQ(calls.Stat("/" + Name(i))->mtime.seconds, 1000 + i);
  }
}

TEST(Prepared, InDirectoriesThatAreMadeOnTheWay) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Begin(calls, "");
  for (int i = 0; i < 20; ++i) {
    const std::string directory = "/d" + std::to_string(i);
    ASSERT_TRUE(calls.Mkdir(directory).ok());
    for (int j = 0; j < 3; ++j) ASSERT_TRUE(calls.WriteTo(directory + "/" + Name(j), directory).ok());
    ASSERT_TRUE(calls.Link(directory + "/f0", directory + "/link").ok());
    ASSERT_TRUE(calls.Unlink(directory + "/f0").ok());
    ASSERT_TRUE(calls.Rename(directory + "/f1", directory + "/renamed").ok());
  }
  world.client->Settle();
  for (int i = 0; i < 20; ++i) {
    const std::string directory = "d" + std::to_string(i);
    for (const char* name : {"/f2", "/link", "/renamed"}) EXPECT_EQ(world.host.Read(directory + name), "/" + directory);
    EXPECT_FALSE(std::filesystem::exists(world.host / (directory + "/f0")));
  }
  EXPECT_EQ(world.client->journal().failed(), 0u);
}

// A default access control list decides the modes of new files, and a file that was made elsewhere does not have it.
TEST(Prepared, NotWhereListsAreHandedDown) {
  GoferWorld world;
  Calls& calls = *world.calls;
  world.host.Mkdir("acl");
  struct {
    posix_acl_xattr_header header;
    posix_acl_xattr_entry entries[5];
  } acl{
      {POSIX_ACL_XATTR_VERSION},
      {{ACL_USER_OBJ, 7, ~0u}, {ACL_USER, 6, 1234}, {ACL_GROUP_OBJ, 5, ~0u}, {ACL_MASK, 7, ~0u}, {ACL_OTHER, 5, ~0u}}};
  if (::setxattr((world.host / "acl").c_str(), "system.posix_acl_default", &acl, sizeof(acl), 0) != 0) {
    GTEST_SKIP() << "no access control lists here";
  }
  Begin(calls, "");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(calls.WriteTo("/acl/" + Name(i), "").ok());
  world.client->Settle();
  for (int i = 0; i < 10; ++i) {
    EXPECT_GT(::getxattr((world.host / ("acl/" + Name(i))).c_str(), "system.posix_acl_access", nullptr, 0), 0) << i;
  }
}

TEST(Prepared, GoneWhenMadeAndRemoved) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Begin(calls, "");
  for (int i = 0; i < 100; ++i) {
    const FileRef file = *calls.Open("/f", O_RDWR | O_CREAT | O_EXCL);
    ASSERT_EQ(*calls.Write(*file, Name(i)), Name(i).size());
    ASSERT_TRUE(calls.Unlink("/f").ok());
    ASSERT_EQ(file->path().inode()->GetAttr(calls.context())->nlink, 0u);
    ASSERT_EQ(calls.ReadAll(*file), Name(i));
  }
  world.client->Settle();
  EXPECT_FALSE(std::filesystem::exists(world.host / "f"));
  EXPECT_EQ(world.client->journal().failed(), 0u);
}

TEST(Prepared, FsyncHasTheName) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Begin(calls, "");
  for (int i = 0; i < 10; ++i) {
    const FileRef file = *calls.Open("/" + Name(i), O_RDWR | O_CREAT);
    ASSERT_EQ(*calls.Write(*file, "safe"), 4u);
    ASSERT_TRUE(file->Sync(calls.context(), false).ok());
    EXPECT_EQ(world.host.Read(Name(i)), "safe");
  }
}

}  // namespace
}  // namespace sandbox
