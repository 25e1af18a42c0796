#include "sentry/fs/synthetic/synthetic.h"

#include <gtest/gtest.h>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/io.h"
#include "sentry/vfs/mount.h"
#include "sentry/vfs/operations.h"

namespace sandbox::synthetic {
namespace {

class SyntheticTest : public testing::Test {
 protected:
  void SetUp() override {
    fs_ = MakeRef<Fs>("test", 0x1234);
    root_ = MakeRef<StaticDirectory>(*fs_);
    fs_->SetRoot(root_);
  }
  void Mount() { mounts_ = MountNamespace::Create(fs_, 0, "none"); }
  Result<FileRef> Open(const char* path, int flags) {
    const WalkBase base{mounts_->root(), mounts_->root()};
    return sandbox::Open(KernelContext(), base, path, {.flags = flags});
  }
  std::string ReadAll(FileDescription& file) {
    std::string text;
    char buffer[7];  // small, so that a snapshot is read in parts
    for (;;) {
      IoSequence to = IoSequence::Kernel(buffer, sizeof(buffer));
      const size_t size = *ReadFile(KernelContext(), file, to);
      if (size == 0) return text;
      text.append(buffer, size);
    }
  }

  RefPtr<Fs> fs_;
  RefPtr<StaticDirectory> root_;
  RefPtr<MountNamespace> mounts_;
};

TEST_F(SyntheticTest, TextIsASnapshotUntilReadFromTheStart) {
  int generation = 0;
  root_->Add("count", MakeText(*fs_, [&](Context&) -> Result<std::string> {
               return "generation " + std::to_string(++generation) + "\n";
             }));
  Mount();
  const FileRef file = *Open("/count", O_RDONLY);
  EXPECT_EQ(ReadAll(*file), "generation 1\n");
  EXPECT_EQ(*SeekFile(KernelContext(), *file, 0, SEEK_SET), 0);
  EXPECT_EQ(ReadAll(*file), "generation 2\n");
}

TEST_F(SyntheticTest, WritesGoToTheSinkAndTruncationIsAccepted) {
  std::string stored;
  root_->Add("value", MakeRef<TextFile>(
                          *fs_, 0644, [&](Context&) -> Result<std::string> { return stored; },
                          [&](Context&, std::string_view text) -> Result<void> {
                            stored = std::string(text);
                            return {};
                          }));
  Mount();
  const FileRef file = *Open("/value", O_WRONLY | O_TRUNC);
  char text[] = "12\n";
  IoSequence from = IoSequence::Kernel(text, 3);
  EXPECT_EQ(*WriteFile(KernelContext(), *file, from), 3u);
  EXPECT_EQ(stored, "12\n");
}

TEST_F(SyntheticTest, ListsFixedEntriesWithDots) {
  auto sub = AddDirectory(*fs_, *root_, "sub");
  sub->Add("a", MakeText(*fs_, "x"));
  sub->Add("b", MakeRef<Symlink>(*fs_, std::string("a")));
  Mount();
  struct Sink : DirSink {
    bool Emit(std::string_view name, uint64_t, uint8_t, int64_t) override {
      names += std::string(name) + " ";
      return true;
    }
    std::string names;
  } sink;
  const FileRef dir = *Open("/sub", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(ReadDirectory(KernelContext(), *dir, sink).ok());
  EXPECT_EQ(sink.names, ". .. a b ");
  EXPECT_EQ(ReadAll(**Open("/sub/b", O_RDONLY)), "x");
  EXPECT_TRUE(Open("/sub/c", O_RDONLY).Is(ENOENT));
  EXPECT_TRUE(Open("/sub/new", O_RDWR | O_CREAT).Is(EPERM) || Open("/sub/new", O_RDWR | O_CREAT).Is(EACCES));
}

TEST(ParseNumberTest, TakesWhatTheKernelTakes) {
  EXPECT_EQ(*ParseNumber("12\n"), 12);
  EXPECT_EQ(*ParseNumber(" -7 "), -7);
  EXPECT_EQ(*ParseNumber("0x1F\n"), 31);
  EXPECT_EQ(*ParseNumber("010"), 8);
  EXPECT_EQ(*ParseNumber("0"), 0);
  EXPECT_TRUE(ParseNumber("0x").Is(EINVAL));
  EXPECT_TRUE(ParseNumber("--1").Is(EINVAL));
  EXPECT_TRUE(ParseNumber("").Is(EINVAL));
  EXPECT_TRUE(ParseNumber("1x").Is(EINVAL));
  EXPECT_TRUE(ParseNumber("99999999999999999999").Is(EINVAL));
}

}  // namespace
}  // namespace sandbox::synthetic
