// The stub's filter, evaluated call by call. What stub code may do directly is what a guest may do: so for every call
// number and many arguments, nothing may come out as allowed that is not on the list below.
#include "platform/systrap/filter.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstring>
#include <random>

#include "platform/stub/layout.h"

namespace sandbox::platform::systrap {
namespace {

constexpr uint64_t kGuestIp = 0x401000, kStubIp = stub::kTextStart + 0x123;

// The subset of classic BPF that seccomp accepts and BuildStubFilter emits.
uint32_t Evaluate(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t a = 0;
  for (size_t pc = 0; pc < program.size(); ++pc) {
    const sock_filter& i = program[pc];
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        EXPECT_LE(i.k + 4, sizeof(data));
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, 4);
        break;
      case BPF_JMP | BPF_JA:
        pc += i.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        pc += a == i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        pc += a >= i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        pc += (a & i.k) != 0 ? i.jt : i.jf;
        break;
      case BPF_RET | BPF_K:
        return i.k;
      default:
        ADD_FAILURE() << "unknown instruction " << i.code;
        return 0;
    }
  }
  ADD_FAILURE() << "fell off the end";
  return 0;
}

LaneTable Lanes() {
  LaneTable lanes;
  for (size_t nr = 0; nr < lanes.size(); ++nr) lanes[nr] = static_cast<Lane>(nr * 7 % 3);
  return lanes;
}

seccomp_data Call(int nr, uint64_t ip, std::initializer_list<uint64_t> args = {}) {
  seccomp_data data = {};
  data.nr = nr;
  data.arch = AUDIT_ARCH_X86_64;
  data.instruction_pointer = ip;
  std::copy(args.begin(), args.end(), data.args);
  return data;
}

class Filter : public testing::Test {
 protected:
  const LaneTable lanes_ = Lanes();
  const std::vector<sock_filter> program_ = BuildStubFilter(lanes_);
  uint32_t Run(const seccomp_data& data) { return Evaluate(program_, data); }
};

TEST_F(Filter, GuestCallsFollowTheLanes) {
  for (int nr = 0; nr < 1024; ++nr) {
    const bool trap = nr == SYS_clone || (nr < static_cast<int>(lanes_.size()) && lanes_[nr] == Lane::kFull);
    EXPECT_EQ(Run(Call(nr, kGuestIp)), trap ? SECCOMP_RET_TRAP : SECCOMP_RET_USER_NOTIF) << nr;
  }
}

TEST_F(Filter, EveryInstructionOutsideTheTextIsGuestCode) {
  for (uint64_t ip : std::initializer_list<uint64_t>{stub::kTextStart - 1, stub::kTextStart + stub::kTextMax,
                                                     stub::kTextStart + (1ull << 32), stub::kTextStart - (1ull << 32),
                                                     stub::kTextStart & 0xffffffff}) {
    EXPECT_NE(Run(Call(SYS_munmap, ip)), SECCOMP_RET_ALLOW) << std::hex << ip;
  }
  EXPECT_EQ(Run(Call(SYS_munmap, stub::kTextStart)), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Run(Call(SYS_munmap, stub::kTextStart + stub::kTextMax - 1)), SECCOMP_RET_ALLOW);
}

TEST_F(Filter, OtherConventionsAreRefused) {
  for (uint64_t ip : {kGuestIp, kStubIp}) {
    for (uint32_t nr : {0x40000000u, 0x40000001u, 0x80000000u, 0xffffffffu}) {
      EXPECT_EQ(Run(Call(static_cast<int>(nr), ip)), SECCOMP_RET_ERRNO | ENOSYS);
    }
    seccomp_data old = Call(SYS_munmap, ip);
    old.arch = AUDIT_ARCH_I386;
    EXPECT_EQ(Run(old), SECCOMP_RET_TRAP);
  }
}

bool Harmless(const seccomp_data& d) {
  const auto low = [&](int i) { return static_cast<uint32_t>(d.args[i]); };
  switch (d.nr) {
    case SYS_rt_sigreturn:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_close:
    case SYS_exit:
    case SYS_sched_yield:
    case SYS_exit_group:
    case SYS_rseq:
    case SYS_rt_sigprocmask:
    case SYS_sigaltstack:
    case SYS_pread64:
    case SYS_mincore:
    case 449 /* futex_waitv */:
    case 454 /* futex_wake */:
    case 455 /* futex_wait */:
    case 456 /* futex_requeue */:
      return true;
    case SYS_sendmsg:
    case SYS_recvmsg:
      return low(0) == 3;
    case SYS_getrusage:
      return low(0) == 0;
    case SYS_mmap:
      return (d.args[3] & ~uint64_t{0x3 | 0x10 | 0x20 | 0x4000 | 0x100 | 0x20000 | 0x100000 | 0x800 | 0x1000}) == 0;
    case SYS_madvise:
      return (low(2) < 24 && low(2) != 11 && low(2) != 12 && low(2) != 13) || low(2) == 102 || low(2) == 103;
    case SYS_futex: {
      const uint32_t op = low(1) & ~128u;
      return op == 0 || op == 1 || op == 3 || op == 4 || op == 5 || op == 9 || op == 10 || op == (9 | 256);
    }
    case SYS_membarrier: {
      const uint32_t command = low(0);
      return command >= 8 && command <= 256 && (command & (command - 1)) == 0 && low(1) == 0;
    }
    case SYS_arch_prctl:
      return low(0) >= 0x1001 && low(0) <= 0x1004;
    case SYS_prctl:
      return low(0) == 1 && low(1) == 9;
    default:
      return false;
  }
}

TEST_F(Filter, StubCodeIsAllowedNothingElse) {
  std::mt19937_64 random(4711);
  const uint64_t interesting[] = {0,   1,      2,      3,      9,      10,          11,     12,   13,  100,
                                  128, 129,    130,    131,    132,    133,         134,    136,  137, 138,
                                  139, 265,    393,    16,     22,     24,          32,     34,   50,  256,
                                  512, 0x1001, 0x1002, 0x1005, 0x2022, 0x100000022, 0x8022, ~0ull};
  for (int nr = 0; nr < 1024; ++nr) {
    for (int round = 0; round < 400; ++round) {
      seccomp_data data = Call(nr, kStubIp);
      for (auto& arg : data.args) arg = random() % 4 == 0 ? random() : interesting[random() % std::size(interesting)];
      const uint32_t result = Run(data);
      EXPECT_EQ(result == SECCOMP_RET_ALLOW, Harmless(data)) << nr;
      // A direct call that fails its check must not trap: signals are masked there, and the process would die.
      if (Harmless(Call(nr, kStubIp)) && !Harmless(data)) {
        EXPECT_EQ(result, SECCOMP_RET_ERRNO | EINVAL);
      }
    }
  }
}

TEST_F(Filter, ClonesAreAlwaysSeen) {
  EXPECT_EQ(Run(Call(SYS_clone, kStubIp, {0x8011})), SECCOMP_RET_USER_NOTIF);
  EXPECT_EQ(Run(Call(SYS_clone, kGuestIp, {0x8011})), SECCOMP_RET_TRAP);
  EXPECT_EQ(Run(Call(stub::kDoorbell, kStubIp)), SECCOMP_RET_USER_NOTIF);
}

}  // namespace
}  // namespace sandbox::platform::systrap
