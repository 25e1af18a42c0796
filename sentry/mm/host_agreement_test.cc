// Random calls, made twice: through MemoryManager on one range of this process, whose ops are executed here, and with
// the real system calls on a second range. Afterwards errnos and both layouts must agree with each other, and the
// manager's list with /proc/self/maps.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>
#include <string>

#include "sentry/mm/memory_manager.h"
#include "sentry/mm/testing.h"

namespace sandbox {
namespace {

constexpr uint64_t kPages = 48;
constexpr uint64_t kBytes = kPages * kPageSize;

// One character a page: what may be done with it.
std::string HostLayout(GuestAddr base) {
  std::string layout(kPages, '.');
  FILE* maps = std::fopen("/proc/self/maps", "re");
  unsigned long start, end;
  char prot[8];
  while (maps != nullptr && std::fscanf(maps, "%lx-%lx %4s %*[^\n]\n", &start, &end, prot) == 3) {
    for (uint64_t page = 0; page < kPages; ++page) {
      const uint64_t at = base.value() + page * kPageSize;
      if (at < start || at >= end) continue;
      const int bits = (prot[0] == 'r' ? 1 : 0) | (prot[1] == 'w' ? 2 : 0);
      layout[page] = static_cast<char>((prot[3] == 's' ? 'A' : 'a') + bits);
    }
  }
  if (maps != nullptr) std::fclose(maps);
  return layout;
}

std::string ListLayout(const MemoryManager& mm, GuestAddr base) {
  std::string layout(kPages, '.');
  for (const Vma& vma : mm.List()) {
    for (GuestAddr at = vma.range.start; at < vma.range.end; at = at + kPageSize) {
      layout[(at - base) / kPageSize] = static_cast<char>((vma.shared ? 'A' : 'a') + (vma.prot & 3));
    }
  }
  return layout;
}

// Far from where this process maps anything by itself.
GuestAddr Place(uint64_t index) { return GuestAddr(0x100000000000 + (index << 32)); }

struct Call {
  int what;
  uint64_t page, count, to, new_count;
  int prot, flags, advice;
};

int OnHost(const Call& call, GuestAddr base) {
  const auto at = [&](uint64_t page) { return reinterpret_cast<void*>(base.value() + page * kPageSize); };
  long result = 0;
  void* mapped = nullptr;
  switch (call.what) {
    case 0:
      mapped = ::mmap(at(call.page), call.count * kPageSize, call.prot, call.flags, -1, 0);
      break;
    case 1:
      result = ::munmap(at(call.page), call.count * kPageSize);
      break;
    case 2:
      result = ::mprotect(at(call.page), call.count * kPageSize, call.prot);
      break;
    case 3:
      result = ::madvise(at(call.page), call.count * kPageSize, call.advice);
      break;
    default:
      mapped = ::mremap(at(call.page), call.count * kPageSize, call.new_count * kPageSize, call.flags, at(call.to));
      break;
  }
  return mapped == MAP_FAILED || result != 0 ? errno : 0;
}

int InManager(const Call& call, GuestAddr base, MemoryManager& mm, Context& context, platform::Thread& thread) {
  const auto at = [&](uint64_t page) { return base + page * kPageSize; };
  const uint64_t bytes = call.count * kPageSize;
  const auto error = [](auto result) { return result.ok() ? 0 : result.error().value(); };
  switch (call.what) {
    case 0:
      return error(
          mm.Map(context, thread, {.hint = at(call.page), .length = bytes, .prot = call.prot, .flags = call.flags}));
    case 1:
      return error(mm.Unmap(context, thread, at(call.page), bytes));
    case 2:
      return error(mm.Protect(context, thread, at(call.page), bytes, call.prot));
    case 3:
      return error(mm.Advise(context, thread, at(call.page), bytes, call.advice));
    default:
      return error(
          mm.Remap(context, thread, at(call.page), bytes, call.new_count * kPageSize, call.flags, at(call.to)));
  }
}

Call RandomCall(std::mt19937& random) {
  const auto below = [&](uint64_t n) { return std::uniform_int_distribution<uint64_t>(0, n - 1)(random); };
  static constexpr int kProts[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
  static constexpr int kAdvice[] = {MADV_DONTNEED,   MADV_NORMAL,   MADV_WIPEONFORK,
                                    MADV_KEEPONFORK, MADV_DONTFORK, MADV_DOFORK};
  Call call = {};
  call.what = static_cast<int>(below(5));
  call.page = below(kPages - 1);
  call.count = 1 + below(std::min<uint64_t>(kPages - call.page, 12));
  call.prot = kProts[below(3)];
  call.advice = kAdvice[below(6)];
  call.flags = MAP_PRIVATE | MAP_ANONYMOUS | (below(3) == 0 ? MAP_FIXED_NOREPLACE : MAP_FIXED);
  if (call.what != 4) return call;
  call.new_count = 1 + below(8);
  call.to = below(kPages - call.new_count);
  call.flags = below(2) == 0 ? 0 : MREMAP_MAYMOVE | MREMAP_FIXED;
  if (call.flags == 0) call.new_count = std::min(call.new_count, kPages - call.page);
  return call;
}

TEST(HostAgreementTest, RandomCalls) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    std::mt19937 random(seed);
    const GuestAddr ours = Place(0), hosts = Place(1);
    auto space = MakeRef<testing_mm::SelfSpace>();
    testing_mm::FakeThread thread(space);
    testing_mm::TestContext context;
    MemoryManager mm(space, {ours, ours + kBytes});
    for (int step = 0; step < 150; ++step) {
      const Call call = RandomCall(random);
      const int wanted = OnHost(call, hosts);
      int got = InManager(call, ours, mm, context, thread);
      if (auto done = thread.FlushMemoryOps(); !done.ok()) {
        mm.OpFailed(thread, thread.failed, done.error().value());
        got = done.error().value();
      }
      mm.OpsExecuted(thread);
      SCOPED_TRACE("seed " + std::to_string(seed) + " step " + std::to_string(step) + " call " +
                   std::to_string(call.what) + " page " + std::to_string(call.page) + " count " +
                   std::to_string(call.count) + " to " + std::to_string(call.to) + " new " +
                   std::to_string(call.new_count) + " flags " + std::to_string(call.flags));
      ASSERT_EQ(got, wanted);
      const std::string layout = HostLayout(ours);
      ASSERT_EQ(layout, HostLayout(hosts));
      ASSERT_EQ(layout, ListLayout(mm, ours));
    }
    ::munmap(reinterpret_cast<void*>(ours.value()), kBytes);
    ::munmap(reinterpret_cast<void*>(hosts.value()), kBytes);
  }
}

}  // namespace
}  // namespace sandbox
