// Changes that the sentry does not wait for: what the guest sees, what the host ends up with, and in which order.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <functional>
#include <thread>

#include "gofer/server/main.h"
#include "gofer/tests/world.h"
#include "sentry/core/outside.h"
#include "sentry/fs/gofer/inode.h"

namespace sandbox {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

uint64_t Deferred(const GoferWorld& world) { return world.client->journal().sent(); }

// Whether a change is deferred depends on when room was last seen, so on a busy machine one may not be: `attempt`
// returns whether all were.
void SoonDeferred(const std::function<bool(GoferWorld&, Calls&)>& attempt) {
  for (int tries = 0; tries < 100; ++tries) {
    GoferWorld world;
    const bool all = attempt(world, *world.calls);
    ASSERT_FALSE(testing::Test::HasFailure());
    if (all) return;
  }
  FAIL() << "never deferred";
}

// The first change in a directory is waited for; it shows that there may be more.
void Prove(Calls& calls, const std::string& directory) { ASSERT_TRUE(calls.WriteTo(directory + "/.proof", "").ok()); }

TEST(Deferred, RemovalsRenamesAndLinksAreNotWaitedFor) {
  SoonDeferred([](GoferWorld& world, Calls& calls) {
    Prove(calls, "");
    EXPECT_TRUE(calls.WriteTo("/a", "A").ok());
    EXPECT_TRUE(calls.WriteTo("/gone", "").ok());
    EXPECT_TRUE(calls.Unlink("/gone").ok());  // opens the journal
    const uint64_t before = world.client->round_trips();
    EXPECT_TRUE(calls.Rename("/a", "/b").ok());
    EXPECT_TRUE(calls.Link("/b", "/c").ok());
    EXPECT_TRUE(calls.Rename("/b", "/d").ok());
    EXPECT_TRUE(calls.Unlink("/c").ok());
    EXPECT_FALSE(calls.Exists("/b"));
    const bool all = Deferred(world) == 5 && world.client->round_trips() == before;
    EXPECT_EQ(calls.ReadFrom("/d"), "A");
    EXPECT_THAT(calls.List("/"), ElementsAre(".proof", "d"));
    world.client->Settle();
    EXPECT_EQ(world.host.Read("d"), "A");
    for (const char* name : {"a", "b", "c", "gone"}) EXPECT_FALSE(std::filesystem::exists(world.host / name)) << name;
    EXPECT_EQ(world.client->journal().failed(), 0u);
    return all;
  });
}

TEST(Deferred, TheHostGetsThemWithoutBeingAsked) {
  SoonDeferred([](GoferWorld& world, Calls& calls) {
    Prove(calls, "");
    EXPECT_TRUE(calls.WriteTo("/a", "").ok());
    EXPECT_TRUE(calls.Rename("/a", "/b").ok());
    while (!std::filesystem::exists(world.host / "b")) std::this_thread::yield();  // or the test's time limit
    return Deferred(world) == 1;
  });
}

TEST(Deferred, AnswersAreNotOlder) {
  GoferWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.Mkdir("/d").ok());
  const FileRef kept = *calls.Open("/d/kept", O_RDWR | O_CREAT);
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(calls.WriteTo("/d/a", std::to_string(i)).ok());
    ASSERT_TRUE(calls.Link("/d/a", "/d/b").ok());
    const auto linked = calls.Stat("/d/b");
    ASSERT_EQ(linked->nlink, 2u);
    struct stat st;
    ASSERT_EQ(::stat((world.host / "d/b").c_str(), &st), 0);  // the stat asked after it
    ASSERT_EQ(linked->ino, st.st_ino);
    ASSERT_EQ(linked->ctime.nanoseconds, st.st_ctim.tv_nsec);
    ASSERT_TRUE(calls.Unlink("/d/a").ok());
    ASSERT_EQ(calls.Stat("/d/b")->nlink, 1u);
    ASSERT_TRUE(calls.Rename("/d/b", "/d/kept").ok());
    ASSERT_EQ(calls.ReadFrom("/d/kept"), std::to_string(i));
  }
  EXPECT_EQ(kept->path().inode()->GetAttr(calls.context())->nlink, 0u);
  EXPECT_EQ(calls.Stat("/d")->nlink, 2u);
}

TEST(Deferred, OpenFilesLoseTheirNames) {
  SoonDeferred([](GoferWorld& world, Calls& calls) {
    Prove(calls, "");
    const FileRef replaced = *calls.Open("/old", O_RDWR | O_CREAT);
    const FileRef removed = *calls.Open("/removed", O_RDWR | O_CREAT);
    EXPECT_EQ(*calls.Write(*replaced, "old"), 3u);
    EXPECT_TRUE(calls.WriteTo("/new", "new").ok());
    const uint64_t before = Deferred(world);
    EXPECT_TRUE(calls.Rename("/new", "/old").ok());
    EXPECT_TRUE(calls.Unlink("/removed").ok());
    const bool all = Deferred(world) == before + 2;
    EXPECT_EQ(calls.ReadAll(*replaced), "old");
    EXPECT_EQ(calls.ReadFrom("/old"), "new");
    EXPECT_EQ(*calls.Write(*removed, "still"), 5u);
    AttrChange change;
    change.mode = 0600;
    for (const FileRef& file : {replaced, removed}) {
      EXPECT_EQ(file->path().inode()->GetAttr(calls.context())->nlink, 0u);
      EXPECT_TRUE(file->path().inode()->SetAttr(calls.context(), change).ok());  // the gofer still finds it
      EXPECT_EQ(file->path().inode()->GetAttr(calls.context())->mode & 07777, 0600u);
    }
    return all;
  });
}

TEST(Deferred, ModesAndTimes) {
  GoferWorld world;
  Calls& calls = *world.calls;
  const FileRef file = *calls.Open("/f", O_RDWR | O_CREAT);
  const InodeRef inode = file->path().inode();
  AttrChange change;
  change.mode = 0640;
  change.mtime = FileTime{1000, 5};
  ASSERT_TRUE(inode->SetAttr(calls.context(), change).ok());
  ASSERT_EQ(Deferred(world), 1u);
  auto attr = calls.Stat("/f");
  EXPECT_EQ(attr->mode & 07777, 0640u);
  EXPECT_EQ(attr->mtime.seconds, 1000);
  // A write comes after the times that were set before it, though it goes to the host another way.
  for (int i = 0; i < 100; ++i) {
    change.mtime = FileTime{2000, 0};
    ASSERT_TRUE(inode->SetAttr(calls.context(), change).ok());
    ASSERT_EQ(*calls.Write(*file, "x"), 1u);
    ASSERT_GT(calls.Stat("/f")->mtime.seconds, 2000);
    change.mtime = FileTime{3000, 0};
    ASSERT_TRUE(inode->SetAttr(calls.context(), change).ok());
    ASSERT_EQ(calls.Stat("/f")->mtime.seconds, 3000);
  }
  // What may be changed in silence, or is not ours, is waited for.
  const uint64_t before = Deferred(world);
  change.mode = 04755;
  ASSERT_TRUE(inode->SetAttr(calls.context(), change).ok());
  world.host.Write("found", "");
  ASSERT_TRUE(calls.Find("/found")->inode()->SetAttr(calls.context(), change).ok());
  EXPECT_EQ(Deferred(world), before);
}

TEST(Deferred, EmptyDirectoriesGo) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Prove(calls, "");
  ASSERT_TRUE(calls.Mkdir("/d").ok());
  ASSERT_TRUE(calls.Mkdir("/d/e").ok());
  ASSERT_TRUE(calls.WriteTo("/d/f", "").ok());
  EXPECT_TRUE(calls.Rmdir("/d").Is(ENOTEMPTY));
  ASSERT_TRUE(calls.Unlink("/d/f").ok());
  ASSERT_TRUE(calls.Rmdir("/d/e").ok());
  ASSERT_TRUE(calls.Rmdir("/d").ok());
  EXPECT_EQ(Deferred(world), 3u);
  EXPECT_EQ(calls.Stat("/")->nlink, 2u);
  EXPECT_FALSE(std::filesystem::exists(world.host / "d"));
}

TEST(Deferred, OnlyWhatIsCertain) {
  GoferWorld world;
  Calls& calls = *world.calls;
  world.host.Mkdir("a");
  world.host.Mkdir("b");
  world.host.Write("a/f", "");
  // Nobody has shown that these directories can be written.
  ASSERT_TRUE(calls.Rename("/a/f", "/a/g").ok());
  EXPECT_EQ(Deferred(world), 0u);
  Prove(calls, "/a");
  Prove(calls, "/b");
  ASSERT_TRUE(calls.Rename("/a/g", "/a/h").ok());  // found, not made: may be in a lower layer of the host
  ASSERT_TRUE(calls.Rename("/a/h", "/b/g").ok());  // two directories may be on two mounts
  ASSERT_TRUE(calls.Rename("/b/g", "/b/.proof", RENAME_EXCHANGE).ok());
  EXPECT_TRUE(calls.Rename("/b/g", "/b/.proof", RENAME_NOREPLACE).Is(EEXIST));
  EXPECT_EQ(Deferred(world), 0u);

  GoferWorld shared({.exclusive = false});
  Prove(*shared.calls, "");
  ASSERT_TRUE(shared.calls->Unlink("/.proof").ok());
  EXPECT_EQ(Deferred(shared), 0u);
}

// Two mounts of one tree, of which one hears of changes by looking.
TEST(Deferred, AnotherMountOfTheTreeSeesThem) {
  GoferWorld world;
  Calls& calls = *world.calls;
  auto other_fs = GoferFs::Create(world.client, 0, {.exclusive = false});
  ASSERT_TRUE(other_fs.ok());
  Calls other(*other_fs);
  Prove(calls, "");
  for (int i = 0; i < 100; ++i) {
    const std::string name = "/f" + std::to_string(i);
    ASSERT_TRUE(calls.WriteTo("/tmp", "x").ok());
    ASSERT_TRUE(calls.Rename("/tmp", name).ok());
    ASSERT_EQ(other.ReadFrom(name), "x");
    ASSERT_TRUE(calls.Unlink(name).ok());
    const int64_t start = MonotonicNow().ns;
    while (MonotonicNow().ns - start <= GoferInode::kAheadValidNs) std::this_thread::yield();
    ASSERT_FALSE(other.Exists(name));
  }
}

TEST(Deferred, AFailureIsToldByFsyncAndForgotten) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Prove(calls, "");
  const FileRef file = *calls.Open("/file", O_RDWR | O_CREAT);
  const FileRef dir = *calls.Open("/", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(calls.WriteTo("/victim", "").ok());
  // The host breaks its promise: the file becomes a directory.
  ASSERT_EQ(::unlink((world.host / "victim").c_str()), 0);
  world.host.Mkdir("victim");
  ASSERT_TRUE(calls.Unlink("/victim").ok());
  ASSERT_EQ(Deferred(world), 1u);
  EXPECT_TRUE(file->Sync(calls.context(), false).Is(EIO));
  EXPECT_TRUE(file->Sync(calls.context(), false).ok());  // once
  EXPECT_TRUE(dir->Sync(calls.context(), false).Is(EIO));
  EXPECT_TRUE((*calls.Open("/file", O_RDWR))->Sync(calls.context(), false).ok());
  EXPECT_TRUE(calls.Stat("/victim")->IsDir());  // what was remembered is looked at again
  EXPECT_THAT(calls.List("/"), ElementsAre(".proof", "file", "victim"));
}

TEST(Deferred, NothingLeavesBeforeThem) {
  GoferWorld world;
  Calls& calls = *world.calls;
  Prove(calls, "");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(calls.WriteTo("/a", "").ok());
    ASSERT_TRUE(calls.Rename("/a", "/b").ok());
    SettleOutside();
    ASSERT_TRUE(std::filesystem::exists(world.host / "b"));
    ASSERT_FALSE(world.client->Owes());
  }
}

TEST(Deferred, ManyAtATimeAreWaitedFor) {
  GoferWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.Mkdir("/d").ok());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string one = "/d/one" + std::to_string(t), two = "/d/two" + std::to_string(t);
      ASSERT_TRUE(calls.WriteTo(one, "").ok());
      for (int i = 0; i < 2000; ++i) {
        ASSERT_TRUE(calls.Rename(one, two).ok());
        ASSERT_TRUE(calls.Rename(two, one).ok());
      }
      ASSERT_TRUE(calls.Unlink(one).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(calls.List("/d"), IsEmpty());
  world.client->Settle();
  EXPECT_TRUE(std::filesystem::is_empty(world.host / "d"));
  EXPECT_EQ(world.client->journal().failed(), 0u);
  EXPECT_GT(Deferred(world), 0u);
}

// A gofer process whose client ends without a word, right behind its last change.
TEST(Deferred, AreMadeWhenTheSentryIsGone) {
  HostDir host;
  auto connection = gofer::Channel::MakePair();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t server = ::fork();
  if (server == 0) {
    connection->second.reset();
    ::close(ready[1]);
    gofer::GoferOptions options;
    options.trees.push_back({false, UniqueFd(::open(host.path().c_str(), O_PATH | O_CLOEXEC))});
    options.connection = std::move(connection->first);
    options.confine = false;
    options.meanwhile = [&] {
      char byte;
      return ::read(ready[0], &byte, 1) == 0 ? 0 : 1;
    };
    ::_exit(gofer::GoferMain(std::move(options)));
  }
  const pid_t sentry = ::fork();
  if (sentry == 0) {
    connection->first.reset();
    auto client = GoferClient::Connect(std::move(connection->second));
    auto fs = GoferFs::Create(*client, 0, {});
    Calls calls(*fs);
    bool ok = calls.Mkdir("/d").ok();
    for (int i = 0; i < 300 && ok; ++i) ok = calls.WriteTo("/d/f" + std::to_string(i), "").ok();
    for (int i = 0; i < 300 && ok; ++i) ok = calls.Unlink("/d/f" + std::to_string(i)).ok();
    ::_exit(ok && (*client)->journal().sent() > 0 ? 0 : 1);
  }
  connection->first.reset();
  connection->second.reset();
  ::close(ready[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(sentry, &status, 0), sentry);
  EXPECT_EQ(status, 0);
  ::close(ready[1]);
  ASSERT_EQ(::waitpid(server, &status, 0), server);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(std::filesystem::is_empty(host / "d"));
}

// --- What the host changes in an exclusive tree. ---

void WaitForLease() {
  const int64_t start = MonotonicNow().ns;
  while (MonotonicNow().ns - start <= GoferInode::kLeaseNs + 20'000'000) ::poll(nullptr, 0, 10);
}

void HostChangesShow(const std::function<void()>& look_again) {
  GoferWorld world;
  Calls& calls = *world.calls;
  world.host.Mkdir("d");
  world.host.Write("d/replaced", "old");
  world.host.Write("d/gone", "");
  world.host.Write("d/same", "s");
  EXPECT_THAT(calls.List("/d"), ElementsAre("gone", "replaced", "same"));
  EXPECT_FALSE(calls.Exists("/d/new"));
  EXPECT_EQ(calls.ReadFrom("/d/replaced"), "old");
  EXPECT_EQ(calls.ReadFrom("/d/gone"), "");
  const InodeRef same = calls.Find("/d/same")->inode();
  world.host.Write("d/new", "new");
  world.host.Write("d/moved", "replacement");
  ASSERT_EQ(::rename((world.host / "d/moved").c_str(), (world.host / "d/replaced").c_str()), 0);
  ASSERT_EQ(::unlink((world.host / "d/gone").c_str()), 0);
  look_again();
  EXPECT_EQ(calls.ReadFrom("/d/new"), "new");
  EXPECT_EQ(calls.ReadFrom("/d/replaced"), "replacement");
  EXPECT_FALSE(calls.Exists("/d/gone"));
  EXPECT_EQ(calls.Find("/d/same")->inode(), same);
  EXPECT_THAT(calls.List("/d"), ElementsAre("new", "replaced", "same"));
  // Also where the sandbox itself was busy meanwhile.
  ASSERT_TRUE(calls.WriteTo("/d/ours", "").ok());
  EXPECT_FALSE(calls.Exists("/d/late"));
  world.host.Write("d/late", "late");
  ASSERT_TRUE(calls.Unlink("/d/ours").ok());
  EXPECT_TRUE(calls.Stat("/d").ok());
  look_again();
  EXPECT_EQ(calls.ReadFrom("/d/late"), "late");
  // In place.
  world.host.Write("d/same", "longer");
  look_again();
  EXPECT_EQ(calls.ReadFrom("/d/same"), "longer");
  EXPECT_EQ(calls.Stat("/d/same")->size, 6u);
}

TEST(HostChanges, ShowAfterTheLease) { HostChangesShow(WaitForLease); }

TEST(HostChanges, ShowWhenAnEngineAsks) { HostChangesShow(DoubtOutside); }

TEST(HostChanges, LookingCostsLittle) {
  GoferWorld world;
  Calls& calls = *world.calls;
  world.host.Mkdir("d");
  for (int i = 0; i < 100; ++i) world.host.Write("d/f" + std::to_string(i), "");
  const auto all = calls.List("/d");
  for (const std::string& name : all) ASSERT_TRUE(calls.Exists("/d/" + name));
  WaitForLease();
  const uint64_t before = world.client->round_trips();
  for (int round = 0; round < 10; ++round) {
    for (const std::string& name : all) ASSERT_TRUE(calls.Exists("/d/" + name));
  }
  EXPECT_LE(world.client->round_trips() - before, 4u);  // the two directories, if need be twice
}

}  // namespace
}  // namespace sandbox
