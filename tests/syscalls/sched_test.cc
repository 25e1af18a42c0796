// sched_setscheduler(2), sched_setattr(2), sched_setaffinity(2) and their relatives.
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

constexpr pid_t kNobodyHere = 0x3fffffff;

// struct sched_attr, first version (sched_setattr(2)).
struct Attr {
  uint32_t size = sizeof(Attr);
  uint32_t policy = SCHED_OTHER;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;
};
static_assert(sizeof(Attr) == 48);

long SetAttr(pid_t pid, const void* attr, unsigned flags = 0) { return syscall(SYS_sched_setattr, pid, attr, flags); }
long GetAttr(pid_t pid, void* attr, unsigned size = sizeof(Attr), unsigned flags = 0) {
  return syscall(SYS_sched_getattr, pid, attr, size, flags);
}
long SetPolicy(pid_t pid, int policy, int priority) {
  const sched_param param = {priority};
  return syscall(SYS_sched_setscheduler, pid, policy, &param);
}
int Priority() {
  sched_param param = {-1};
  EXPECT_OK(syscall(SYS_sched_getparam, 0, &param));
  return param.sched_priority;
}
// In a child, because nothing shall stay.
void InChild(const std::function<void()>& body) {
  EXPECT_EQ(RunInChild([&] {
              body();
              return 0;
            }),
            0);
}

TEST(PolicyTest, PrioritiesThatGoWithPolicies) {
  const struct {
    int policy, priority, error;
  } cases[] = {{SCHED_OTHER, 0, 0}, {SCHED_OTHER, 1, EINVAL}, {SCHED_BATCH, 0, 0},       {SCHED_BATCH, 1, EINVAL},
               {SCHED_IDLE, 0, 0},  {SCHED_FIFO, 0, EINVAL},  {SCHED_FIFO, 100, EINVAL}, {SCHED_RR, -1, EINVAL},
               {4, 0, EINVAL},      {99, 0, EINVAL},          {-1, 0, EINVAL},           {SCHED_OTHER, -1, EINVAL}};
  for (const auto& c : cases) {
    InChild([&] {
      const long result = SetPolicy(0, c.policy, c.priority);
      EXPECT_EQ(result == 0 ? 0 : errno, c.error) << c.policy << " " << c.priority;
      EXPECT_EQ(syscall(SYS_sched_getscheduler, 0), c.error == 0 ? c.policy : SCHED_OTHER);
    });
  }
}

TEST(PolicyTest, RealTimeIsKeptAndInherited) {
  InChild([] {
    if (SetPolicy(0, SCHED_FIFO, 7) != 0) return;  // a control group without real-time share
    EXPECT_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_FIFO);
    EXPECT_EQ(Priority(), 7);
    EXPECT_EQ(RunInChild([] { return syscall(SYS_sched_getscheduler, 0) == SCHED_FIFO ? 0 : 1; }), 0);
    const sched_param param = {9};
    EXPECT_OK(syscall(SYS_sched_setparam, 0, &param));
    EXPECT_EQ(Priority(), 9);
    EXPECT_OK(SetPolicy(0, SCHED_RR | SCHED_RESET_ON_FORK, 3));
    EXPECT_EQ(syscall(SYS_sched_getscheduler, 0), SCHED_RR | SCHED_RESET_ON_FORK);
    EXPECT_EQ(RunInChild([] { return syscall(SYS_sched_getscheduler, 0) == SCHED_OTHER && Priority() == 0 ? 0 : 1; }),
              0);
  });
}

TEST(PolicyTest, ResetOnForkTakesNegativeNiceBack) {
  InChild([] {
    EXPECT_OK(setpriority(PRIO_PROCESS, 0, -5));
    EXPECT_OK(SetPolicy(0, SCHED_OTHER | SCHED_RESET_ON_FORK, 0));
    EXPECT_EQ(
        RunInChild([] { return getpriority(PRIO_PROCESS, 0) == 0 && syscall(SYS_sched_getscheduler, 0) == 0 ? 0 : 1; }),
        0);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), -5);
  });
}

TEST(PolicyTest, Errors) {
  const sched_param zero = {0};
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_setscheduler, -1, SCHED_OTHER, &zero));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_sched_setscheduler, kNobodyHere, SCHED_OTHER, BadPointer()));
  EXPECT_ERRNO(ESRCH, syscall(SYS_sched_setscheduler, kNobodyHere, SCHED_OTHER, &zero));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_setparam, 0, nullptr));
  EXPECT_ERRNO(EFAULT, syscall(SYS_sched_setparam, kNobodyHere, BadPointer()));
  EXPECT_ERRNO(ESRCH, syscall(SYS_sched_setparam, kNobodyHere, &zero));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_getparam, 0, nullptr));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_getparam, -1, &zero));
  EXPECT_ERRNO(ESRCH, syscall(SYS_sched_getparam, kNobodyHere, BadPointer()));
  EXPECT_ERRNO(EFAULT, syscall(SYS_sched_getparam, 0, BadPointer()));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_getscheduler, -1));
  EXPECT_ERRNO(ESRCH, syscall(SYS_sched_getscheduler, kNobodyHere));
  EXPECT_EQ(sched_get_priority_max(SCHED_RR), 99);
  EXPECT_EQ(sched_get_priority_min(SCHED_FIFO), 1);
  EXPECT_EQ(sched_get_priority_max(SCHED_OTHER), 0);
  EXPECT_ERRNO(EINVAL, sched_get_priority_max(99));
  EXPECT_ERRNO(EINVAL, sched_get_priority_min(-1));
  timespec slice;
  EXPECT_OK(syscall(SYS_sched_rr_get_interval, 0, &slice));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_rr_get_interval, -1, &slice));
  EXPECT_ERRNO(ESRCH, syscall(SYS_sched_rr_get_interval, kNobodyHere, &slice));
  EXPECT_ERRNO(EFAULT, syscall(SYS_sched_rr_get_interval, 0, BadPointer()));
}

TEST(PolicyTest, TheUnprivilegedOnlyLower) {
  EXPECT_EQ(RunAsNobody([] {
              EXPECT_ERRNO(EPERM, SetPolicy(0, SCHED_FIFO, 1));
              EXPECT_ERRNO(EPERM, SetPolicy(getppid(), SCHED_OTHER, 0));
              EXPECT_OK(SetPolicy(0, SCHED_BATCH, 0));
              EXPECT_OK(SetPolicy(0, SCHED_OTHER | SCHED_RESET_ON_FORK, 0));
              EXPECT_ERRNO(EPERM, SetPolicy(0, SCHED_OTHER, 0)) << "the flag stays";
              Attr attr;
              attr.flags = 1;
              attr.nice = -1;
              EXPECT_ERRNO(EPERM, SetAttr(0, &attr));
              attr.nice = 5;
              EXPECT_OK(SetAttr(0, &attr));
              EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 5);
              attr.nice = 4;
              EXPECT_ERRNO(EPERM, SetAttr(0, &attr));
              EXPECT_OK(SetPolicy(0, SCHED_IDLE | SCHED_RESET_ON_FORK, 0));
              EXPECT_ERRNO(EPERM, SetPolicy(0, SCHED_OTHER | SCHED_RESET_ON_FORK, 0)) << "no way back from idle";
              return 0;
            }),
            0);
}

TEST(SchedAttrTest, ReadsWhatWasSet) {
  InChild([] {
    Attr attr, got;
    attr.policy = SCHED_BATCH;
    attr.nice = 7;
    attr.flags = 1;  // SCHED_FLAG_RESET_ON_FORK
    EXPECT_OK(SetAttr(0, &attr));
    EXPECT_OK(GetAttr(0, &got));
    EXPECT_EQ(got.size, sizeof(Attr));
    EXPECT_EQ(got.policy, static_cast<uint32_t>(SCHED_BATCH));
    EXPECT_EQ(got.nice, 7);
    EXPECT_EQ(got.flags, 1u);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 7);
    attr.nice = 100;
    EXPECT_OK(SetAttr(0, &attr));
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 19) << "clamped";
  });
}

TEST(SchedAttrTest, SizesAreChecked) {
  InChild([] {
    struct {
      Attr attr;
      char more[64] = {};
    } large;
    large.attr.size = sizeof(large);
    EXPECT_OK(SetAttr(0, &large));
    large.more[60] = 1;
    EXPECT_ERRNO(E2BIG, SetAttr(0, &large));
    EXPECT_GE(large.attr.size, sizeof(Attr));
    EXPECT_LT(large.attr.size, sizeof(large)) << "the size that is known";
    Attr attr;
    attr.size = 47;
    EXPECT_ERRNO(E2BIG, SetAttr(0, &attr));
    attr.size = 0;
    EXPECT_OK(SetAttr(0, &attr)) << "the first version";
    attr.size = 5000;
    EXPECT_ERRNO(E2BIG, SetAttr(0, &attr));
  });
}

TEST(SchedAttrTest, Errors) {
  Attr attr;
  EXPECT_ERRNO(EINVAL, SetAttr(0, nullptr));
  EXPECT_ERRNO(EINVAL, SetAttr(-1, &attr));
  EXPECT_ERRNO(EINVAL, SetAttr(0, &attr, 1));
  EXPECT_ERRNO(EFAULT, SetAttr(0, BadPointer()));
  EXPECT_ERRNO(ESRCH, SetAttr(kNobodyHere, &attr));
  attr.policy = 77;
  EXPECT_ERRNO(EINVAL, SetAttr(0, &attr));
  attr = {.flags = 1ull << 40};
  EXPECT_ERRNO(EINVAL, SetAttr(0, &attr));
  attr = {.policy = SCHED_RR, .priority = 100};
  EXPECT_ERRNO(EINVAL, SetAttr(0, &attr));
  attr = {.policy = 6 /* SCHED_DEADLINE */, .runtime = 10, .deadline = 5};
  EXPECT_ERRNO(EINVAL, SetAttr(0, &attr));
  EXPECT_ERRNO(EINVAL, GetAttr(0, nullptr));
  EXPECT_ERRNO(EINVAL, GetAttr(-1, &attr));
  EXPECT_ERRNO(EINVAL, GetAttr(0, &attr, 47));
  EXPECT_ERRNO(EINVAL, GetAttr(0, &attr, 5000));
  EXPECT_ERRNO(EINVAL, GetAttr(0, &attr, sizeof(attr), 1));
  EXPECT_ERRNO(ESRCH, GetAttr(kNobodyHere, &attr));
  EXPECT_ERRNO(EFAULT, GetAttr(0, BadPointer()));
}

TEST(AffinityTest, OneProcessorAndBack) {
  InChild([] {
    cpu_set_t all, one, got;
    ASSERT_OK(sched_getaffinity(0, sizeof(all), &all));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &all)) ++cpu;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CPU_SET(1000, &one);  // that are not there do not matter
    EXPECT_OK(sched_setaffinity(0, sizeof(one), &one));
    ASSERT_OK(sched_getaffinity(0, sizeof(got), &got));
    EXPECT_EQ(CPU_COUNT(&got), 1);
    EXPECT_TRUE(CPU_ISSET(cpu, &got));
    EXPECT_EQ(sched_getcpu(), cpu);
    EXPECT_EQ(RunInChild([] {
                cpu_set_t inherited;
                return sched_getaffinity(0, sizeof(inherited), &inherited) == 0 && CPU_COUNT(&inherited) == 1 ? 0 : 1;
              }),
              0);
    EXPECT_OK(sched_setaffinity(0, sizeof(all), &all));
    ASSERT_OK(sched_getaffinity(0, sizeof(got), &got));
    EXPECT_TRUE(CPU_EQUAL(&all, &got));
  });
}

TEST(AffinityTest, Errors) {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_ERRNO(EINVAL, sched_setaffinity(0, sizeof(set), &set)) << "nowhere to run";
  EXPECT_ERRNO(EINVAL, sched_setaffinity(0, 0, &set));
  EXPECT_ERRNO(EFAULT, sched_setaffinity(0, sizeof(set), static_cast<cpu_set_t*>(BadPointer())));
  EXPECT_ERRNO(ESRCH, sched_setaffinity(kNobodyHere, sizeof(set), &set));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_getaffinity, 0, 0, &set));
  EXPECT_ERRNO(EINVAL, syscall(SYS_sched_getaffinity, 0, sizeof(set) - 1, &set));
  EXPECT_ERRNO(EFAULT, syscall(SYS_sched_getaffinity, 0, sizeof(set), BadPointer()));
  EXPECT_ERRNO(ESRCH, syscall(SYS_sched_getaffinity, kNobodyHere, sizeof(set), &set));
  ASSERT_OK(sched_getaffinity(0, sizeof(set), &set));
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, sched_setaffinity(getppid(), sizeof(set), &set));
              EXPECT_OK(sched_setaffinity(0, sizeof(set), &set));
              return 0;
            }),
            0);
}

TEST(PriorityTest, NiceIsKeptClampedAndInherited) {
  InChild([] {
    EXPECT_OK(setpriority(PRIO_PROCESS, 0, 4));
    EXPECT_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 16) << "the raw call gives 20 - nice";
    EXPECT_EQ(RunInChild([] { return getpriority(PRIO_PROCESS, 0); }), 4);
    EXPECT_OK(setpriority(PRIO_PROCESS, 0, 100));
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 19);
    EXPECT_OK(setpriority(PRIO_PROCESS, 0, -100));
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), -20);
  });
}

TEST(PriorityTest, OfGroupsAndUsers) {
  InChild([] {
    setpgid(0, 0);
    EXPECT_OK(setpriority(PRIO_PGRP, 0, 6));
    EXPECT_EQ(getpriority(PRIO_PGRP, getpid()), 6);
    EXPECT_EQ(getpriority(PRIO_PROCESS, 0), 6);
    EXPECT_OK(syscall(SYS_setresuid, 4711, 4711, 4711));
    EXPECT_OK(setpriority(PRIO_USER, 0, 8));
    EXPECT_EQ(getpriority(PRIO_USER, 4711), 8);
  });
}

TEST(PriorityTest, Errors) {
  EXPECT_ERRNO(EINVAL, setpriority(static_cast<__priority_which_t>(3), 0, 0));
  EXPECT_ERRNO(EINVAL, syscall(SYS_getpriority, -1, 0));
  for (const auto which : {PRIO_PROCESS, PRIO_PGRP}) {
    EXPECT_ERRNO(ESRCH, setpriority(which, kNobodyHere, 0)) << which;
    EXPECT_ERRNO(ESRCH, syscall(SYS_getpriority, which, kNobodyHere)) << which;
  }
  EXPECT_ERRNO(ESRCH, syscall(SYS_getpriority, PRIO_USER, 123456789));
  EXPECT_EQ(RunAsNobody([] {
              EXPECT_ERRNO(EPERM, setpriority(PRIO_PROCESS, getppid(), 0));
              EXPECT_OK(setpriority(PRIO_PROCESS, 0, 3));
              EXPECT_ERRNO(EACCES, setpriority(PRIO_PROCESS, 0, 2));
              EXPECT_OK(setpriority(PRIO_PROCESS, 0, 3));
              return 0;
            }),
            0);
}

TEST(SchedTest, PrioritiesOfTheExtensibleClass) {
  EXPECT_EQ(sched_get_priority_max(7), 0);
  EXPECT_EQ(sched_get_priority_min(7), 0);
  EXPECT_ERRNO(EINVAL, sched_get_priority_max(8));
}

}  // namespace
}  // namespace guest
