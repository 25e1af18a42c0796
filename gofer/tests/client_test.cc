// The gofer file system against a real server and a real directory.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <thread>

#include "gofer/tests/world.h"
#include "sentry/fs/gofer/inode.h"
#include "sentry/mm/mappable.h"

namespace sandbox {
namespace {

using ::testing::ElementsAre;

TEST(GoferFs, ReadsWhatTheHostHas) {
  GoferWorld world;
  world.host.Mkdir("dir");
  world.host.Write("dir/file", "contents");
  ASSERT_EQ(::symlink("dir/file", (world.host / "link").c_str()), 0);
  Calls& calls = *world.calls;
  EXPECT_EQ(calls.ReadFrom("/dir/file"), "contents");
  EXPECT_EQ(calls.ReadFrom("/link"), "contents");
  EXPECT_EQ(calls.Stat("/link", false)->mode & S_IFMT, uint32_t{S_IFLNK});
  EXPECT_EQ(calls.Stat("/dir/file")->size, 8u);
  struct stat st;
  ASSERT_EQ(::stat((world.host / "dir/file").c_str(), &st), 0);
  EXPECT_EQ(calls.Stat("/dir/file")->ino, st.st_ino);
  EXPECT_THAT(calls.List("/"), ElementsAre("dir", "link"));
  EXPECT_TRUE(calls.Stat("/nothing").Is(ENOENT));
  EXPECT_TRUE(calls.Stat("/dir/file/below").Is(ENOTDIR));
}

TEST(GoferFs, RepeatedStatAndOpenCostNoRoundTrip) {
  GoferWorld world;
  world.host.Write("file", "x");
  Calls& calls = *world.calls;
  EXPECT_EQ(calls.ReadFrom("/file"), "x");
  EXPECT_FALSE(calls.Exists("/gone"));
  const uint64_t before = world.client->round_trips();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(calls.ReadFrom("/file"), "x");
    EXPECT_TRUE(calls.Stat("/file").ok());
    EXPECT_FALSE(calls.Exists("/gone"));
  }
  EXPECT_EQ(world.client->round_trips(), before);
}

TEST(GoferFs, NegativeAnswersComeFromTheListing) {
  GoferWorld world;
  for (int i = 0; i < 20; ++i) world.host.Write("f" + std::to_string(i), "");
  Calls& calls = *world.calls;
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(calls.Exists("/missing" + std::to_string(i)));
  EXPECT_LT(world.client->round_trips(), 8u);
  EXPECT_TRUE(calls.WriteTo("/missing7", "now").ok());
  EXPECT_EQ(calls.ReadFrom("/missing7"), "now");
  EXPECT_EQ(world.host.Read("missing7"), "now");
}

TEST(GoferFs, LookingAtAListedDirectoryIsBatched) {
  GoferWorld world;
  world.host.Mkdir("d");
  for (int i = 0; i < 1000; ++i) world.host.Write("d/f" + std::to_string(i), "");
  Calls& calls = *world.calls;
  const auto names = calls.List("/d");
  ASSERT_EQ(names.size(), 1000u);
  const FileRef dir = *calls.Open("/d", O_RDONLY | O_DIRECTORY);
  struct Order : DirSink {
    std::vector<std::string> names;
    bool Emit(std::string_view name, uint64_t, uint8_t, int64_t) override {
      names.emplace_back(name);
      return true;
    }
  } order;
  ASSERT_TRUE(ReadDirectory(calls.context(), *dir, order).ok());
  const uint64_t before = world.client->round_trips();
  for (const std::string& name : order.names) ASSERT_TRUE(calls.Stat("/d/" + name).ok()) << name;
  EXPECT_LT(world.client->round_trips() - before, 60u);
}

TEST(GoferFs, WritesReachTheHostAndTheAttributes) {
  GoferWorld world;
  Calls& calls = *world.calls;
  const FileRef file = *calls.Open("/new", O_RDWR | O_CREAT, 0640);
  EXPECT_EQ(*calls.Write(*file, "hello"), 5u);
  EXPECT_EQ(calls.Stat("/new")->size, 5u);
  EXPECT_EQ(calls.Stat("/new")->mode & 07777, 0640u);
  EXPECT_EQ(world.host.Read("new"), "hello");
  const FileRef append = *calls.Open("/new", O_WRONLY | O_APPEND);
  EXPECT_EQ(*calls.Write(*append, " world"), 6u);
  EXPECT_EQ(calls.Stat("/new")->size, 11u);
  EXPECT_EQ(calls.ReadAll(*file), "hello world");
  AttrChange change;
  change.size = 3;
  change.mtime = FileTime{1000, 5};
  ASSERT_TRUE(file->path().inode()->SetAttr(calls.context(), change).ok());
  EXPECT_EQ(calls.Stat("/new")->size, 3u);
  EXPECT_EQ(calls.Stat("/new")->mtime.seconds, 1000);
  EXPECT_EQ(world.host.Read("new"), "hel");
}

TEST(GoferFs, NamesChange) {
  GoferWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.Mkdir("/a").ok());
  ASSERT_TRUE(calls.Mkdir("/b").ok());
  ASSERT_TRUE(calls.WriteTo("/a/f", "1").ok());
  ASSERT_TRUE(calls.Link("/a/f", "/b/g").ok());
  EXPECT_EQ(calls.Stat("/a/f")->nlink, 2u);
  EXPECT_EQ(calls.Stat("/b/g")->ino, calls.Stat("/a/f")->ino);
  ASSERT_TRUE(calls.Rename("/a/f", "/b/h").ok());
  EXPECT_FALSE(calls.Exists("/a/f"));
  EXPECT_THAT(calls.List("/b"), ElementsAre("g", "h"));
  EXPECT_TRUE(calls.Rmdir("/b").Is(ENOTEMPTY));
  ASSERT_TRUE(calls.Rename("/b", "/a/c").ok());
  EXPECT_EQ(calls.ReadFrom("/a/c/h"), "1");
  ASSERT_TRUE(calls.Unlink("/a/c/h").ok());
  EXPECT_EQ(calls.Stat("/a/c/g")->nlink, 1u);
  ASSERT_TRUE(calls.Symlink("c/g", "/a/s").ok());
  EXPECT_EQ(calls.ReadFrom("/a/s"), "1");
  ASSERT_TRUE(calls.Unlink("/a/c/g").ok());
  ASSERT_TRUE(calls.Rmdir("/a/c").ok());
  EXPECT_THAT(calls.List("/a"), ElementsAre("s"));
  EXPECT_FALSE(std::filesystem::exists(world.host / "a/c"));
}

TEST(GoferFs, UnlinkedOpenFileLives) {
  GoferWorld world;
  Calls& calls = *world.calls;
  const FileRef file = *calls.Open("/f", O_RDWR | O_CREAT);
  ASSERT_TRUE(calls.Unlink("/f").ok());
  EXPECT_EQ(*calls.Write(*file, "still"), 5u);
  EXPECT_EQ(calls.ReadAll(*file), "still");
  const auto attr = file->path().inode()->GetAttr(calls.context());
  ASSERT_TRUE(attr.ok());
  EXPECT_EQ(attr->nlink, 0u);
  EXPECT_EQ(attr->size, 5u);
  AttrChange change;
  change.mode = 0600;
  EXPECT_TRUE(file->path().inode()->SetAttr(calls.context(), change).ok());
  ASSERT_TRUE(calls.WriteTo("/f", "other").ok());
  EXPECT_EQ(calls.ReadAll(*file), "still");
}

TEST(GoferFs, TmpfileCanBeLinked) {
  GoferWorld world;
  Calls& calls = *world.calls;
  auto file = calls.Open("/", O_RDWR | O_TMPFILE, 0600);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(*calls.Write(**file, "data"), 4u);
  ASSERT_TRUE(MakeLink(calls.context(), (*file)->path(), calls.base(), "/named").ok());
  EXPECT_EQ(calls.ReadFrom("/named"), "data");
  EXPECT_EQ(world.host.Read("named"), "data");
}

TEST(GoferFs, ReadOnlyGuestGetsReadOnlyDescriptor) {
  GoferWorld world;
  Calls& calls = *world.calls;
  const FileRef writer = *calls.Open("/f", O_RDWR | O_CREAT);  // a wider descriptor is in the cache now
  const FileRef reader = *calls.Open("/f", O_RDONLY);
  const auto mappable = reader->GetMappable(calls.context());
  ASSERT_TRUE(mappable.ok());
  const auto backing = (*mappable)->Back(calls.context(), 0, 4096, {PROT_READ, PROT_READ, true});
  ASSERT_TRUE(backing.ok());
  EXPECT_EQ(::fcntl(backing->fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_TRUE((*mappable)->Back(calls.context(), 0, 4096, {PROT_READ | PROT_WRITE, 7, true}).Is(EACCES));
}

TEST(GoferClient, ReopensMemoryFilesForReadingOnly) {
  GoferWorld world;
  const UniqueFd memory(::memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(memory.get(), 4096), 0);
  const auto reader = world.client->ReopenMemory(memory.borrow());
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(::fcntl(reader->get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reader->get(), 0), MAP_FAILED);
  struct stat a, b;
  ASSERT_EQ(::fstat(memory.get(), &a), 0);
  ASSERT_EQ(::fstat(reader->get(), &b), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
  // Only what can do more than the answer, and is a memory file.
  EXPECT_TRUE(world.client->ReopenMemory(reader->borrow()).Is(EACCES));
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  const UniqueFd read_end(pipe_fds[0]), write_end(pipe_fds[1]);
  EXPECT_TRUE(world.client->ReopenMemory(read_end.borrow()).Is(EACCES));
  world.host.Write("f", "x");
  const UniqueFd file(::open((world.host / "f").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(world.client->ReopenMemory(file.borrow()).Is(EACCES));
}

TEST(GoferFs, ReadOnlyTreeRefusesChanges) {
  GoferWorld world({.exclusive = true, .read_only = true});
  world.host.Write("f", "x");
  Calls& calls = *world.calls;
  EXPECT_TRUE(calls.Mkdir("/d").Is(EROFS));
  EXPECT_TRUE(calls.Unlink("/f").Is(EROFS));
  EXPECT_TRUE(calls.Open("/f", O_RDWR).Is(EROFS));
  EXPECT_EQ(calls.ReadFrom("/f"), "x");
}

TEST(GoferFs, SharedTreeShowsTheHostsChanges) {
  GoferWorld world({.exclusive = false});
  Calls& calls = *world.calls;
  // What was fetched before the host's change may be shown for this long, and no longer.
  const auto settle = [] {
    const int64_t start = MonotonicNow().ns;
    while (MonotonicNow().ns - start <= GoferInode::kAheadValidNs) std::this_thread::yield();
  };
  EXPECT_FALSE(calls.Exists("/f"));
  world.host.Write("f", "one");
  settle();
  EXPECT_EQ(calls.ReadFrom("/f"), "one");
  world.host.Write("f", "longer");
  settle();
  EXPECT_EQ(calls.Stat("/f")->size, 6u);
  EXPECT_EQ(calls.ReadFrom("/f"), "longer");
  ASSERT_EQ(::unlink((world.host / "f").c_str()), 0);
  settle();
  EXPECT_FALSE(calls.Exists("/f"));
  world.host.Mkdir("f");
  settle();
  EXPECT_TRUE(calls.Stat("/f")->IsDir());
  EXPECT_THAT(calls.List("/"), ElementsAre("f"));
}

TEST(GoferFs, HolesAndLargeTransfers) {
  GoferWorld world;
  Calls& calls = *world.calls;
  const FileRef file = *calls.Open("/big", O_RDWR | O_CREAT);
  std::string data(3 << 20, 'a');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31);
  auto from = IoSequence::Kernel(data.data(), data.size());
  ASSERT_EQ(*WriteFileAt(calls.context(), *file, from, 8 << 20), data.size());
  std::string back(data.size(), 0);
  auto to = IoSequence::Kernel(back.data(), back.size());
  ASSERT_EQ(*ReadFileAt(calls.context(), *file, to, 8 << 20), data.size());
  EXPECT_EQ(back, data);
  EXPECT_EQ(*SeekFile(calls.context(), *file, 0, SEEK_DATA), 8 << 20);
  EXPECT_EQ(*SeekFile(calls.context(), *file, 0, SEEK_END), 11 << 20);
}

TEST(GoferFs, XattrsPass) {
  GoferWorld world;
  Calls& calls = *world.calls;
  ASSERT_TRUE(calls.WriteTo("/f", "").ok());
  const InodeRef inode = calls.Find("/f")->inode();
  ASSERT_TRUE(inode->SetXattr(calls.context(), "user.k", "value", 0).ok());
  EXPECT_EQ(*inode->GetXattr(calls.context(), "user.k"), "value");
  EXPECT_THAT(*inode->ListXattr(calls.context()), testing::Contains("user.k"));
  EXPECT_TRUE(inode->RemoveXattr(calls.context(), "user.k").ok());
  EXPECT_TRUE(inode->GetXattr(calls.context(), "user.k").Is(ENODATA));
}

}  // namespace
}  // namespace sandbox
