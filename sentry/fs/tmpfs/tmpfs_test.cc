#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/mount.h>

#include <algorithm>

#include "sentry/fs/tmpfs/regular.h"
#include "sentry/fs/tmpfs/shared_memory.h"
#include "sentry/fs/tmpfs/testing.h"
#include "sentry/vfs/dentry.h"

namespace sandbox {
namespace {

class Names final : public DirSink {
 public:
  explicit Names(size_t max = SIZE_MAX) : max_(max) {}
  bool Emit(std::string_view name, uint64_t, uint8_t, int64_t) override {
    if (names.size() == max_) return false;
    names.emplace_back(name);
    return true;
  }
  std::vector<std::string> names;

 private:
  const size_t max_;
};

class TmpfsTest : public testing::Test, public TmpfsWorld {};

TEST_F(TmpfsTest, WhatIsWrittenIsRead) {
  auto file = Open("/a", O_CREAT | O_RDWR);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(*Write(**file, "hello"), 5u);
  EXPECT_EQ(ReadAll(**file), "hello");
  EXPECT_EQ(ReadAll(**file, 3), "lo");
  EXPECT_EQ((*file)->GetAttr(context())->size, 5u);
}

TEST_F(TmpfsTest, CreateHonoursExclusiveAndTruncate) {
  ASSERT_TRUE(Open("/a", O_CREAT | O_EXCL | O_RDWR).ok());
  EXPECT_TRUE(Open("/a", O_CREAT | O_EXCL | O_RDWR).Is(EEXIST));
  ASSERT_TRUE(Write(**Open("/a", O_RDWR), "text").ok());
  EXPECT_EQ(ReadAll(**Open("/a", O_RDWR | O_TRUNC)), "");
}

TEST_F(TmpfsTest, LargeFilesMoveToHostMemoryAndKeepTheirBytes) {
  auto file = *Open("/big", O_CREAT | O_RDWR);
  const std::string block(512 * 1024, 'x');
  const int before = HostMemory::count();
  ASSERT_EQ(*Write(*file, block), block.size());
  EXPECT_EQ(HostMemory::count(), before);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(*Write(*file, block), block.size());
  EXPECT_EQ(HostMemory::count(), before + 1);
  EXPECT_EQ(ReadAll(*file, 1 << 20), block + block);
  EXPECT_EQ(file->GetAttr(context())->size, 4 * block.size());
}

TEST_F(TmpfsTest, HolesReadAsZerosAndAreFound) {
  auto file = *Open("/s", O_CREAT | O_RDWR);
  std::string text = "data";
  auto from = IoSequence::Kernel(text.data(), text.size());
  ASSERT_TRUE(WriteFileAt(context(), *file, from, 8192).ok());
  EXPECT_EQ(ReadAll(*file), std::string(8192, '\0') + "data");
  EXPECT_EQ(*SeekFile(context(), *file, 0, SEEK_DATA), 8192);
  EXPECT_EQ(*SeekFile(context(), *file, 0, SEEK_HOLE), 0);
  EXPECT_EQ(*SeekFile(context(), *file, 8192, SEEK_HOLE), 8196);
  EXPECT_TRUE(SeekFile(context(), *file, 9000, SEEK_DATA).Is(ENXIO));
}

TEST_F(TmpfsTest, ShrinkingAndGrowingLeavesZeros) {
  auto file = *Open("/a", O_CREAT | O_RDWR);
  ASSERT_TRUE(Write(*file, "abcdef").ok());
  ASSERT_TRUE(TruncateFile(context(), *file, 2).ok());
  ASSERT_TRUE(TruncateFile(context(), *file, 4).ok());
  EXPECT_EQ(ReadAll(*file), std::string("ab\0\0", 4));
}

TEST_F(TmpfsTest, PunchedHolesAreZero) {
  auto file = *Open("/a", O_CREAT | O_RDWR);
  ASSERT_TRUE(Write(*file, std::string(3 * 4096, 'x')).ok());
  ASSERT_TRUE(file->Allocate(context(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 8100).ok());
  const std::string text = ReadAll(*file);
  EXPECT_EQ(text.size(), 3u * 4096);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\0'), 8100);
  EXPECT_EQ(file->GetAttr(context())->blocks, 16u);
  EXPECT_TRUE(file->Allocate(context(), FALLOC_FL_COLLAPSE_RANGE, 0, 4096).Is(EOPNOTSUPP));
}

TEST_F(TmpfsTest, TheSizeLimitGivesShortWritesThenEnospc) {
  TmpfsOptions options = *ParseTmpfsOptions("size=8k");
  ASSERT_TRUE(Mkdir("/m").ok());
  ASSERT_TRUE(ns->MountAt(*Find("/m"), TmpfsFileSystem::Create(options), nullptr, 0, "none").ok());
  auto file = *Open("/m/f", O_CREAT | O_RDWR);
  EXPECT_EQ(*Write(*file, std::string(10000, 'x')), 8192u);
  EXPECT_TRUE(Write(*file, "y").Is(ENOSPC));
  ASSERT_TRUE(Unlink(context(), base, "/m/f").ok());
  file.reset();
  EXPECT_EQ(*Write(**Open("/m/g", O_CREAT | O_RDWR), std::string(8192, 'x')), 8192u);
}

TEST_F(TmpfsTest, OptionsAreChecked) {
  EXPECT_EQ(ParseTmpfsOptions("size=64k,mode=700,uid=5")->max_bytes, 65536u);
  EXPECT_EQ(ParseTmpfsOptions("mode=700")->mode, 0700u);
  EXPECT_TRUE(ParseTmpfsOptions("size=64x").Is(EINVAL));
  EXPECT_TRUE(ParseTmpfsOptions("bogus").Is(EINVAL));
  EXPECT_TRUE(ParseTmpfsOptions("size=99999999999999999999").Is(EINVAL));
}

TEST_F(TmpfsTest, HardLinksShareTheInode) {
  ASSERT_TRUE(Open("/a", O_CREAT | O_RDWR).ok());
  ASSERT_TRUE(MakeLink(context(), *Find("/a"), base, "/b").ok());
  EXPECT_EQ(Find("/a")->inode(), Find("/b")->inode());
  EXPECT_EQ(Find("/a")->inode()->GetAttr(context())->nlink, 2u);
  ASSERT_TRUE(Unlink(context(), base, "/a").ok());
  EXPECT_EQ(Find("/b")->inode()->GetAttr(context())->nlink, 1u);
}

TEST_F(TmpfsTest, UnlinkedFilesLiveUntilTheyAreClosed) {
  auto file = *Open("/a", O_CREAT | O_RDWR);
  ASSERT_TRUE(Unlink(context(), base, "/a").ok());
  EXPECT_TRUE(Find("/a").Is(ENOENT));
  EXPECT_TRUE(Write(*file, "x").ok());
  EXPECT_EQ(PathToString(file->path(), ns->root()), "/a (deleted)");
  std::weak_ptr<Inode> inode = file->path().inode();
  file.reset();
  EXPECT_TRUE(inode.expired());
}

TEST_F(TmpfsTest, TmpfileCanBeLinkedUnlessExclusive) {
  auto file = *Open("/", O_TMPFILE | O_RDWR);
  ASSERT_TRUE(Write(*file, "x").ok());
  EXPECT_EQ(file->GetAttr(context())->nlink, 0u);
  ASSERT_TRUE(MakeLink(context(), file->path(), base, "/named").ok());
  EXPECT_EQ(ReadAll(**Open("/named", O_RDONLY)), "x");
  auto exclusive = *Open("/", O_TMPFILE | O_EXCL | O_RDWR);
  EXPECT_TRUE(MakeLink(context(), exclusive->path(), base, "/other").Is(ENOENT));
}

TEST_F(TmpfsTest, RenameReplacesMovesAndExchanges) {
  ASSERT_TRUE(Write(**Open("/a", O_CREAT | O_RDWR), "A").ok());
  ASSERT_TRUE(Write(**Open("/b", O_CREAT | O_RDWR), "B").ok());
  ASSERT_TRUE(Mkdir("/d").ok());
  EXPECT_TRUE(Rename(context(), base, "/a", base, "/b", RENAME_NOREPLACE).Is(EEXIST));
  ASSERT_TRUE(Rename(context(), base, "/a", base, "/b", RENAME_EXCHANGE).ok());
  EXPECT_EQ(ReadAll(**Open("/a", O_RDONLY)), "B");
  ASSERT_TRUE(Rename(context(), base, "/a", base, "/b", 0).ok());
  EXPECT_EQ(ReadAll(**Open("/b", O_RDONLY)), "B");
  EXPECT_TRUE(Find("/a").Is(ENOENT));
  ASSERT_TRUE(Rename(context(), base, "/b", base, "/d/c", 0).ok());
  EXPECT_EQ(PathToString(*Find("/d/c"), ns->root()), "/d/c");
  EXPECT_TRUE(Rename(context(), base, "/d", base, "/d/x", 0).Is(EINVAL));
  EXPECT_TRUE(Rename(context(), base, "/d/c", base, "/d", 0).Is(ENOTEMPTY));
}

TEST_F(TmpfsTest, DirectoriesCountLinksAndMustBeEmpty) {
  ASSERT_TRUE(Mkdir("/d").ok());
  ASSERT_TRUE(Mkdir("/d/e").ok());
  EXPECT_EQ(Find("/d")->inode()->GetAttr(context())->nlink, 3u);
  EXPECT_TRUE(RemoveDir(context(), base, "/d").Is(ENOTEMPTY));
  const Path held = *Find("/d/e");
  ASSERT_TRUE(RemoveDir(context(), base, "/d/e").ok());
  EXPECT_EQ(Find("/d")->inode()->GetAttr(context())->nlink, 2u);
  // A removed directory takes no entries.
  WalkBase in_removed{ns->root(), held};
  EXPECT_TRUE(MakeDir(context(), in_removed, "x", 0755, 0).Is(ENOENT));
  EXPECT_TRUE(RemoveDir(context(), base, "/d").ok());
}

TEST_F(TmpfsTest, ReadDirContinuesAcrossChanges) {
  for (const char* name : {"/a", "/b", "/c", "/d"}) ASSERT_TRUE(Open(name, O_CREAT | O_RDWR).ok());
  auto directory = *Open("/", O_RDONLY | O_DIRECTORY);
  Names first(4);
  ASSERT_TRUE(ReadDirectory(context(), *directory, first).ok());
  EXPECT_EQ(first.names, (std::vector<std::string>{".", "..", "d", "c"}));  // newest first
  ASSERT_TRUE(Unlink(context(), base, "/a").ok());
  ASSERT_TRUE(Unlink(context(), base, "/c").ok());
  Names rest;
  ASSERT_TRUE(ReadDirectory(context(), *directory, rest).ok());
  EXPECT_EQ(rest.names, (std::vector<std::string>{"b"}));
}

TEST_F(TmpfsTest, SealsForbidWhatTheySay) {
  auto file = *MakeMemoryFile(context(), "m", 0, 0777);
  auto* regular = AsTmpfsRegular(*file);
  ASSERT_NE(regular, nullptr);
  ASSERT_TRUE(Write(*file, "1234").ok());
  ASSERT_TRUE(regular->AddSeals(F_SEAL_SHRINK).ok());
  EXPECT_TRUE(TruncateFile(context(), *file, 1).Is(EPERM));
  ASSERT_TRUE(regular->AddSeals(F_SEAL_GROW).ok());
  EXPECT_TRUE(Write(*file, "5").Is(EPERM));
  auto mappable = *file->GetMappable(context());
  ASSERT_TRUE(mappable->Back(context(), 0, 4096, {PROT_READ | PROT_WRITE, 7, true}).ok());
  mappable->CountMapping(1, true);
  EXPECT_TRUE(regular->AddSeals(F_SEAL_WRITE).Is(EBUSY));
  mappable->CountMapping(-1, true);
  ASSERT_TRUE(regular->AddSeals(F_SEAL_WRITE | F_SEAL_SEAL).ok());
  EXPECT_TRUE(mappable->Back(context(), 0, 4096, {PROT_READ | PROT_WRITE, 7, true}).Is(EPERM));
  EXPECT_TRUE(regular->AddSeals(F_SEAL_GROW).Is(EPERM));
  EXPECT_EQ(PathToString(file->path(), ns->root()), "/memfd:m (deleted)");
}

TEST_F(TmpfsTest, MappingsSeeWritesAndTheOtherWayRound) {
  auto file = *Open("/a", O_CREAT | O_RDWR);
  ASSERT_TRUE(Write(*file, "hello").ok());
  auto backing = *(*file->GetMappable(context()))->Back(context(), 0, 4096, {PROT_READ | PROT_WRITE, 7, true});
  auto* mapped = static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, backing.fd.get(), 0));
  ASSERT_NE(mapped, MAP_FAILED);
  EXPECT_EQ(std::string(mapped, 5), "hello");
  mapped[0] = 'J';
  EXPECT_EQ(ReadAll(*file), "Jello");
  munmap(mapped, 4096);
}

TEST_F(TmpfsTest, AllInstancesTogetherAreBounded) {
  const uint64_t before = TmpfsUsage::all_max_pages();
  auto file = *Open("/big", O_CREAT | O_RDWR);
  auto memory = *MakeMemoryFile(context(), "m", 0, 0777);  // an instance without a limit of its own
  ASSERT_TRUE(TruncateFile(context(), *memory, 64 << 20).ok());
  const std::string chunk(2 << 20, 'x');
  TmpfsUsage::set_all_max_pages(4 * chunk.size() / 4096);
  ASSERT_TRUE(Write(*file, chunk).ok());
  ASSERT_TRUE(Write(*file, chunk).ok());
  auto write_hole = [&](int64_t at) {
    auto from = IoSequence::Kernel(const_cast<char*>(chunk.data()), chunk.size());
    return WriteFileAt(context(), *memory, from, at);
  };
  EXPECT_TRUE(write_hole(0).ok());
  const auto over = write_hole(32 << 20);
  EXPECT_TRUE(over.Is(ENOSPC) || (over.ok() && !write_hole(48 << 20).ok()));
  EXPECT_TRUE(write_hole(0).ok());  // what is there may be written over
  TmpfsUsage::set_all_max_pages(before);
}

TEST_F(TmpfsTest, VeryDeepTreesAreFreedWithoutRecursion) {
  auto deep = MountNamespace::Create(TmpfsFileSystem::Create(), 0, "none");
  WalkBase at{deep->root(), deep->root()};
  for (int i = 0; i < 50000; ++i) {
    ASSERT_TRUE(MakeDir(context(), at, "d", 0755, 0).ok());
    at.start = *Walk(context(), at, "d", {});
  }
}

}  // namespace
}  // namespace sandbox
