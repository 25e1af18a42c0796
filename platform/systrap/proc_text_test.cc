#include "platform/systrap/proc_text.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/io/whole_file.h"

namespace sandbox::platform::systrap {
namespace {

std::string Read(const char* path) { return ReadAllOf(path, size_t{64} << 20).value_or(""); }

TEST(ProcTextTest, StatusOfThisProcess) {
  const auto usage = UsageFromStatus(Read("/proc/self/status"));
  EXPECT_GT(usage.resident, uint64_t{100'000});
  EXPECT_GE(usage.peak_resident, usage.resident);
  EXPECT_EQ(usage.anonymous + usage.file + usage.shared, usage.resident);
}

TEST(ProcTextTest, FaultsOfThisProcess) {
  rusage before, after;
  ASSERT_EQ(getrusage(RUSAGE_SELF, &before), 0);
  AddressSpace::Usage usage;
  AddFaultsFromStat(Read("/proc/self/stat"), usage);
  ASSERT_EQ(getrusage(RUSAGE_SELF, &after), 0);
  EXPECT_GE(usage.minor_faults, static_cast<uint64_t>(before.ru_minflt));
  EXPECT_LE(usage.minor_faults, static_cast<uint64_t>(after.ru_minflt));
}

TEST(ProcTextTest, NameWithBrackets) {
  AddressSpace::Usage usage;
  AddFaultsFromStat("7 (a ) 1 2) S 1 2 3 4 5 6 70 80 90 100\n", usage);
  EXPECT_EQ(usage.minor_faults, 70u);
  EXPECT_EQ(usage.major_faults, 90u);
}

TEST(ProcTextTest, SmapsOfOneMapping) {
  constexpr size_t kSize = 64 * 4096, kTouched = 5 * 4096;
  void* const memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  for (size_t at = 0; at < kTouched; at += 4096) static_cast<char*>(memory)[at] = 1;
  const auto all = ResidencyFromSmaps(Read("/proc/self/smaps"));
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) {
    return one.range.start.value() == reinterpret_cast<uint64_t>(memory);
  });
  ASSERT_NE(found, all.end());
  EXPECT_EQ(found->range.length(), kSize);
  EXPECT_EQ(found->rss, kTouched);
  EXPECT_EQ(found->shared_dirty + found->private_dirty, kTouched);
  munmap(memory, kSize);
}

TEST(ProcTextTest, Nonsense) {
  EXPECT_TRUE(ResidencyFromSmaps("").empty());
  EXPECT_TRUE(ResidencyFromSmaps("Rss: 4 kB\n9-3 rw\nzzz").empty());
  EXPECT_EQ(UsageFromStatus("VmRSS: x\nVmRSS").resident, 0u);
  AddressSpace::Usage usage;
  AddFaultsFromStat("1 (x)", usage);
  EXPECT_EQ(usage.minor_faults, 0u);
}

}  // namespace
}  // namespace sandbox::platform::systrap
