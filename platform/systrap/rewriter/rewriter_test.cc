// The rewriter's output, looked at and executed. The "stub" here is an entry that makes the real call.
#include "platform/systrap/rewriter/rewriter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "base/guest_addr.h"
#include "platform/systrap/rewriter/boundary.h"

// Serves a call as the stub's entry must: nothing but %rax, %rcx and %r11 changes, flags included, no stack.
asm(R"(
  .text
  .global TestEntry
TestEntry:
  mov %r11, TestEntryContinue(%rip)
  syscall
  mov TestEntryCalls(%rip), %rcx
  lea 1(%rcx), %rcx
  mov %rcx, TestEntryCalls(%rip)
  mov TestEntryContinue(%rip), %rcx
  mov %rcx, %r11
  jmp *%rcx
  .bss
  .balign 8
TestEntryContinue: .quad 0
  .global TestEntryCalls
TestEntryCalls: .quad 0
  .text
)");
extern "C" void TestEntry();
extern "C" uint64_t TestEntryCalls;

namespace sandbox::platform::systrap {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kZoneSize = 64 << 10;

uint64_t EntryAddress() { return reinterpret_cast<uint64_t>(&TestEntry); }

Bytes Concat(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

const Bytes kSyscall = {0x0f, 0x05};
const Bytes kCmp = {0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff};  // cmp $-4096,%rax
const Bytes kRet = {0xc3};
const Bytes kNr = {0x89, 0xf8};  // mov %edi,%eax: the call's number is the function's first argument

Bytes Load(uint32_t nr) {
  return {0xb8, static_cast<uint8_t>(nr), static_cast<uint8_t>(nr >> 8), static_cast<uint8_t>(nr >> 16),
          static_cast<uint8_t>(nr >> 24)};
}

RewrittenText Rewrite(const Bytes& text, int64_t delta = -int64_t{kZoneSize}) {
  static const auto rewriter = MakeTextRewriter(EntryAddress());
  const auto job = rewriter->Begin(delta, kZoneSize);
  job->Scan(text, 0, 0);
  return job->Finish();
}

// Text with code at `at` after harmless instructions, as a compiler would have put there.
Bytes Padded(size_t at, const Bytes& code, size_t size = 2 * kPageSize) {
  Bytes text(size, 0x90);
  std::copy(code.begin(), code.end(), text.begin() + static_cast<ptrdiff_t>(at));
  return text;
}

// Zone and text as a process would map them.
class Mapped {
 public:
  Mapped(Bytes text, const RewrittenText& rewritten) {
    for (const TextPatch& patch : rewritten.patches) {
      EXPECT_EQ(0, std::memcmp(&text[patch.offset], patch.original.data(), TextPatch::kSize));
      std::copy(patch.patched.begin(), patch.patched.end(), text.begin() + static_cast<ptrdiff_t>(patch.offset));
    }
    size_ = kZoneSize + text.size();
    base_ = static_cast<uint8_t*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(MAP_FAILED, base_);
    std::copy(rewritten.zone.begin(), rewritten.zone.end(), base_);
    std::copy(text.begin(), text.end(), base_ + kZoneSize);
    EXPECT_EQ(0, mprotect(base_, size_, PROT_READ | PROT_EXEC));
  }
  ~Mapped() { munmap(base_, size_); }
  uint8_t* zone() const { return base_; }
  uint8_t* text() const { return base_ + kZoneSize; }
  long Call(size_t at, long nr = 0) const { return reinterpret_cast<long (*)(long)>(text() + at)(nr); }

 private:
  uint8_t* base_;
  size_t size_;
};

// --- What is recognised. ---------------------------------------------------------------------------------------------

TEST(RewriterTest, LoadBeforeSyscallCallsTheEntry) {
  const Bytes text = Padded(512, Concat({Load(SYS_getpid), kSyscall, kRet}));
  const RewrittenText rewritten = Rewrite(text);
  ASSERT_EQ(1u, rewritten.patches.size());
  EXPECT_EQ(512u, rewritten.patches[0].offset);
  EXPECT_TRUE(rewritten.map->interiors().empty());
  const Mapped mapped(text, rewritten);
  const uint64_t before = TestEntryCalls;
  EXPECT_EQ(getpid(), mapped.Call(512));
  EXPECT_EQ(before + 1, TestEntryCalls);
  // The syscall itself stays, for those who jump to it.
  EXPECT_EQ(0, std::memcmp(mapped.text() + 517, kSyscall.data(), 2));
}

// What stands between the number and the call moves along, and means the same there.
TEST(RewriterTest, InstructionBetweenLoadAndSyscallMoves) {
  const Bytes relative = {0x48, 0x8d, 0x35, 0x10, 0x00, 0x00, 0x00};  // lea 16(%rip),%rsi
  const Bytes based = {0x48, 0x8d, 0xb7, 0x00, 0x01, 0x00, 0x00};     // lea 256(%rdi),%rsi
  const Bytes plain = {0x48, 0x89, 0xfe};                             // mov %rdi,%rsi
  const Bytes result = {0x48, 0x89, 0xf0};                            // mov %rsi,%rax
  for (const Bytes& between : {relative, based, plain}) {
    const Bytes text = Padded(512, Concat({Load(SYS_getpid), between, kSyscall, result, kRet}));
    const RewrittenText rewritten = Rewrite(text);
    ASSERT_EQ(1u, rewritten.patches.size());
    EXPECT_EQ(512u, rewritten.patches[0].offset);
    EXPECT_TRUE(rewritten.map->interiors().empty());
    const Mapped mapped(text, rewritten);
    const uint64_t before = TestEntryCalls;
    const long got = mapped.Call(512, 77);
    EXPECT_EQ(before + 1, TestEntryCalls);
    const long here = reinterpret_cast<long>(mapped.text()) + 512 + 5 + 7 + 16;
    EXPECT_EQ(got, between == relative ? here : between == based ? 77 + 256 : 77);
    // Those who come to it, or to the call, from elsewhere find the original.
    EXPECT_EQ(mapped.Call(512 + 5, 77), got);
    EXPECT_EQ(before + 1, TestEntryCalls);
  }
}

TEST(RewriterTest, WhatMayNotMoveBetweenLoadAndSyscallStays) {
  const Bytes call = {0xe8, 0, 0, 0, 0}, jump = {0xeb, 0x00}, push = {0x56}, two = {0x31, 0xff, 0x31, 0xf6};
  for (const Bytes& between : {call, jump, push, two}) {
    EXPECT_TRUE(Rewrite(Padded(512, Concat({Load(SYS_getpid), between, kSyscall, kNr, kRet}))).patches.empty());
  }
}

TEST(RewriterTest, ErrorCheckAfterSyscallMoves) {
  // Returns 1 for an error: cmp; setae %al; movzbl %al,%eax; ret.
  const Bytes result = {0x0f, 0x93, 0xc0, 0x0f, 0xb6, 0xc0, 0xc3};
  for (const Bytes& check : {kCmp, Bytes{0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff}, Bytes{0x3d, 0x01, 0xf0, 0xff, 0xff}}) {
    const Bytes text = Padded(512, Concat({kNr, kSyscall, check, result}));
    const RewrittenText rewritten = Rewrite(text);
    ASSERT_EQ(1u, rewritten.patches.size());
    EXPECT_EQ(514u, rewritten.patches[0].offset);
    const Mapped mapped(text, rewritten);
    const uint64_t before = TestEntryCalls;
    EXPECT_EQ(0, mapped.Call(512, SYS_getpid));
    EXPECT_EQ(1, mapped.Call(512, SYS_setns));  // of descriptor SYS_setns: EBADF
    EXPECT_EQ(before + 2, TestEntryCalls);
  }
}

TEST(RewriterTest, SyscallBeforeRetMovesTheRet) {
  const Bytes code = Concat({kNr, kSyscall, kRet});
  const Bytes text = Padded(512 + 3, code);  // nops follow up to the alignment
  const RewrittenText rewritten = Rewrite(text);
  ASSERT_EQ(1u, rewritten.patches.size());
  const Mapped mapped(text, rewritten);
  const uint64_t before = TestEntryCalls;
  EXPECT_EQ(getpid(), mapped.Call(515, SYS_getpid));
  EXPECT_EQ(before + 1, TestEntryCalls);
}

TEST(RewriterTest, SyscallBeforeRetNeedsRealPadding) {
  // One byte of padding only; and code behind the ret.
  EXPECT_TRUE(Rewrite(Padded(512 + 10, Concat({kNr, kSyscall, kRet}))).patches.empty());
  EXPECT_TRUE(Rewrite(Padded(512, Concat({kNr, kSyscall, kRet, {0x31, 0xc0, 0xc3}}))).patches.empty());
  // The long nops of assemblers count.
  const Bytes nopw = {0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, 0x90};
  EXPECT_EQ(1u, Rewrite(Padded(512, Concat({kNr, kSyscall, kRet, nopw}))).patches.size());
}

TEST(RewriterTest, PrefixedLookAlikesAreNotLoads) {
  // mov $39,%r8d; the b8 belongs to a longer instruction.
  const Bytes r8 = Concat({{0x41, 0xb8, 0x27, 0x00, 0x00, 0x00}, kSyscall, {0x31, 0xd2, 0xc3}});
  EXPECT_TRUE(Rewrite(Padded(512, r8)).patches.empty());
  // Followed by an error check it is a tail, and the mov stays.
  const RewrittenText tail = Rewrite(Padded(512, Concat({{0x41, 0xb8, 0x27, 0x00, 0x00, 0x00}, kSyscall, kCmp, kRet})));
  ASSERT_EQ(1u, tail.patches.size());
  EXPECT_EQ(518u, tail.patches[0].offset);
  // rex.W syscall starts a byte earlier.
  EXPECT_TRUE(Rewrite(Padded(512, Concat({{0x48}, kSyscall, kCmp, kRet}))).patches.empty());
}

TEST(RewriterTest, BytesInsideInstructionsStay) {
  // movabs $imm64,%rax whose immediate looks like a site; lea with such a displacement.
  const Bytes movabs = {0x48, 0xba, 0xb8, 0x27, 0x00, 0x00, 0x00, 0x0f, 0x05, 0x90, 0xc3};
  EXPECT_TRUE(Rewrite(Padded(512, movabs)).patches.empty());

  EXPECT_TRUE(Rewrite(Padded(512, Concat({{0xb9}, {0x00, 0xb8, 0x27, 0x00}, {0x00, 0x00}, kSyscall}))).patches.empty());
  const Bytes displacement = {0x48, 0x8d, 0x05, 0x00, 0x00, 0x0f, 0x05, 0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0xc3};
  EXPECT_TRUE(Rewrite(Padded(512, displacement)).patches.empty());
}

TEST(RewriterTest, SitesAcrossPagesStay) {
  for (size_t at = kPageSize - 6; at < kPageSize; ++at) {
    EXPECT_TRUE(Rewrite(Padded(at, Concat({Load(SYS_getpid), kSyscall, {0x31, 0xd2}, kRet}))).patches.empty()) << at;
  }
  for (size_t at = kPageSize - 7; at < kPageSize; ++at) {
    EXPECT_TRUE(Rewrite(Padded(at, Concat({kSyscall, kCmp, kRet}))).patches.empty()) << at;
  }
  EXPECT_EQ(1u, Rewrite(Padded(kPageSize, Concat({kSyscall, kCmp, kRet}))).patches.size());
  EXPECT_EQ(1u, Rewrite(Padded(kPageSize - 8, Concat({kSyscall, kCmp, kRet}))).patches.size());
}

TEST(RewriterTest, SitesWithoutContextStay) {
  EXPECT_TRUE(Rewrite(Padded(8, Concat({Load(SYS_getpid), kSyscall, kRet}))).patches.empty());
  EXPECT_TRUE(Rewrite({}).patches.empty());
  EXPECT_TRUE(Rewrite({0x0f}).patches.empty());
  EXPECT_TRUE(Rewrite({0x0f, 0x05}).patches.empty());
}

TEST(RewriterTest, PiecesGiveWhatTheWholeGives) {
  Bytes text(8 * kPageSize, 0x90);
  std::mt19937 random(7);
  for (size_t at = 300; at + 64 < text.size(); at += 40 + random() % 200) {
    const Bytes code = random() % 2 ? Concat({Load(SYS_getppid), kSyscall, kRet}) : Concat({kSyscall, kCmp, kRet});
    std::copy(code.begin(), code.end(), text.begin() + static_cast<ptrdiff_t>(at));
  }
  const RewrittenText whole = Rewrite(text);
  ASSERT_GT(whole.patches.size(), 100u);
  const auto job = MakeTextRewriter(EntryAddress())->Begin(-int64_t{kZoneSize}, kZoneSize);
  for (uint64_t page = 0; page < 8; ++page) {
    const uint64_t first = page == 0 ? 0 : page - 1;
    job->Scan(std::span(text).subspan(first * kPageSize, (page - first + 1) * kPageSize), first * kPageSize,
              page * kPageSize);
  }
  const RewrittenText pieces = job->Finish();
  ASSERT_EQ(whole.patches.size(), pieces.patches.size());
  for (size_t i = 0; i < whole.patches.size(); ++i) EXPECT_EQ(whole.patches[i].patched, pieces.patches[i].patched);
  EXPECT_EQ(whole.zone, pieces.zone);
}

TEST(RewriterTest, FullZoneLeavesSites) {
  const auto job = MakeTextRewriter(EntryAddress())->Begin(-int64_t{kPageSize}, kPageSize);
  Bytes text(64 * kPageSize, 0x90);
  for (size_t at = 512; at + 64 < text.size(); at += 32) {
    const Bytes code = Concat({Load(SYS_getppid), kSyscall, kRet});
    if (at / kPageSize == (at + 8) / kPageSize)
      std::copy(code.begin(), code.end(), text.begin() + static_cast<ptrdiff_t>(at));
  }
  job->Scan(text, 0, 0);
  const RewrittenText rewritten = job->Finish();
  EXPECT_LE(rewritten.zone.size(), kPageSize);
  EXPECT_GT(rewritten.patches.size(), 150u);
  EXPECT_LT(rewritten.patches.size(), 200u);
}

// --- Translation of addresses. ---------------------------------------------------------------------------------------

TEST(RewriterTest, EveryTrampolineInstructionHasAnOriginal) {
  const Bytes text = Padded(512, Concat({Load(SYS_getpid), kSyscall, {0x90}, kNr, kSyscall, kCmp, kRet}));
  const RewrittenText rewritten = Rewrite(text);
  ASSERT_EQ(2u, rewritten.patches.size());
  const TrampolineMap& map = *rewritten.map;
  // load: mov, lea, jmp. tail: lea, jmp, syscall, cmp, jmp back.
  ASSERT_EQ(8u, map.points().size());
  for (const auto& point : map.points()) EXPECT_EQ(point.text, map.ToText(point.zone));
  EXPECT_EQ(std::nullopt, map.ToText(0));  // the entry's address
  const uint64_t tail = rewritten.patches[1].offset;
  ASSERT_TRUE(map.ToZone(tail + 2));
  EXPECT_EQ(std::nullopt, map.ToZone(tail));
  EXPECT_EQ(std::nullopt, map.ToZone(tail + 3));
  EXPECT_EQ(tail + 2, map.ToText(*map.ToZone(tail + 2)));
  EXPECT_EQ(tail, map.ToText(*map.ToZone(tail + 2) - 2));      // the syscall of the trampoline
  EXPECT_EQ(tail + 8, map.ToText(*map.ToZone(tail + 2) + 6));  // the jump back
}

const Mapped* running;
const TrampolineMap* running_map;
int illegal;

// What the platform does for a thread that arrives inside a patched jump.
void ContinueInZone(int, siginfo_t*, void* context) {
  auto& rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
  const auto zone = running_map->ToZone(static_cast<uint64_t>(rip) - reinterpret_cast<uint64_t>(running->text()));
  if (!zone) _exit(3);
  ++illegal;
  rip = static_cast<greg_t>(reinterpret_cast<uint64_t>(running->zone()) + *zone);
}

TEST(RewriterTest, JumpsIntoAPatchedJumpFaultAndGoOnInTheZone) {
  struct sigaction action = {}, old;
  action.sa_sigaction = ContinueInZone;
  action.sa_flags = SA_SIGINFO;
  ASSERT_EQ(0, sigaction(SIGILL, &action, &old));
  // Every position of the site relative to the zone, so every opcode is met.
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    const size_t at = 512 + random() % 3000;
    // mov %rdi,%rax; jmp over the syscall; syscall; cmp $-4096,%rax; setae %al; movzbl; ret
    const Bytes code =
        Concat({{0x48, 0x89, 0xf8, 0xeb, 0x02}, kSyscall, kCmp, {0x0f, 0x93, 0xc0, 0x0f, 0xb6, 0xc0, 0xc3}});
    const Bytes text = Padded(at, code);
    const RewrittenText rewritten = Rewrite(text);
    if (rewritten.patches.empty()) continue;  // crosses a page
    const Mapped mapped(text, rewritten);
    running = &mapped;
    running_map = rewritten.map.get();
    illegal = 0;
    EXPECT_EQ(1, mapped.Call(at, -5));
    EXPECT_EQ(0, mapped.Call(at, 5));
    EXPECT_EQ(2, illegal);
  }
  ASSERT_EQ(0, sigaction(SIGILL, &old, nullptr));
}

TEST(RewriterTest, FaultingOpcodesFaultOnThisCpu) {
  for (const uint8_t opcode : kFaultingOpcodes) {
    for (const uint8_t next : {0x00, 0x05, 0x90, 0xc0, 0xff}) {
      const Bytes code = {opcode, next, 0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0xc3};
      const pid_t child = fork();
      if (child == 0) {
        signal(SIGILL, SIG_DFL);
        const Mapped mapped(Padded(512, code), RewrittenText{});
        mapped.Call(512);
        _exit(0);
      }
      int status = 0;
      ASSERT_EQ(child, waitpid(child, &status, 0));
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGILL) << std::hex << int{opcode} << ' ' << int{next};
    }
  }
}

// --- Against real code. ----------------------------------------------------------------------------------------------

struct Segment {
  uint8_t* start = nullptr;
  size_t size = 0;
};

Segment OwnText() {
  FILE* const maps = fopen("/proc/self/maps", "r");
  char line[512];
  Segment found;
  while (maps != nullptr && fgets(line, sizeof(line), maps) != nullptr) {
    unsigned long from, to;
    char prot[5];
    if (sscanf(line, "%lx-%lx %4s", &from, &to, prot) != 3 || std::strcmp(prot, "r-xp") != 0) continue;
    if (EntryAddress() >= from && EntryAddress() < to) found = {reinterpret_cast<uint8_t*>(from), to - from};
  }
  if (maps != nullptr) fclose(maps);
  return found;
}

// Replaces the running program's own text, C library included, as a guest's is replaced: one mapping over the other.
bool ReplaceOwnText(const Segment& own, uint8_t* zone, const RewrittenText& rewritten) {
  Bytes text(own.start, own.start + own.size);
  for (const TextPatch& patch : rewritten.patches) {
    std::copy(patch.patched.begin(), patch.patched.end(), text.begin() + static_cast<ptrdiff_t>(patch.offset));
  }
  const int fd = memfd_create("text", 0);
  if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return false;
  if (pwrite(fd, rewritten.zone.data(), rewritten.zone.size(), static_cast<off_t>(own.size)) < 0) return false;
  if (ftruncate(fd, static_cast<off_t>(own.size + kZoneSize)) != 0) return false;
  const int prot = PROT_READ | PROT_EXEC, flags = MAP_PRIVATE | MAP_FIXED;
  return mmap(zone, kZoneSize, prot, flags, fd, static_cast<off_t>(own.size)) != MAP_FAILED &&
         mmap(own.start, own.size, prot, flags, fd, 0) != MAP_FAILED;
}

// 0 when everything works on rewritten text; runs in a child of its own.
int UseTheCLibrary() {
  const uint64_t before = TestEntryCalls;
  int ends[2];
  char buffer[8] = {};
  if (pipe(ends) != 0) return 10;
  if (write(ends[1], "hello", 5) != 5 || read(ends[0], buffer, 8) != 5 || std::strcmp(buffer, "hello") != 0) return 11;
  if (read(-1, buffer, 1) != -1 || errno != EBADF) return 12;
  if (getpid() != static_cast<pid_t>(syscall(SYS_getpid))) return 13;
  if (lseek(ends[0], 0, SEEK_SET) != -1 || errno != ESPIPE) return 14;
  FILE* const file = fopen("/proc/self/stat", "r");
  if (file == nullptr || fscanf(file, "%7s", buffer) != 1 || atoi(buffer) != getpid()) return 15;
  fclose(file);
  const pid_t child = fork();
  if (child == 0) _exit(7);
  int status;
  if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) return 16;
  sigset_t set;
  if (sigprocmask(SIG_BLOCK, nullptr, &set) != 0 || usleep(1) != 0) return 17;
  close(ends[0]);
  return TestEntryCalls - before >= 12 ? 0 : 18;
}

TEST(RewriterTest, TheCLibraryRunsRewritten) {
  const Segment own = OwnText();
  ASSERT_NE(nullptr, own.start);
  // The zone goes right below the program, in whose first mapping nothing lies.
  void* const zone =
      mmap(own.start - (64 << 20), kZoneSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_NE(MAP_FAILED, zone);
  const auto job = MakeTextRewriter(EntryAddress())->Begin(static_cast<uint8_t*>(zone) - own.start, kZoneSize);
  timespec from, to;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
  job->Scan({own.start, own.size}, 0, 0);
  const RewrittenText rewritten = job->Finish();
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
  printf("%zu sites in %zu KiB, %.2f ms\n", rewritten.patches.size(), own.size >> 10,
         (to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6);
  EXPECT_GT(rewritten.patches.size(), 50u);
  const pid_t child = fork();
  if (child == 0) _exit(ReplaceOwnText(own, static_cast<uint8_t*>(zone), rewritten) ? UseTheCLibrary() : 1);
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(0, WEXITSTATUS(status));
  munmap(zone, kZoneSize);
}

// --- Random code with known boundaries. ------------------------------------------------------------------------------

class RandomCode {
 public:
  explicit RandomCode(uint32_t seed) : random_(seed) {
    EXPECT_EQ(CS_ERR_OK, cs_open(CS_ARCH_X86, CS_MODE_64, &handle_));
    instruction_ = cs_malloc(handle_);
  }
  ~RandomCode() {
    cs_free(instruction_, 1);
    cs_close(&handle_);
  }
  // One instruction of random bytes.
  Bytes Instruction() {
    for (;;) {
      Bytes bytes(15);
      for (auto& byte : bytes) byte = static_cast<uint8_t>(random_());
      const uint8_t* code = bytes.data();
      size_t size = bytes.size();
      uint64_t address = 0;
      if (!cs_disasm_iter(handle_, &code, &size, &address, instruction_)) continue;
      bytes.resize(instruction_->size);
      return bytes;
    }
  }
  void Fill(Bytes& text, size_t until) {
    while (text.size() < until) {
      const Bytes next = Instruction();
      text.insert(text.end(), next.begin(), next.end());
    }
  }
  std::mt19937& random() { return random_; }

 private:
  std::mt19937 random_;
  csh handle_ = 0;
  cs_insn* instruction_ = nullptr;
};

TEST(RewriterFuzz, OnlyRealInstructionsArePatched) {
  RandomCode code(20261125);
  int real_sites = 0, real_patched = 0;
  for (int round = 0; round < 300; ++round) {
    Bytes text;
    code.Fill(text, 300 + code.random()() % 64);
    const size_t planted = text.size();
    const bool load = code.random()() % 2 == 0;
    const Bytes site = load ? Concat({Load(SYS_getpid), kSyscall}) : Concat({kSyscall, kCmp});
    const bool real = code.random()() % 2 == 0;
    if (!real) {
      // Inside the immediate of a longer instruction: movabs $imm64,%rdx, or the displacement and immediate of movl.
      const Bytes head = code.random()() % 2 == 0 ? Bytes{0x48, 0xba} : Bytes{0xc7, 0x05};
      text.insert(text.end(), head.begin(), head.end());
    }
    text.insert(text.end(), site.begin(), site.end());
    if (!real && load) text.push_back(0x11);
    code.Fill(text, 1024);
    const RewrittenText rewritten = Rewrite(text);
    for (const TextPatch& patch : rewritten.patches) {
      EXPECT_TRUE(real && patch.offset == planted) << "round " << round << " at " << patch.offset;
    }
    real_sites += real;
    real_patched += real && !rewritten.patches.empty();
  }
  // Random instructions synchronise worse than compiled code, but most sites must be found.
  EXPECT_GT(real_patched * 10, real_sites * 7) << real_patched << " of " << real_sites;
}

TEST(RewriterFuzz, RandomBytesDoNoHarm) {
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    Bytes text(random() % 6000);
    for (auto& byte : text) byte = static_cast<uint8_t>(random());
    for (int i = 0; i < 40 && text.size() > 20; ++i) {
      const size_t at = random() % (text.size() - 12);
      const Bytes piece = random() % 2 ? Concat({kSyscall, kCmp}) : Concat({Load(random() % 2000), kSyscall, kRet});
      std::copy_n(piece.begin(), 8, text.begin() + static_cast<ptrdiff_t>(at));
    }
    const RewrittenText rewritten = Rewrite(text);
    uint64_t end = 0;
    for (const TextPatch& patch : rewritten.patches) {
      EXPECT_GE(patch.offset, end);
      end = patch.offset + TextPatch::kSize;
      ASSERT_LE(end, text.size());
      EXPECT_EQ(patch.offset / kPageSize, (end - 1) / kPageSize);
    }
    EXPECT_LE(rewritten.zone.size(), kZoneSize);
  }
}

}  // namespace
}  // namespace sandbox::platform::systrap
