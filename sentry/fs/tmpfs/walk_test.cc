// Path walk, mounts and the dentry cache over tmpfs (sentry/vfs has no file system of its own to test with).
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <sys/mount.h>

#include "sentry/fs/tmpfs/testing.h"
#include "sentry/vfs/dentry.h"
#include "sentry/vfs/dentry_cache.h"
#include "sentry/vfs/record_locks.h"

namespace sandbox {
namespace {

class WalkTest : public testing::Test, public TmpfsWorld {
 protected:
  WalkTest() {
    EXPECT_TRUE(Mkdir("/d").ok());
    EXPECT_TRUE(Mkdir("/d/e").ok());
    EXPECT_TRUE(Open("/d/f", O_CREAT | O_RDWR).ok());
    EXPECT_TRUE(Symlink("f", "/d/l").ok());
    EXPECT_TRUE(Symlink("/d", "/abs").ok());
    EXPECT_TRUE(Symlink("loop", "/loop").ok());
  }
  std::string Text(std::string_view path, bool follow = true) {
    auto found = Find(path, follow);
    return found.ok() ? PathToString(*found, ns->root()) : "errno " + std::to_string(found.error().value());
  }
  Result<Path> Resolve(std::string_view path, uint64_t resolve, std::string_view start = "/d") {
    WalkOptions options;
    options.resolve = resolve;
    return Walk(context(), {ns->root(), *Find(start)}, path, options);
  }
};

TEST_F(WalkTest, DotsSlashesAndLinks) {
  EXPECT_EQ(Text("/d//./e/../f"), "/d/f");
  EXPECT_EQ(Text("/../../d"), "/d");
  EXPECT_EQ(Text("/d/l"), "/d/f");
  EXPECT_EQ(Text("/d/l", false), "/d/l");
  EXPECT_EQ(Text("/abs/e/"), "/d/e");
  EXPECT_EQ(Text("/abs", false), "/abs");
  EXPECT_EQ(Text("/abs/", false), "/d");
  EXPECT_EQ(Text("/"), "/");
}

TEST_F(WalkTest, Errors) {
  EXPECT_TRUE(Find("").Is(ENOENT));
  EXPECT_TRUE(Find("/d/f/").Is(ENOTDIR));
  EXPECT_TRUE(Find("/d/f/x").Is(ENOTDIR));
  EXPECT_TRUE(Find("/d/f/..").Is(ENOTDIR));
  EXPECT_TRUE(Find("/d/none").Is(ENOENT));
  EXPECT_TRUE(Find("/d/none/x").Is(ENOENT));
  EXPECT_TRUE(Find("/loop").Is(ELOOP));
  EXPECT_TRUE(Find("/loop/x").Is(ELOOP));
  EXPECT_TRUE(Find("/" + std::string(256, 'n')).Is(ENAMETOOLONG));
  EXPECT_TRUE(Find("/" + std::string(255, 'n')).Is(ENOENT));
  EXPECT_TRUE(Find(std::string(4096, '/')).Is(ENAMETOOLONG));
}

TEST_F(WalkTest, FortyLinksAreTheLimit) {
  ASSERT_TRUE(Symlink("/d/f", "/k0").ok());
  for (int i = 1; i < 41; ++i) ASSERT_TRUE(Symlink("k" + std::to_string(i - 1), "/k" + std::to_string(i)).ok());
  EXPECT_TRUE(Find("/k39").ok());
  EXPECT_TRUE(Find("/k40").Is(ELOOP));
}

TEST_F(WalkTest, ResolveFlags) {
  EXPECT_TRUE(Resolve("../d", RESOLVE_BENEATH).Is(EXDEV));
  EXPECT_TRUE(Resolve("e/..", RESOLVE_BENEATH).ok());
  EXPECT_TRUE(Resolve("/d", RESOLVE_BENEATH).Is(EXDEV));
  EXPECT_TRUE(Resolve("/f", RESOLVE_IN_ROOT).ok());
  EXPECT_TRUE(Resolve("../../f", RESOLVE_IN_ROOT).ok());
  EXPECT_TRUE(Resolve("l", RESOLVE_NO_SYMLINKS).Is(ELOOP));
  EXPECT_TRUE(Resolve("f", RESOLVE_NO_SYMLINKS).ok());
}

TEST_F(WalkTest, NegativeEntriesAreForgottenOnCreation) {
  EXPECT_TRUE(Find("/new").Is(ENOENT));
  EXPECT_TRUE(ns->root().dentry->CachedChild("new")->IsNegative());
  ASSERT_TRUE(Mkdir("/new").ok());
  EXPECT_TRUE(Find("/new").ok());
  ASSERT_TRUE(RemoveDir(context(), base, "/new").ok());
  EXPECT_TRUE(Find("/new").Is(ENOENT));
}

TEST_F(WalkTest, MountsStackAndComeOff) {
  ASSERT_TRUE(ns->MountAt(*Find("/d"), TmpfsFileSystem::Create(), nullptr, 0, "one").ok());
  EXPECT_TRUE(Find("/d/f").Is(ENOENT));
  ASSERT_TRUE(Mkdir("/d/in").ok());
  ASSERT_TRUE(ns->MountAt(*Find("/d"), TmpfsFileSystem::Create(), nullptr, 0, "two").ok());
  EXPECT_TRUE(Find("/d/in").Is(ENOENT));
  EXPECT_EQ(Text("/d/.."), "/");
  EXPECT_TRUE(RemoveDir(context(), base, "/d").Is(EBUSY));
  EXPECT_TRUE(Resolve("d", RESOLVE_NO_XDEV, "/").Is(EXDEV));
  EXPECT_TRUE(ns->Unmount(*Find("/d"), false).ok());
  EXPECT_TRUE(Find("/d/in").ok());
  auto busy = *Open("/d/in", O_RDONLY);
  EXPECT_TRUE(ns->Unmount(*Find("/d"), false).Is(EBUSY));
  EXPECT_TRUE(ns->Unmount(*Find("/d"), true).ok());
  EXPECT_TRUE(Find("/d/f").ok());
  EXPECT_TRUE(ns->Unmount(*Find("/d"), false).Is(EINVAL));
}

TEST_F(WalkTest, BindMountsShowPartsAndFiles) {
  ASSERT_TRUE(Mkdir("/b").ok());
  ASSERT_TRUE(ns->Bind(*Find("/d"), *Find("/b"), false).ok());
  EXPECT_EQ(Text("/b/f"), "/b/f");
  EXPECT_EQ(Find("/b/f")->inode(), Find("/d/f")->inode());
  EXPECT_EQ(Text("/b/.."), "/");
  ASSERT_TRUE(Open("/target", O_CREAT | O_RDWR).ok());
  EXPECT_TRUE(ns->Bind(*Find("/d"), *Find("/target"), false).Is(ENOTDIR));
  ASSERT_TRUE(ns->Bind(*Find("/d/f"), *Find("/target"), false).ok());
  EXPECT_EQ(Find("/target")->inode(), Find("/d/f")->inode());
  Find("/b")->mount->set_flags(MS_RDONLY);
  EXPECT_TRUE(Open("/b/x", O_CREAT | O_RDWR).Is(EROFS));
  EXPECT_TRUE(Open("/b/f", O_RDWR).Is(EROFS));
  EXPECT_TRUE(Open("/d/f", O_RDWR).ok());
}

TEST_F(WalkTest, RecursiveBindAndCloneCopyTheTree) {
  ASSERT_TRUE(ns->MountAt(*Find("/d/e"), TmpfsFileSystem::Create(), nullptr, 0, "one").ok());
  ASSERT_TRUE(Mkdir("/d/e/inside").ok());
  ASSERT_TRUE(Mkdir("/b").ok());
  ASSERT_TRUE(ns->Bind(*Find("/d"), *Find("/b"), true).ok());
  EXPECT_TRUE(Find("/b/e/inside").ok());
  Path cwd = *Find("/d/e/inside");
  Path* carried[] = {&cwd};
  auto copy = ns->Clone(UserNamespace::Root(), carried);
  EXPECT_TRUE(copy->Contains(cwd.mount));
  EXPECT_EQ(copy->List().size(), ns->List().size());
  EXPECT_EQ(PathToString(cwd, copy->root()), "/d/e/inside");
}

TEST_F(WalkTest, PivotRootSwapsTheTrees) {
  ASSERT_TRUE(Mkdir("/new").ok());
  ASSERT_TRUE(ns->MountAt(*Find("/new"), TmpfsFileSystem::Create(), nullptr, 0, "new").ok());
  ASSERT_TRUE(Mkdir("/new/old").ok());
  EXPECT_TRUE(ns->PivotRoot(ns->root(), *Find("/d"), *Find("/d")).Is(EBUSY));
  ASSERT_TRUE(ns->PivotRoot(ns->root(), *Find("/new"), *Find("/new/old")).ok());
  base = {ns->root(), ns->root()};
  EXPECT_EQ(Text("/old/d/f"), "/old/d/f");
  EXPECT_TRUE(Find("/d").Is(ENOENT));
  EXPECT_TRUE(ns->Unmount(*Find("/old"), true).ok());
}

TEST_F(WalkTest, EvictionLosesNothing) {
  DentryCache::Get().SetCapacity(16);
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(Mkdir("/d/e/" + std::to_string(i)).ok());
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(Find("/d/e/" + std::to_string(i)).ok());
  DentryCache::Get().SetCapacity(32768);
}

TEST(RecordLocksTest, RangesSplitMergeAndConflict) {
  RecordLocks locks;
  int a = 0, b = 0;
  auto lock = [](LockType type, int64_t start, int64_t end, const void* owner) {
    return RangeLock{type, start, end, owner, 1};
  };
  Context& context = KernelContext();
  ASSERT_TRUE(locks.Set(context, lock(LockType::kExclusive, 0, 100, &a), false).ok());
  EXPECT_TRUE(locks.Set(context, lock(LockType::kShared, 50, 60, &b), false).Is(EAGAIN));
  locks.Clear(&a, 40, 70);
  EXPECT_EQ(locks.List().size(), 2u);
  EXPECT_TRUE(locks.Set(context, lock(LockType::kShared, 50, 60, &b), false).ok());
  EXPECT_EQ(locks.Conflicting(lock(LockType::kExclusive, 0, kLockToEof, &b))->end, 40);
  locks.ReleaseOwner(&b);
  ASSERT_TRUE(locks.Set(context, lock(LockType::kExclusive, 40, 70, &a), false).ok());
  ASSERT_EQ(locks.List().size(), 1u);
  EXPECT_EQ(locks.List()[0].lock.end, 100);
}

}  // namespace
}  // namespace sandbox
