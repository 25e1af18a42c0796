// What is resident: /proc/self/{statm,status,smaps}, getrusage(2), mincore(2).
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

namespace guest {
namespace {

constexpr size_t kMany = 4096;  // pages: 16 MiB

void TouchAll(const Mapping& memory) {
  for (size_t at = 0; at < memory.size(); at += kPage) memory.page()[at] = 1;
}

long ResidentPages() {
  long size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident;
}

// A figure of the mapping that starts at `start`, in kB; -1 when there is none.
long SmapsKilobytes(const void* start, const char* name) {
  char head[20];
  std::snprintf(head, sizeof(head), "%08lx-", reinterpret_cast<unsigned long>(start));
  std::istringstream smaps(ReadFileText("/proc/self/smaps"));
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.find('-') < 20 && line[0] >= '0' && line[0] <= 'f' && line.find(':') > 20) inside = line.starts_with(head);
    if (inside && line.starts_with(std::string(name) + ":")) return std::atol(line.c_str() + line.find(':') + 1);
  }
  return -1;
}

TEST(ResidentTest, GrowsAndShrinks) {
  const long before = ResidentPages(), before_kb = StatusKilobytes("VmRSS");
  EXPECT_GT(before, 100);
  Mapping memory(kMany);
  EXPECT_LT(ResidentPages(), before + static_cast<long>(kMany) / 2) << "a mapping alone is not resident";
  TouchAll(memory);
  EXPECT_GE(ResidentPages(), before + static_cast<long>(kMany) * 9 / 10);
  EXPECT_GE(StatusKilobytes("VmRSS"), before_kb + static_cast<long>(kMany) * 4 * 9 / 10);
  EXPECT_GE(StatusKilobytes("RssAnon"), static_cast<long>(kMany) * 4 * 9 / 10);
  EXPECT_OK(madvise(memory.page(), memory.size(), MADV_DONTNEED));
  EXPECT_LT(ResidentPages(), before + static_cast<long>(kMany) / 2);
  EXPECT_GE(StatusKilobytes("VmHWM"), before_kb + static_cast<long>(kMany) * 4 * 9 / 10) << "the peak stays";
}

TEST(ResidentTest, OfOneMapping) {
  Mapping memory(64);
  Mapping apart(1, PROT_NONE);
  ASSERT_OK(mprotect(memory.page(63), kPage, PROT_NONE));
  for (size_t page : {0, 1, 2, 9, 17}) memory.page(page)[0] = 'x';
  EXPECT_EQ(SmapsKilobytes(memory.page(), "Size"), 63 * 4);
  EXPECT_EQ(SmapsKilobytes(memory.page(), "Rss"), 5 * 4);
  EXPECT_EQ(SmapsKilobytes(memory.page(), "Private_Dirty"), 5 * 4);
  EXPECT_EQ(SmapsKilobytes(memory.page(), "Anonymous"), 5 * 4);
  EXPECT_OK(madvise(memory.page(), 2 * kPage, MADV_DONTNEED));
  EXPECT_EQ(SmapsKilobytes(memory.page(), "Rss"), 3 * 4);
}

TEST(ResidentTest, LockedMemoryIsBroughtIn) {
  Mapping memory(16);
  ASSERT_OK(mlock(memory.page(), 8 * kPage));
  unsigned char resident[16];
  ASSERT_OK(mincore(memory.page(), memory.size(), resident));
  for (int page = 0; page < 16; ++page) EXPECT_EQ(resident[page] & 1, page < 8) << page;
  EXPECT_EQ(SmapsKilobytes(memory.page(), "Rss"), 8 * 4);
  EXPECT_EQ(SmapsKilobytes(memory.page(), "Locked"), 8 * 4);
}

TEST(ResidentTest, MincoreTellsTouchedPages) {
  Mapping memory(2000);
  std::vector<size_t> touched = {0, 3, 4, 1023, 1024, 1999};
  for (size_t page : touched) memory.page(page)[5] = 'x';
  std::vector<unsigned char> resident(2000, 0xee);
  ASSERT_OK(mincore(memory.page(), memory.size(), resident.data()));
  std::vector<size_t> found;
  for (size_t page = 0; page < resident.size(); ++page) {
    if (resident[page] & 1) found.push_back(page);
  }
  EXPECT_EQ(found, touched);
  EXPECT_OK(madvise(memory.page(), 4 * kPage, MADV_DONTNEED));
  ASSERT_OK(mincore(memory.page(), 5 * kPage, resident.data()));
  EXPECT_EQ(resident[0] & 1, 0);
  EXPECT_EQ(resident[4] & 1, 1);
}

TEST(ResidentTest, MincoreErrors) {
  Mapping memory(2);
  EXPECT_ERRNO(EFAULT, mincore(memory.page(), kPage, static_cast<unsigned char*>(BadPointer())));
  EXPECT_ERRNO(EFAULT, mincore(memory.page(), kPage, reinterpret_cast<unsigned char*>(~0ul - 100)));
}

TEST(ResidentTest, UsageOfSelf) {
  rusage before, after;
  ASSERT_OK(getrusage(RUSAGE_SELF, &before));
  EXPECT_GT(before.ru_maxrss, 400);
  Mapping memory(kMany);
  madvise(memory.page(), memory.size(), MADV_NOHUGEPAGE);
  TouchAll(memory);
  ASSERT_OK(getrusage(RUSAGE_SELF, &after));
  EXPECT_GE(after.ru_maxrss, static_cast<long>(kMany) * 4);
  EXPECT_GE(after.ru_minflt - before.ru_minflt, static_cast<long>(kMany) / 16);
  EXPECT_LE(after.ru_minflt - before.ru_minflt, static_cast<long>(kMany) * 2);
}

TEST(ResidentTest, UsageOfChildren) {
  const pid_t pid = fork();
  if (pid == 0) {
    Mapping memory(2 * kMany);
    TouchAll(memory);
    _exit(3);
  }
  int status;
  rusage usage = {};
  ASSERT_EQ(wait4(pid, &status, 0, &usage), pid);
  EXPECT_GE(usage.ru_maxrss, static_cast<long>(2 * kMany) * 4);
  EXPECT_GT(usage.ru_minflt, 10);
  rusage children;
  ASSERT_OK(getrusage(RUSAGE_CHILDREN, &children));
  EXPECT_GE(children.ru_maxrss, usage.ru_maxrss);
}

TEST(ResidentTest, UsageOfAKilledChild) {
  int fds[2];
  ASSERT_OK(pipe(fds));
  const pid_t pid = fork();
  if (pid == 0) {
    Mapping memory(2 * kMany);
    TouchAll(memory);
    (void)!write(fds[1], "x", 1);
    for (;;) pause();
  }
  char byte;
  ASSERT_EQ(read(fds[0], &byte, 1), 1);
  kill(pid, SIGKILL);
  int status;
  rusage usage = {};
  ASSERT_EQ(wait4(pid, &status, 0, &usage), pid);
  EXPECT_GE(usage.ru_maxrss, static_cast<long>(2 * kMany) * 4);
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
}  // namespace guest
