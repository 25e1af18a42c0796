// Extended processor state: kept across calls, interrupts and forks; readable and writable in signal frame layout.
#include <signal.h>

#include <cstring>

#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

class ExtendedState : public PlatformTest {};

constexpr size_t kXmm0Offset = 160;  // in the FXSAVE area

// Loads ymm0..ymm15 (or xmm without AVX) from 0x600000 + 32 i, calls, stores them at 0x601000.
GUEST_CODE(keep_vectors, R"(
  mov $0x600000, %rbx
.irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
  vmovdqu \i*32(%rbx), %ymm\i
.endr
  mov %r13d, %eax
  syscall
.irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
  vmovdqu %ymm\i, 0x1000+\i*32(%rbx)
.endr
)" CALL_HOOK CALL_EXIT);

std::vector<uint8_t> Pattern() {
  std::vector<uint8_t> pattern(16 * 32);
  for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<uint8_t>(i * 7 + 1);
  return pattern;
}

TEST_P(ExtendedState, SurvivesCallsInEveryLane) {
  if (!__builtin_cpu_supports("avx")) GTEST_SKIP() << "the machine has no AVX";
  for (const uint64_t nr : {kCallHook, kCallShort, kCallBlock}) {
    Task task;
    std::vector<uint8_t> after(16 * 32);
    task.hook = [&](Task&, Thread& thread, const Trap&) {
      (void)thread.address_space()->Read(GuestAddr(kDataAddr + kPageSize), after.data(), after.size());
    };
    auto thread = NewProcess(task, keep_vectors);
    ASSERT_NE(thread, nullptr);
    const auto pattern = Pattern();
    ASSERT_TRUE(thread->address_space()->Write(GuestAddr(kDataAddr), pattern.data(), pattern.size()).ok());
    thread->regs().r13 = nr;
    task.Run(std::move(thread));
    ASSERT_TRUE(task.WaitExit());
    EXPECT_EQ(after, pattern) << "call " << nr;
  }
}

TEST_P(ExtendedState, RoundTripInFrameLayout) {
  if (!__builtin_cpu_supports("avx")) GTEST_SKIP() << "the machine has no AVX";
  Task task;
  int calls = 0;
  std::vector<uint8_t> saved, after(16 * 32);
  task.hook = [&](Task&, Thread& thread, const Trap&) {
    if (++calls == 1) {
      auto state = thread.GetFpState();
      ASSERT_TRUE(state.ok());
      saved = *state;
      // As a signal handler would: it starts with the initial state, and its end restores the saved one.
      ASSERT_TRUE(thread.SetFpState({}).ok());
      auto initial = thread.GetFpState();
      ASSERT_TRUE(initial.ok());
      uint32_t mxcsr;
      std::memcpy(&mxcsr, initial->data() + 24, sizeof(mxcsr));
      EXPECT_EQ(mxcsr, 0x1f80u);
      for (size_t i = 0; i < 256; ++i) EXPECT_EQ((*initial)[kXmm0Offset + i], 0);
      ASSERT_TRUE(thread.SetFpState(saved).ok());
      return;
    }
    (void)thread.address_space()->Read(GuestAddr(kDataAddr + kPageSize), after.data(), after.size());
  };
  auto thread = NewProcess(task, keep_vectors);
  ASSERT_NE(thread, nullptr);
  const auto pattern = Pattern();
  ASSERT_TRUE(thread->address_space()->Write(GuestAddr(kDataAddr), pattern.data(), pattern.size()).ok());
  thread->regs().r13 = kCallHook;
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(after, pattern);

  // The layout: magics around it, and the low halves of the vectors in the legacy area.
  ASSERT_GE(saved.size(), 576u);
  _fpx_sw_bytes software;
  std::memcpy(&software, saved.data() + 464, sizeof(software));
  EXPECT_EQ(software.magic1, FP_XSTATE_MAGIC1);
  EXPECT_EQ(software.extended_size, saved.size());
  EXPECT_EQ(software.xstate_size + FP_XSTATE_MAGIC2_SIZE, software.extended_size);
  EXPECT_EQ(software.xstate_bv & 7, 7u);
  uint32_t magic2;
  std::memcpy(&magic2, saved.data() + software.xstate_size, sizeof(magic2));
  EXPECT_EQ(magic2, FP_XSTATE_MAGIC2);
  EXPECT_EQ(std::memcmp(saved.data() + kXmm0Offset, pattern.data(), 16), 0);
}

TEST_P(ExtendedState, MalformedAreasAreRefused) {
  Task task;
  int calls = 0;
  task.hook = [&](Task&, Thread& thread, const Trap&) {
    if (++calls > 1) return;
    auto state = thread.GetFpState();
    ASSERT_TRUE(state.ok());
    EXPECT_TRUE(thread.SetFpState(std::span(*state).first(100)).Is(EINVAL));
    auto bad = *state;
    std::memset(bad.data() + 24, 0xff, 4);  // reserved bits of MXCSR
    EXPECT_TRUE(thread.SetFpState(bad).Is(EINVAL));
    EXPECT_TRUE(thread.SetFpState(std::span(*state).first(512)).ok()) << "a bare FXSAVE area";
    EXPECT_TRUE(thread.SetFpState(*state).ok());
  };
  auto thread = NewProcess(task, keep_vectors);
  ASSERT_NE(thread, nullptr);
  thread->regs().r13 = kCallHook;
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
}

GUEST_CODE(report_vectors, R"(
  mov $0x600000, %rbx
  vmovdqu (%rbx), %ymm3
)" CALL_HOOK R"(
  vextracti128 $1, %ymm3, %xmm4
  vmovq %xmm4, %rdi
)" CALL_REPORT CALL_EXIT);

TEST_P(ExtendedState, IsInheritedByClones) {
  if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "the machine has no AVX2";
  for (const CloneOptions options :
       {CloneOptions{}, CloneOptions{.share_memory = true}, CloneOptions{.share_memory = true, .thread = true}}) {
    Task parent, child;
    parent.hook = [&](Task&, Thread& self, const Trap&) {
      auto made = self.Clone(options, child);
      ASSERT_TRUE(made.ok());
      child.Run(std::move(*made));
    };
    auto thread = NewProcess(parent, report_vectors);
    ASSERT_NE(thread, nullptr);
    WriteWord(*thread, kDataAddr + 16, 987654321);
    parent.Run(std::move(thread));
    ASSERT_TRUE(parent.WaitExit());
    ASSERT_TRUE(child.WaitExit());
    EXPECT_EQ(child.reports(), std::vector<uint64_t>{987654321});
    EXPECT_EQ(parent.reports(), std::vector<uint64_t>{987654321});
  }
}

// A fresh process knows nothing of whoever was there before.
GUEST_CODE(report_initial, R"(
  vmovq %xmm0, %rdi
  vmovq %xmm15, %rax
  or %rax, %rdi
)" CALL_REPORT CALL_EXIT);

TEST_P(ExtendedState, IsInitialInAFreshProcess) {
  Task task;
  auto thread = NewProcess(task, report_initial);
  ASSERT_NE(thread, nullptr);
  auto state = thread->GetFpState();
  ASSERT_TRUE(state.ok());
  uint16_t control;
  std::memcpy(&control, state->data(), sizeof(control));
  EXPECT_EQ(control, 0x37f);
  task.Run(std::move(thread));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), std::vector<uint64_t>{0});
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, ExtendedState, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
