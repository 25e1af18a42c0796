// madvise(2), mincore(2), msync(2).
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

namespace guest {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

class MadviseTest : public testing::Test {
 protected:
  MadviseTest() {
    WriteFileText(dir_ / "f", std::string(2 * kPage, 'f'));
    fd_.reset(open((dir_ / "f").c_str(), O_RDWR));
  }
  TempDir dir_;
  ScopedFd fd_{-1};
};

TEST_F(MadviseTest, DontneedForgetsPrivateChangesOnly) {
  Mapping anonymous(1), shared(1, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  Mapping copy(1, kReadWrite, MAP_PRIVATE, fd_.get()), file(1, kReadWrite, MAP_SHARED, fd_.get());
  for (Mapping* each : {&anonymous, &shared, &copy, &file}) {
    each->page()[1] = 'x';
    EXPECT_OK(madvise(each->page(), 1, MADV_DONTNEED)) << "a length is rounded up";
  }
  EXPECT_EQ(anonymous.page()[1], 0);
  EXPECT_EQ(shared.page()[1], 'x');
  EXPECT_EQ(copy.page()[1], 'x') << "the file's, which the shared mapping wrote";
  EXPECT_EQ(copy.page()[2], 'f');
  EXPECT_EQ(file.page()[1], 'x');
}

TEST_F(MadviseTest, AHoleIsReportedAtTheEnd) {
  Mapping memory(3);
  memory.page(0)[0] = memory.page(2)[0] = 'x';
  ASSERT_OK(munmap(memory.page(1), kPage));
  EXPECT_ERRNO(ENOMEM, madvise(memory.page(), 3 * kPage, MADV_DONTNEED));
  EXPECT_EQ(memory.page(0)[0], 0);
  EXPECT_EQ(memory.page(2)[0], 0) << "what is behind the hole is done as well";
}

TEST_F(MadviseTest, ForkAdvice) {
  Mapping memory(3);
  memory.page(0)[0] = memory.page(1)[0] = memory.page(2)[0] = 'x';
  EXPECT_OK(madvise(memory.page(0), kPage, MADV_WIPEONFORK));
  EXPECT_OK(madvise(memory.page(1), kPage, MADV_DONTFORK));
  EXPECT_OK(madvise(memory.page(2), kPage, MADV_WIPEONFORK));
  EXPECT_OK(madvise(memory.page(2), kPage, MADV_KEEPONFORK));
  EXPECT_EQ(RunInChild([&] {
              EXPECT_EQ(memory.page(0)[0], 0);
              EXPECT_EQ(SignalOfRead(memory.page(1)), SIGSEGV);
              EXPECT_EQ(memory.page(2)[0], 'x');
              return 0;
            }),
            0);
  EXPECT_EQ(memory.page(0)[0], 'x');
}

TEST_F(MadviseTest, WhatAKindOfMappingRefuses) {
  Mapping anonymous(1), locked(1), none(1, PROT_NONE), shared(1, kReadWrite, MAP_SHARED | MAP_ANONYMOUS);
  ScopedFd reader(open((dir_ / "f").c_str(), O_RDONLY));
  Mapping copy(1, kReadWrite, MAP_PRIVATE, fd_.get()), read_only(1, PROT_READ, MAP_SHARED, reader.get());
  ASSERT_OK(mlock(locked.page(), kPage));
  const struct {
    const Mapping& mapping;
    int advice;
    int error;
  } cases[] = {
      {anonymous, MADV_FREE, 0},
      {copy, MADV_FREE, EINVAL},
      {shared, MADV_FREE, EINVAL},
      {locked, MADV_DONTNEED, EINVAL},
      {locked, MADV_DONTNEED_LOCKED, 0},
      {locked, MADV_COLD, EINVAL},
      {locked, MADV_PAGEOUT, EINVAL},
      {anonymous, MADV_REMOVE, EINVAL},
      {copy, MADV_REMOVE, EACCES},
      {read_only, MADV_REMOVE, EACCES},
      {shared, MADV_REMOVE, 0},
      {shared, MADV_WIPEONFORK, EINVAL},
      {copy, MADV_WIPEONFORK, EINVAL},
      {read_only, MADV_POPULATE_WRITE, EINVAL},
      {none, MADV_POPULATE_READ, EINVAL},
      {none, MADV_POPULATE_WRITE, EINVAL},
      {anonymous, MADV_POPULATE_WRITE, 0},
      {read_only, MADV_POPULATE_READ, 0},
      {copy, MADV_WILLNEED, 0},
      {anonymous, MADV_SEQUENTIAL, 0},
      {anonymous, MADV_DONTDUMP, 0},
      {anonymous, MADV_DODUMP, 0},
  };
  for (const auto& c : cases) {
    const int result = madvise(c.mapping.page(), kPage, c.advice);
    EXPECT_EQ(result == 0 ? 0 : errno, c.error) << "case " << (&c - cases);
  }
}

TEST_F(MadviseTest, RemovePunchesAHole) {
  Mapping file(2, kReadWrite, MAP_SHARED, fd_.get());
  ASSERT_OK(madvise(file.page(1), kPage, MADV_REMOVE));
  EXPECT_EQ(ReadFileText(dir_ / "f"), std::string(kPage, 'f') + std::string(kPage, '\0'));
}

TEST_F(MadviseTest, PopulatingPastTheEndOfAFileFails) {
  Mapping file(3, kReadWrite, MAP_SHARED, fd_.get());
  EXPECT_ERRNO(EFAULT, madvise(file.page(), 3 * kPage, MADV_POPULATE_READ));
}

TEST_F(MadviseTest, ArgumentErrors) {
  Mapping memory(1);
  EXPECT_ERRNO(EINVAL, madvise(memory.page(), kPage, 9999));
  EXPECT_ERRNO(EINVAL, madvise(memory.page(), kPage, -1));
  EXPECT_ERRNO(EINVAL, madvise(memory.page() + 1, kPage, MADV_NORMAL));
  EXPECT_ERRNO(EINVAL, madvise(memory.page(), ~size_t{0}, MADV_NORMAL));
  EXPECT_ERRNO(EINVAL, madvise(memory.page(), 0, 9999));
  EXPECT_OK(madvise(memory.page(), 0, MADV_DONTNEED));
  EXPECT_OK(madvise(reinterpret_cast<void*>(kPage), 0, MADV_DONTNEED));
  EXPECT_ERRNO(ENOMEM, madvise(reinterpret_cast<void*>(kPage), kPage, MADV_NORMAL));
}

TEST(MincoreTest, TellsOnePagePerByte) {
  Mapping memory(3);
  memory.page(0)[0] = memory.page(1)[0] = 1;
  unsigned char resident[3] = {0, 0, 0xee};
  EXPECT_OK(mincore(memory.page(), kPage + 1, resident));
  EXPECT_EQ(resident[0] & resident[1] & 1, 1);
  EXPECT_EQ(resident[2], 0xee);
  EXPECT_OK(mincore(memory.page(), 0, resident));
}

TEST(MincoreTest, Errors) {
  Mapping memory(2);
  unsigned char resident[2] = {};
  EXPECT_ERRNO(EINVAL, mincore(memory.page() + 1, kPage, resident));
  EXPECT_ERRNO(EFAULT, mincore(memory.page(), kPage, static_cast<unsigned char*>(BadPointer())));
  EXPECT_ERRNO(ENOMEM, mincore(memory.page(), ~size_t{0}, resident));
  ASSERT_OK(munmap(memory.page(1), kPage));
  EXPECT_ERRNO(ENOMEM, mincore(memory.page(), 2 * kPage, resident));
}

TEST(MsyncTest, Flags) {
  TempDir dir;
  WriteFileText(dir / "f", std::string(kPage, 'f'));
  ScopedFd fd(open((dir / "f").c_str(), O_RDWR));
  Mapping file(1, kReadWrite, MAP_SHARED, fd.get()), memory(2);
  file.page()[0] = 'x';
  for (const int flags : {MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE, MS_INVALIDATE, 0}) {
    EXPECT_OK(msync(file.page(), kPage, flags)) << flags;
    EXPECT_OK(msync(memory.page(), kPage, flags)) << flags;
  }
  EXPECT_EQ(ReadFileText(dir / "f").front(), 'x');
  EXPECT_ERRNO(EINVAL, msync(file.page(), kPage, MS_SYNC | MS_ASYNC));
  EXPECT_ERRNO(EINVAL, msync(file.page(), kPage, 0x100));
  EXPECT_ERRNO(EINVAL, msync(file.page() + 1, kPage, MS_SYNC));
  EXPECT_OK(msync(file.page(), 0, MS_SYNC));
  EXPECT_OK(msync(file.page(), ~size_t{0}, MS_SYNC)) << "rounded up to nothing";
  EXPECT_ERRNO(ENOMEM, msync(file.page(), ~size_t{0} - 2 * kPage, MS_SYNC));
  ASSERT_OK(munmap(memory.page(1), kPage));
  EXPECT_ERRNO(ENOMEM, msync(memory.page(), 2 * kPage, MS_ASYNC));
  ASSERT_OK(mlock(file.page(), kPage));
  EXPECT_ERRNO(EBUSY, msync(file.page(), kPage, MS_INVALIDATE));
}

}  // namespace
}  // namespace guest
