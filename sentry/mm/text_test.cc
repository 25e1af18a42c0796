// Rewritten text in an address space. The host is the test's own memory; the rewriter marks sites with bytes that are
// never run: what is tested is which pages are mapped where, when, and what is seen of it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "sentry/mm/testing.h"

namespace sandbox {
namespace {

using platform::MemoryOp;
using testing_mm::FakeThread;
using testing_mm::SelfSpace;
using testing_mm::TestContext;

constexpr uint64_t kPage = kPageSize;
constexpr int kText = PROT_READ | PROT_EXEC;
constexpr uint8_t kSite[] = {0xb8, 0x27, 0, 0, 0, 0x0f, 0x05};
constexpr uint8_t kPatched[] = {0xe9, 1, 2, 3, 4};

// Patches every kSite.
class MarkingRewriter final : public platform::TextRewriter {
 public:
  std::unique_ptr<platform::RewriteJob> Begin(int64_t zone_delta, uint64_t zone_size) const override {
    EXPECT_LT(zone_delta, 0);
    EXPECT_GE(zone_size, uint64_t{64} << 10);
    ++jobs;
    return std::make_unique<Job>();
  }
  mutable int jobs = 0;

 private:
  class Job final : public platform::RewriteJob {
   public:
    void Scan(std::span<const uint8_t> bytes, uint64_t offset, uint64_t from) override {
      for (size_t at = from - offset; at + sizeof(kSite) <= bytes.size(); ++at) {
        if (std::memcmp(&bytes[at], kSite, sizeof(kSite)) != 0) continue;
        platform::TextPatch patch{.offset = offset + at};
        std::copy_n(kSite, patch.original.size(), patch.original.begin());
        std::copy_n(kPatched, patch.patched.size(), patch.patched.begin());
        text_.patches.push_back(patch);
      }
    }
    platform::RewrittenText Finish() override {
      text_.zone.assign(100, 0x5a);
      text_.map = MakeRef<const platform::TrampolineMap>(std::vector<platform::TrampolineMap::Point>{},
                                                         std::vector<platform::TrampolineMap::Point>{});
      return std::move(text_);
    }

   private:
    platform::RewrittenText text_;
  };
};

// Remembers which zones the platform was told of.
class TextSpace final : public platform::AddressSpace {
 public:
  Result<size_t> Read(GuestAddr from, void* to, size_t size) override { return memory_.Read(from, to, size); }
  Result<size_t> Write(GuestAddr to, const void* from, size_t size) override { return memory_.Write(to, from, size); }
  Result<uint32_t> CompareExchange(GuestAddr, uint32_t, uint32_t) override { return Err(EFAULT); }
  Usage GetUsage() override { return {}; }
  void AddTrampolines(GuestRange, GuestRange zone, RefPtr<const platform::TrampolineMap> map) override {
    EXPECT_NE(nullptr, map);
    active[zone.start] = true;
  }
  void RetireTrampolines(GuestRange zone) override { active[zone.start] = false; }
  void RemoveTrampolines(GuestRange zone) override { active.erase(zone.start); }

  std::map<GuestAddr, bool> active;  // by start of the zone; false = retired

 private:
  SelfSpace memory_;
};

class TextFile final : public Mappable {
 public:
  explicit TextFile(int fd) : fd_(fd) {}
  Result<HostBacking> Back(Context&, uint64_t, uint64_t, const Use&) override {
    return HostBacking{.fd = BorrowedFd(fd_), .versioned = versioned};
  }
  Identity MappingIdentity() const override { return {}; }
  bool versioned = true;

 private:
  const int fd_;
};

// An "ELF image" of a header page, three pages of text with a site in the first and the third, and a page of data.
constexpr uint64_t kImagePages = 5;
constexpr uint64_t kTextPages = 3;
constexpr uint64_t kFirstSite = 128, kLastSite = 2 * kPage + 700;

int MakeImage() {
  const int fd = memfd_create("image", 0);
  std::vector<uint8_t> bytes(kImagePages * kPage, 0x90);
  std::memcpy(bytes.data(), "\177ELF", 4);
  std::memcpy(&bytes[kPage + kFirstSite], kSite, sizeof(kSite));
  std::memcpy(&bytes[kPage + kLastSite], kSite, sizeof(kSite));
  EXPECT_EQ(static_cast<ssize_t>(bytes.size()), write(fd, bytes.data(), bytes.size()));
  return fd;
}

class TextTest : public testing::Test {
 protected:
  static constexpr uint64_t kSpan = uint64_t{64} << 20;

  static void SetUpTestSuite() {
    image_ = MakeImage();
    // Time stamps as old as a copy needs them: time itself has to pass.
    while (!FileVersion::Of(BorrowedFd(image_))->Settled()) poll(nullptr, 0, 50);
  }
  static void TearDownTestSuite() { close(image_); }

  TextTest() {
    base_ = mmap(nullptr, kSpan, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    mm_ = MakeMm();
  }
  ~TextTest() override { munmap(base_, kSpan); }

  RefPtr<MemoryManager> MakeMm() {
    const GuestAddr start(reinterpret_cast<uint64_t>(base_));
    return MakeRef<MemoryManager>(space_, GuestRange{start, start + kSpan}, cache_);
  }
  // As a dynamic linker maps a library. Returns the start of the text.
  GuestAddr MapImage(int fd = image_) {
    file_ = MakeRef<TextFile>(fd);
    MapRequest whole{.length = kImagePages * kPage, .prot = PROT_READ, .flags = MAP_PRIVATE, .mappable = file_};
    const auto start = mm_->Map(context_, thread_, whole);
    EXPECT_TRUE(start.ok());
    MapRequest text{.hint = *start + kPage, .length = kTextPages * kPage, .prot = kText, .mappable = file_};
    text.flags = MAP_PRIVATE | MAP_FIXED;
    text.offset = kPage;
    EXPECT_TRUE(mm_->Map(context_, thread_, text).ok());
    Execute();
    return *start + kPage;
  }
  void Execute() {
    ASSERT_TRUE(thread_.FlushMemoryOps().ok());
    mm_->OpsExecuted(thread_);
  }
  void Call(GuestAddr text, uint64_t times) {
    for (uint64_t i = 0; i < times; ++i) mm_->NoteSlowCall(thread_, text + kFirstSite + sizeof(kSite));
  }
  void MakeHot(GuestAddr text) { Call(text, TextCache::WorthAfter(kTextPages * kPage)); }
  const uint8_t* Bytes(GuestAddr at) { return reinterpret_cast<const uint8_t*>(at.value()); }
  bool IsPatched(GuestAddr text) {
    return std::memcmp(Bytes(text + kFirstSite), kPatched, sizeof(kPatched)) == 0 &&
           std::memcmp(Bytes(text + kLastSite), kPatched, sizeof(kPatched)) == 0;
  }
  bool IsOriginal(GuestAddr text) {
    return std::memcmp(Bytes(text + kFirstSite), kSite, sizeof(kSite)) == 0 &&
           std::memcmp(Bytes(text + kLastSite), kSite, sizeof(kSite)) == 0;
  }
  // What the sentry reads for somebody else.
  bool ReadsOriginal(GuestAddr text) {
    uint8_t bytes[kTextPages * kPage];
    EXPECT_EQ(sizeof(bytes), mm_->ReadSome(text, bytes, sizeof(bytes)).value_or(0));
    return std::memcmp(&bytes[kFirstSite], kSite, sizeof(kSite)) == 0 &&
           std::memcmp(&bytes[kLastSite], kSite, sizeof(kSite)) == 0;
  }
  static GuestAddr ZoneOf(GuestAddr text) { return text - kPage - (64 << 10); }

  static int image_;
  MarkingRewriter rewriter_;
  RefPtr<TextCache> cache_ = MakeRef<TextCache>(rewriter_);
  RefPtr<TextSpace> space_ = MakeRef<TextSpace>();
  FakeThread thread_{space_};
  TestContext context_;
  void* base_;
  RefPtr<MemoryManager> mm_;
  RefPtr<TextFile> file_;
};

int TextTest::image_ = -1;

TEST_F(TextTest, AnImageLeavesRoomThatNobodySees) {
  const GuestAddr text = MapImage();
  for (const Vma& vma : mm_->List()) EXPECT_GE(vma.range.start, text - kPage);
  EXPECT_EQ(kImagePages * kPage, mm_->total_bytes());
  const MapRequest anonymous{.length = kPage, .prot = PROT_READ, .flags = MAP_PRIVATE | MAP_ANONYMOUS};
  const auto next = mm_->Map(context_, thread_, anonymous);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(ZoneOf(text), *next + kPage);
  // A hint into it is not taken; what is not an image leaves no room.
  MapRequest hinted = anonymous;
  hinted.hint = text - kPage - kPage;
  EXPECT_NE(hinted.hint, mm_->Map(context_, thread_, hinted).value_or(GuestAddr()));
}

TEST_F(TextTest, HotTextIsReplaced) {
  const GuestAddr text = MapImage();
  Call(text, TextCache::WorthAfter(kTextPages * kPage) - 1);
  EXPECT_TRUE(IsOriginal(text));
  EXPECT_EQ(0, rewriter_.jobs);
  Call(text, 1);
  EXPECT_TRUE(IsPatched(text));
  EXPECT_EQ(0x5a, *Bytes(ZoneOf(text)));
  EXPECT_TRUE(space_->active.at(ZoneOf(text)));
  EXPECT_TRUE(ReadsOriginal(text));
  Call(text, 100);
  EXPECT_EQ(1, rewriter_.jobs);
  EXPECT_EQ(0u, thread_.queued.size());
}

// Linkers may leave a page out between two segments.
TEST_F(TextTest, AHoleInTheImageIsNotItsStart) {
  for (const bool same_file : {true, false}) {
    file_ = MakeRef<TextFile>(image_);
    MapRequest header{.length = kPage, .prot = PROT_READ, .flags = MAP_PRIVATE, .mappable = file_};
    header.image_bytes = (kImagePages + 1) * kPage;
    const auto start = mm_->Map(context_, thread_, header);
    ASSERT_TRUE(start.ok());
    if (!same_file) file_ = MakeRef<TextFile>(image_);
    MapRequest request{.hint = *start + 2 * kPage, .length = kTextPages * kPage, .prot = kText, .mappable = file_};
    request.flags = MAP_PRIVATE | MAP_FIXED;
    request.offset = kPage;
    const GuestAddr text = mm_->Map(context_, thread_, request).value_or(GuestAddr());
    ASSERT_EQ(text, request.hint);
    Execute();
    MakeHot(text);
    EXPECT_EQ(same_file, IsPatched(text));
    EXPECT_EQ(same_file, !IsOriginal(text));
  }
}

TEST_F(TextTest, ReadsThatCutAPatchSeeTheOriginal) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  for (uint64_t from = kFirstSite - 3; from < kFirstSite + 8; ++from) {
    for (uint64_t size = 1; size < 12; ++size) {
      uint8_t got[12], want[12];
      ASSERT_EQ(size, mm_->ReadSome(text + from, got, size).value_or(0));
      ASSERT_EQ(static_cast<ssize_t>(size), pread(image_, want, size, static_cast<off_t>(kPage + from)));
      EXPECT_EQ(0, std::memcmp(got, want, size)) << from << ' ' << size;
    }
  }
}

TEST_F(TextTest, OtherProcessesMapTheCopyAtOnce) {
  MakeHot(MapImage());
  mm_ = MakeMm();  // the old mappings are simply covered
  thread_.history.clear();
  const GuestAddr text = MapImage();
  EXPECT_TRUE(IsPatched(text));
  EXPECT_TRUE(ReadsOriginal(text));
  EXPECT_EQ(1, rewriter_.jobs);
  // The image, the zone, the text; no mapping of the file's text in between.
  ASSERT_EQ(3u, thread_.history.size());
  EXPECT_EQ(ZoneOf(text), thread_.history[1].range.start);
}

TEST_F(TextTest, AnotherVersionOfTheFileIsAnotherText) {
  const int fd = MakeImage();
  while (!FileVersion::Of(BorrowedFd(fd))->Settled()) poll(nullptr, 0, 50);
  MakeHot(MapImage(fd));
  EXPECT_EQ(1, rewriter_.jobs);
  ASSERT_EQ(1, pwrite(fd, "x", 1, kPage + 5));
  mm_ = MakeMm();
  const GuestAddr text = MapImage(fd);
  EXPECT_TRUE(IsOriginal(text));
  EXPECT_EQ('x', *Bytes(text + 5));
  // And while it is fresh it is left alone: a change in the same tick of the clock could not be told.
  Call(text, 1000);
  EXPECT_TRUE(IsOriginal(text));
  close(fd);
}

TEST_F(TextTest, FilesWithoutVersionsStay) {
  file_ = MakeRef<TextFile>(image_);
  file_->versioned = false;
  const MapRequest request{.length = kImagePages * kPage, .prot = kText, .flags = MAP_PRIVATE, .mappable = file_};
  const auto text = mm_->Map(context_, thread_, request);
  ASSERT_TRUE(text.ok());
  Execute();
  Call(*text + kPage, 1000);
  EXPECT_TRUE(IsOriginal(*text + kPage));
}

TEST_F(TextTest, WritableTextIsTheOriginal) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  ASSERT_TRUE(mm_->Protect(context_, thread_, text + kPage, kPage, PROT_READ | PROT_WRITE).ok());
  Execute();
  EXPECT_TRUE(IsOriginal(text));
  EXPECT_EQ(0x5a, *Bytes(ZoneOf(text))) << "somebody may be inside";
  EXPECT_FALSE(space_->active.at(ZoneOf(text)));
  // What the guest writes is its own, even if it looks like a patch.
  ASSERT_TRUE(mm_->WriteSome(text + kPage, "abc", 3).ok());
  char back[4] = {};
  ASSERT_TRUE(mm_->ReadSome(text + kPage, back, 3).ok());
  EXPECT_STREQ("abc", back);
  Call(text, 1000);
  EXPECT_TRUE(IsOriginal(text));
}

TEST_F(TextTest, LesserProtectionsLeaveTheCopy) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  for (const int prot : {PROT_READ, PROT_NONE, kText}) {
    ASSERT_TRUE(mm_->Protect(context_, thread_, text, kPage, prot).ok());
    Execute();
  }
  EXPECT_TRUE(IsPatched(text));
}

TEST_F(TextTest, TextWithoutExecutePermissionIsNotReplaced) {
  const GuestAddr text = MapImage();
  ASSERT_TRUE(mm_->Protect(context_, thread_, text + 2 * kPage, kPage, PROT_READ).ok());
  Execute();
  MakeHot(text);
  EXPECT_TRUE(IsOriginal(text));
}

TEST_F(TextTest, UnmappingTheImageDropsTheZone) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  ASSERT_TRUE(mm_->Unmap(context_, thread_, text - kPage, kImagePages * kPage).ok());
  Execute();
  EXPECT_EQ(MemoryOp::Kind::kUnmap, thread_.history.back().kind);
  EXPECT_EQ(ZoneOf(text), thread_.history.back().range.start);
  EXPECT_TRUE(space_->active.empty());
  EXPECT_EQ(text, MapImage()) << "the room is free again";
  EXPECT_TRUE(IsPatched(text));
}

TEST_F(TextTest, PartsOfTheTextMayGo) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  ASSERT_TRUE(mm_->Unmap(context_, thread_, text + kPage, kPage).ok());
  Execute();
  EXPECT_TRUE(IsOriginal(text));
  EXPECT_FALSE(space_->active.at(ZoneOf(text)));
}

TEST_F(TextTest, OtherMappingsOverTheTextOrTheZoneRestore) {
  for (const bool over_zone : {false, true}) {
    const GuestAddr text = MapImage();
    MakeHot(text);
    ASSERT_TRUE(IsPatched(text));
    MapRequest over{.hint = over_zone ? ZoneOf(text) : text + kPage, .length = kPage, .prot = PROT_READ};
    over.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    ASSERT_TRUE(mm_->Map(context_, thread_, over).ok());
    Execute();
    EXPECT_TRUE(IsOriginal(text));
    EXPECT_EQ(0, *Bytes(over.hint));
    EXPECT_EQ(over_zone ? 0u : 1u, space_->active.count(ZoneOf(text)));
  }
}

TEST_F(TextTest, MovedTextIsTheOriginal) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  const GuestAddr target = text - (16 << 20);
  ASSERT_TRUE(
      mm_->Remap(context_, thread_, text, kTextPages * kPage, kTextPages * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target)
          .ok());
  Execute();
  EXPECT_TRUE(IsOriginal(target));
}

TEST_F(TextTest, LosingTheStartOfTheImageRestores) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  ASSERT_TRUE(mm_->Unmap(context_, thread_, text - kPage, kPage).ok());
  Execute();
  EXPECT_TRUE(IsOriginal(text));
}

TEST_F(TextTest, SomebodyFromOutsideGetsTheOriginal) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  mm_->RestoreTexts(thread_);
  Execute();
  EXPECT_TRUE(IsOriginal(text));
  MakeHot(text);
  EXPECT_TRUE(IsOriginal(text));
}

TEST_F(TextTest, ChildrenInherit) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  const auto space = MakeRef<TextSpace>();
  const auto child = mm_->Fork(space);
  EXPECT_TRUE(space->active.at(ZoneOf(text)));
  // The child's restoring is its own (here both share the memory).
  FakeThread thread(space, /*execute=*/false);
  ASSERT_TRUE(child->Protect(context_, thread, text, kPage, PROT_READ | PROT_WRITE).ok());
  EXPECT_FALSE(space->active.at(ZoneOf(text)));
  EXPECT_TRUE(space_->active.at(ZoneOf(text)));
}

TEST_F(TextTest, ARefusedZoneLeavesTheOriginal) {
  const GuestAddr text = MapImage();
  // The host's refusal: the range is not the test's any more, and MAP_FIXED of it fails as ENOMEM.
  FakeThread refused(space_, /*execute=*/true);
  struct Limit {
    Limit() {
      getrlimit(RLIMIT_AS, &old);
      rlimit none{0, old.rlim_max};
      setrlimit(RLIMIT_AS, &none);
    }
    ~Limit() { setrlimit(RLIMIT_AS, &old); }
    rlimit old;
  };
  Call(text, TextCache::WorthAfter(kTextPages * kPage) - 1);
  munmap(reinterpret_cast<void*>(ZoneOf(text).value()), 64 << 10);
  {
    const Limit limit;
    mm_->NoteSlowCall(refused, text + kFirstSite + sizeof(kSite));
  }
  EXPECT_TRUE(IsOriginal(text));
  EXPECT_TRUE(space_->active.empty());
}

TEST_F(TextTest, AFailedRestoreKeepsTheCopy) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  ASSERT_TRUE(mm_->Protect(context_, thread_, text, kPage, PROT_READ | PROT_WRITE).ok());
  ASSERT_EQ(2u, thread_.queued.size());
  const MemoryOp failed = thread_.queued[0];
  thread_.queued.clear();
  EXPECT_EQ(-ENOMEM, mm_->OpFailed(thread_, failed, ENOMEM));
  EXPECT_TRUE(space_->active.at(ZoneOf(text)));
  EXPECT_EQ(kText, mm_->Find(text)->prot);
  EXPECT_TRUE(ReadsOriginal(text));
}

TEST_F(TextTest, AFailedZoneUnmapIsNotTheCallsFailure) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  ASSERT_TRUE(mm_->Unmap(context_, thread_, text - kPage, kImagePages * kPage).ok());
  ASSERT_EQ(2u, thread_.queued.size());
  const MemoryOp failed = thread_.queued[1];
  thread_.queued.clear();
  EXPECT_EQ(std::nullopt, mm_->OpFailed(thread_, failed, ENOMEM));
  EXPECT_FALSE(mm_->Find(text));
}

TEST_F(TextTest, CopiesAreSealed) {
  const GuestAddr text = MapImage();
  MakeHot(text);
  const auto op = thread_.history.back();
  EXPECT_EQ(-1, pwrite(op.fd.get(), "x", 1, 0));
  EXPECT_EQ(EPERM, errno);
  EXPECT_EQ(MAP_FAILED, mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, op.fd.get(), 0));
}

TEST(TextCacheTest, LongTextsAreCopiedInRuns) {
  const int fd = memfd_create("long", 0);
  const uint64_t length = uint64_t{8} << 20;
  ASSERT_EQ(0, ftruncate(fd, static_cast<off_t>(length)));
  const uint64_t sites[] = {100, 5000, (3 << 20) - 20, (3 << 20) + 100, (7 << 20) + 9};
  for (const uint64_t at : sites) ASSERT_EQ(7, pwrite(fd, kSite, sizeof(kSite), static_cast<off_t>(at)));
  TextKey key{.length = length, .zone_delta = -(64 << 10), .zone_size = 64 << 10};
  key.file = *FileVersion::Of(BorrowedFd(fd));
  const MarkingRewriter rewriter;
  const auto copy = TextCopy::Make(rewriter, key, BorrowedFd(fd));
  ASSERT_TRUE(copy.ok());
  EXPECT_LE((*copy)->bytes(), 64 * kPage);
  for (const uint64_t at : sites) {
    bool found = false;
    for (const auto& run : (*copy)->runs()) {
      if (at < run.start || at >= run.start + run.length) continue;
      uint8_t bytes[5];
      ASSERT_EQ(5, pread((*copy)->fd().get(), bytes, 5, static_cast<off_t>(run.offset + at - run.start)));
      EXPECT_EQ(0, std::memcmp(bytes, kPatched, 5));
      found = true;
    }
    EXPECT_TRUE(found) << at;
  }
  close(fd);
}

TEST(TextCacheTest, TextsBehindTheEndOfTheFileStay) {
  const MarkingRewriter rewriter;
  TextCache cache(rewriter);
  TextKey key{.file = {.size = 2 * kPage + 1}, .length = 3 * kPage, .zone_delta = -65536, .zone_size = 65536};
  EXPECT_NE(nullptr, cache.Enter(key));
  key.length = 4 * kPage;
  EXPECT_EQ(nullptr, cache.Enter(key));
  key.offset = 3 * kPage;
  EXPECT_EQ(nullptr, cache.Enter(key));
  key.length = TextCache::kMaxTextLength + kPage;
  key.offset = 0;
  key.file.size = key.length;
  EXPECT_EQ(nullptr, cache.Enter(key));
}

}  // namespace
}  // namespace sandbox
