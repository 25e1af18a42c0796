// The overlay over a real directory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gofer/tests/world.h"

namespace sandbox {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct OverlayWorld : GoferWorld {
  OverlayWorld() : GoferWorld({.exclusive = true, .read_only = true}) {
    host.Mkdir("dir");
    host.Mkdir("dir/sub");
    host.Write("dir/sub/deep", "deep");
    host.Write("file", "lower");
    CHECK(::link((host / "file").c_str(), (host / "twin").c_str()) == 0);
    AddOverlay();
  }
};

TEST(Overlay, WritesStayAbove) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  EXPECT_EQ(calls.ReadFrom("/file"), "lower");
  ASSERT_TRUE(calls.WriteTo("/file", "upper").ok());
  EXPECT_EQ(calls.ReadFrom("/file"), "upper");
  EXPECT_EQ(world.host.Read("file"), "lower");
  ASSERT_TRUE(calls.WriteTo("/dir/sub/new", "n").ok());
  EXPECT_THAT(calls.List("/dir/sub"), ElementsAre("deep", "new"));
  EXPECT_FALSE(std::filesystem::exists(world.host / "dir/sub/new"));
}

TEST(Overlay, CopyUpKeepsIdentity) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  const Attr before = *calls.Stat("/file");
  EXPECT_EQ(before.nlink, 2u);
  const FileRef reader = *calls.Open("/file", O_RDONLY);
  ASSERT_TRUE(calls.WriteTo("/file", "!", O_WRONLY | O_APPEND).ok());
  const Attr after = *calls.Stat("/file");
  EXPECT_EQ(after.ino, before.ino);
  EXPECT_EQ(after.nlink, 2u);
  EXPECT_EQ(after.mode, before.mode);
  EXPECT_EQ(after.size, 6u);
  // The other name of the same file, and a description that was opened before.
  EXPECT_EQ(calls.ReadFrom("/twin"), "lower!");
  EXPECT_EQ(calls.Stat("/twin")->ino, before.ino);
  EXPECT_EQ(calls.ReadAll(*reader), "lower!");
  ASSERT_TRUE(calls.Unlink("/file").ok());
  EXPECT_EQ(calls.Stat("/twin")->nlink, 1u);
  EXPECT_EQ(calls.ReadFrom("/twin"), "lower!");
}

TEST(Overlay, RemovedNamesStayAway) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.Unlink("/file").ok());
  EXPECT_FALSE(calls.Exists("/file"));
  EXPECT_THAT(calls.List("/"), ElementsAre("dir", "twin"));
  ASSERT_TRUE(calls.WriteTo("/file", "again").ok());
  EXPECT_EQ(calls.ReadFrom("/file"), "again");
  EXPECT_THAT(calls.List("/"), ElementsAre("dir", "file", "twin"));
  ASSERT_TRUE(calls.Unlink("/file").ok());
  EXPECT_FALSE(calls.Exists("/file"));
  EXPECT_EQ(world.host.Read("file"), "lower");
}

TEST(Overlay, RemovedDirectoryIsEmptyWhenMadeAgain) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  EXPECT_TRUE(calls.Rmdir("/dir").Is(ENOTEMPTY));
  ASSERT_TRUE(calls.Unlink("/dir/sub/deep").ok());
  ASSERT_TRUE(calls.Rmdir("/dir/sub").ok());
  EXPECT_EQ(calls.Stat("/dir")->nlink, 2u);
  ASSERT_TRUE(calls.Rmdir("/dir").ok());
  ASSERT_TRUE(calls.Mkdir("/dir").ok());
  EXPECT_THAT(calls.List("/dir"), IsEmpty());
  EXPECT_FALSE(calls.Exists("/dir/sub"));
}

TEST(Overlay, DirectoriesOfTheLowerLayerCanBeRenamed) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.WriteTo("/dir/sub/new", "n").ok());
  const uint64_t ino = calls.Stat("/dir/sub")->ino;
  ASSERT_TRUE(calls.Rename("/dir/sub", "/moved").ok());
  EXPECT_EQ(calls.Stat("/moved")->ino, ino);
  EXPECT_EQ(calls.ReadFrom("/moved/deep"), "deep");
  EXPECT_EQ(calls.ReadFrom("/moved/new"), "n");
  EXPECT_THAT(calls.List("/dir"), IsEmpty());
  ASSERT_TRUE(calls.Rename("/dir", "/moved/dir").ok());
  EXPECT_THAT(calls.List("/"), ElementsAre("file", "moved", "twin"));
  ASSERT_TRUE(calls.Rename("/moved", "/dir").ok());
  EXPECT_THAT(calls.List("/dir"), ElementsAre("deep", "dir", "new"));
  EXPECT_THAT(calls.List("/dir/dir"), IsEmpty());
}

TEST(Overlay, RenameReplacesAndExchanges) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.WriteTo("/new", "new").ok());
  ASSERT_TRUE(calls.Rename("/new", "/file").ok());
  EXPECT_EQ(calls.ReadFrom("/file"), "new");
  EXPECT_EQ(calls.ReadFrom("/twin"), "lower");
  EXPECT_EQ(calls.Stat("/twin")->nlink, 1u);
  ASSERT_TRUE(calls.Rename("/file", "/dir", RENAME_EXCHANGE).ok());
  EXPECT_EQ(calls.ReadFrom("/dir"), "new");
  EXPECT_EQ(calls.ReadFrom("/file/sub/deep"), "deep");
  ASSERT_TRUE(calls.Unlink("/dir").ok());
  EXPECT_FALSE(calls.Exists("/dir"));
  EXPECT_THAT(calls.List("/"), ElementsAre("file", "twin"));
  EXPECT_TRUE(calls.Rename("/twin", "/file/sub/deep", RENAME_NOREPLACE).Is(EEXIST));
}

TEST(Overlay, AttributesAreCopiedUpWithoutTheirNames) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  const Path path = *calls.Find("/dir/sub/deep");
  ASSERT_TRUE(ChangeMode(calls.context(), path, 04711).ok());
  ASSERT_TRUE(ChangeOwner(calls.context(), path, 12, 34).ok());
  const Attr attr = *calls.Stat("/dir/sub/deep");
  EXPECT_EQ(attr.uid, 12u);
  EXPECT_EQ(attr.gid, 34u);
  EXPECT_EQ(calls.ReadFrom("/dir/sub/deep"), "deep");
  ASSERT_TRUE(calls.Rename("/dir/sub/deep", "/top").ok());
  EXPECT_EQ(calls.Stat("/top")->uid, 12u);
}

TEST(Overlay, LinksToLowerFiles) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.Link("/dir/sub/deep", "/linked").ok());
  EXPECT_EQ(calls.Stat("/linked")->nlink, 2u);
  EXPECT_EQ(calls.Stat("/linked")->ino, calls.Stat("/dir/sub/deep")->ino);
  ASSERT_TRUE(calls.WriteTo("/linked", "both").ok());
  EXPECT_EQ(calls.ReadFrom("/dir/sub/deep"), "both");
  ASSERT_TRUE(calls.Unlink("/dir/sub/deep").ok());
  EXPECT_EQ(calls.ReadFrom("/linked"), "both");
  EXPECT_EQ(calls.Stat("/linked")->nlink, 1u);
}

TEST(Overlay, UnlinkedOpenFilesAndTmpfiles) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  const FileRef file = *calls.Open("/dir/sub/deep", O_RDWR);
  ASSERT_TRUE(calls.Unlink("/dir/sub/deep").ok());
  EXPECT_EQ(file->GetAttr(calls.context())->nlink, 0u);
  EXPECT_EQ(calls.ReadAll(*file), "deep");
  const FileRef tmp = *calls.Open("/dir", O_RDWR | O_TMPFILE, 0600);
  EXPECT_EQ(*calls.Write(*tmp, "t"), 1u);
  ASSERT_TRUE(MakeLink(calls.context(), tmp->path(), calls.base(), "/dir/named").ok());
  EXPECT_EQ(calls.ReadFrom("/dir/named"), "t");
  EXPECT_EQ(calls.Stat("/dir/named")->nlink, 1u);
}

TEST(Overlay, CreateAndUnlinkAskTheGoferNothing) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.Mkdir("/busy").ok());
  EXPECT_FALSE(calls.Exists("/dir/warm"));
  EXPECT_FALSE(calls.Exists("/dir/up"));
  const uint64_t before = world.client->round_trips();
  for (int i = 0; i < 200; ++i) {
    const std::string name = std::to_string(i);
    ASSERT_TRUE(calls.WriteTo("/busy/" + name, "x").ok());
    ASSERT_TRUE(calls.Unlink("/busy/" + name).ok());
    ASSERT_TRUE(calls.WriteTo("/dir/" + name, "x").ok());
    ASSERT_TRUE(calls.Rename("/dir/" + name, "/dir/r" + name).ok());
    ASSERT_TRUE(calls.Unlink("/dir/r" + name).ok());
  }
  EXPECT_LE(world.client->round_trips() - before, 1u);
}

TEST(Overlay, RemovingWhileReadingMissesNothing) {
  OverlayWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.Mkdir("/many").ok());
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(calls.WriteTo("/many/" + std::to_string(i), "").ok());
  const FileRef dir = *calls.Open("/many", O_RDONLY | O_DIRECTORY);
  int removed = 0;
  for (;;) {
    struct Few : DirSink {
      std::vector<std::string> names;
      bool Emit(std::string_view name, uint64_t, uint8_t, int64_t) override {
        if (names.size() == 7) return false;
        names.emplace_back(name);
        return true;
      }
    } few;
    ASSERT_TRUE(ReadDirectory(calls.context(), *dir, few).ok());
    if (few.names.empty()) break;
    for (const std::string& name : few.names) {
      if (name == "." || name == "..") continue;
      ASSERT_TRUE(calls.Unlink("/many/" + name).ok());
      ++removed;
    }
  }
  EXPECT_EQ(removed, 500);
  EXPECT_TRUE(calls.Rmdir("/many").ok());
}

}  // namespace
}  // namespace sandbox
