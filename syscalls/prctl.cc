// prctl(2).
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <signal.h>
#include <string.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/prctl_mm.h"
#include "syscalls/row.h"
#include "syscalls/seccomp.h"

namespace sandbox::syscalls {
namespace {

struct PrctlArgs {
  uint64_t a2, a3, a4, a5;
  bool rest_is_zero() const { return (a3 | a4 | a5) == 0; }
  bool all_zero() const { return a2 == 0 && rest_is_zero(); }
};

constexpr size_t kNameSize = 16;  // TASK_COMM_LEN

Result<int64_t> SetName(Task& task, GuestAddr addr) {
  // At most 15 bytes; a longer string is cut, not refused.
  std::string name;
  for (size_t i = 0; i + 1 < kNameSize; ++i) {
    char c;
    TRY(task.memory().Read(addr + i, &c, 1));
    if (c == 0) break;
    name.push_back(c);
  }
  task.SetName(name);
  return 0;
}

Result<int64_t> GetName(Task& task, GuestAddr addr) {
  char buffer[kNameSize] = {};
  const std::string name = task.name();
  memcpy(buffer, name.data(), std::min(name.size(), kNameSize - 1));
  TRY(task.memory().Write(addr, buffer, sizeof(buffer)));
  return 0;
}

Result<int64_t> CapBoundingDrop(Task& task, uint64_t cap) {
  if (!task.creds().HasOwn(CAP_SETPCAP)) return Err(EPERM);
  if (cap > CAP_LAST_CAP) return Err(EINVAL);
  auto creds = std::make_shared<Credentials>(task.creds());
  creds->bounding &= ~(uint64_t{1} << cap);
  task.SetCredentials(std::move(creds));
  return 0;
}

Result<int64_t> CapAmbient(Task& task, const PrctlArgs& args) {
  auto creds = std::make_shared<Credentials>(task.creds());
  if (args.a2 == PR_CAP_AMBIENT_CLEAR_ALL) {
    if (!args.rest_is_zero()) return Err(EINVAL);
    creds->ambient = 0;
    task.SetCredentials(std::move(creds));
    return 0;
  }
  if ((args.a4 | args.a5) != 0 || args.a3 > CAP_LAST_CAP) return Err(EINVAL);
  const CapabilitySet bit = uint64_t{1} << args.a3;
  switch (args.a2) {
    case PR_CAP_AMBIENT_IS_SET:
      return (creds->ambient & bit) != 0;
    case PR_CAP_AMBIENT_RAISE:
      if (!(creds->permitted & creds->inheritable & bit) || (creds->securebits & SECBIT_NO_CAP_AMBIENT_RAISE)) {
        return Err(EPERM);
      }
      creds->ambient |= bit;
      break;
    case PR_CAP_AMBIENT_LOWER:
      creds->ambient &= ~bit;
      break;
    default:
      return Err(EINVAL);
  }
  task.SetCredentials(std::move(creds));
  return 0;
}

Result<int64_t> SetSecurebits(Task& task, uint64_t bits) {
  const uint32_t old = task.creds().securebits;
  const uint32_t locked = (old & SECURE_ALL_LOCKS) >> 1;
  const bool touches_locked = locked & (old ^ bits);
  const bool unlocks = old & SECURE_ALL_LOCKS & ~bits;
  if (bits & ~uint64_t{SECURE_ALL_LOCKS | SECURE_ALL_BITS}) return Err(EPERM);
  if (touches_locked || unlocks || !task.creds().HasOwn(CAP_SETPCAP)) return Err(EPERM);
  auto creds = std::make_shared<Credentials>(task.creds());
  creds->securebits = static_cast<uint32_t>(bits);
  task.keep_caps.store(bits & SECBIT_KEEP_CAPS);
  task.SetCredentials(std::move(creds));
  return 0;
}

Result<int64_t> SetKeepCaps(Task& task, uint64_t on) {
  if (on > 1) return Err(EINVAL);
  if (task.creds().securebits & SECBIT_KEEP_CAPS_LOCKED) return Err(EPERM);
  auto creds = std::make_shared<Credentials>(task.creds());
  creds->securebits = on ? creds->securebits | SECBIT_KEEP_CAPS : creds->securebits & ~uint32_t{SECBIT_KEEP_CAPS};
  task.keep_caps.store(on != 0);
  task.SetCredentials(std::move(creds));
  return 0;
}

Result<int64_t> SetNoNewPrivs(Task& task, const PrctlArgs& args) {
  if (args.a2 != 1 || !args.rest_is_zero()) return Err(EINVAL);
  task.no_new_privs.store(true);
  return 0;
}

Result<int64_t> SetVma(Task& task, const PrctlArgs& args) {
  if (args.a2 != PR_SET_VMA_ANON_NAME) return Err(EINVAL);
  constexpr size_t kMaxVmaName = 80;
  std::string name;
  if (args.a5 != 0) {
    name = TRY(task.memory().ReadString(GuestAddr(args.a5), kMaxVmaName, EINVAL));
    for (const char c : name) {
      if (c < 0x20 || c > 0x7e || strchr("\\`$[]", c) != nullptr) return Err(EINVAL);
    }
  }
  TRY(task.mm().SetAnonName(GuestAddr(args.a3), args.a4, name));
  return 0;
}

// PR_GET_AUXV, newer than the headers.
constexpr int kGetAuxv = 0x41555856;

// What would happen to a process whose memory turns out bad; stored.
Result<int64_t> SetMceKill(Task& task, const PrctlArgs& args) {
  if ((args.a4 | args.a5) != 0) return Err(EINVAL);
  if (args.a2 == PR_MCE_KILL_CLEAR) {
    if (args.a3 != 0) return Err(EINVAL);
    task.mce_kill_policy.store(PR_MCE_KILL_DEFAULT);
    return 0;
  }
  if (args.a2 != PR_MCE_KILL_SET || args.a3 > PR_MCE_KILL_DEFAULT) return Err(EINVAL);
  task.mce_kill_policy.store(static_cast<int>(args.a3));
  return 0;
}

// The caller serves writes of memory itself, and must not wait for them; stored.
Result<int64_t> IoFlusher(Task& task, int option, const PrctlArgs& args) {
  if (!task.creds().Has(CAP_SYS_RESOURCE)) return Err(EPERM);
  if (!args.rest_is_zero()) return Err(EINVAL);
  if (option == PR_GET_IO_FLUSHER) return args.a2 != 0 ? Result<int64_t>(Err(EINVAL)) : task.io_flusher.load() ? 1 : 0;
  if (args.a2 > 1) return Err(EINVAL);
  task.io_flusher.store(args.a2 == 1);
  return 0;
}

// What the host's kernel decided for all of its tasks applies; a sandbox cannot change it (/proc/*/status says the
// same).
Result<int64_t> Speculation(int option, const PrctlArgs& args) {
  if ((option == PR_GET_SPECULATION_CTRL ? args.a3 : 0) != 0 || (args.a4 | args.a5) != 0) return Err(EINVAL);
  if (args.a2 != PR_SPEC_STORE_BYPASS && args.a2 != PR_SPEC_INDIRECT_BRANCH) return Err(ENODEV);
  if (option == PR_GET_SPECULATION_CTRL) return PR_SPEC_ENABLE;
  return Err(ENXIO);
}

constexpr int kSetMdwe = 65, kGetMdwe = 66;  // newer than the headers

// Memory that is written and then executed is refused, once and for all.
Result<int64_t> Mdwe(Task& task, int option, const PrctlArgs& args) {
  constexpr uint64_t kRefuseExecGain = 1, kNoInherit = 2;
  if (!args.rest_is_zero()) return Err(EINVAL);
  if (option == kGetMdwe) return args.a2 != 0 ? Result<int64_t>(Err(EINVAL)) : int64_t{task.mm().mdwe()};
  if ((args.a2 & ~(kRefuseExecGain | kNoInherit)) || args.a2 == kNoInherit) return Err(EINVAL);
  if (task.mm().mdwe() != 0 && task.mm().mdwe() != args.a2) return Err(EPERM);
  task.mm().set_mdwe(static_cast<uint32_t>(args.a2));
  return 0;
}

// What is off and stays off: asking for that, or whether it is so, succeeds. Newer than the headers.
std::optional<Result<int64_t>> Absent(int option, const PrctlArgs& args) {
  constexpr int kSetMemoryMerge = 67, kGetMemoryMerge = 68, kTimerCreateRestoreIds = 77;
  constexpr uint64_t kRestoreIdsGet = 2;
  const auto zero_if = [](bool known) { return known ? Result<int64_t>(0) : Err(EINVAL); };
  switch (option) {
    case kSetMemoryMerge:
    case kGetMemoryMerge:
      return zero_if(args.all_zero());
    case kTimerCreateRestoreIds:
      return zero_if(args.rest_is_zero() && (args.a2 == 0 || args.a2 == kRestoreIdsGet));
    default:
      return std::nullopt;
  }
}

// Options about who a task is; nullopt for others.
std::optional<Result<int64_t>> Identity(Task& task, int option, const PrctlArgs& args) {
  switch (option) {
    case PR_CAPBSET_READ:
      if (args.a2 > CAP_LAST_CAP) return Err(EINVAL);
      return (task.creds().bounding >> args.a2) & 1;
    case PR_CAPBSET_DROP:
      return CapBoundingDrop(task, args.a2);
    case PR_CAP_AMBIENT:
      return CapAmbient(task, args);
    case PR_GET_SECUREBITS:
      return task.creds().securebits;
    case PR_SET_SECUREBITS:
      return SetSecurebits(task, args.a2);
    case PR_GET_KEEPCAPS:
      return task.keep_caps.load() ? 1 : 0;
    case PR_SET_KEEPCAPS:
      return SetKeepCaps(task, args.a2);
    case PR_SET_NO_NEW_PRIVS:
      return SetNoNewPrivs(task, args);
    case PR_GET_NO_NEW_PRIVS:
      if (!args.all_zero()) return Err(EINVAL);
      return task.no_new_privs.load() ? 1 : 0;
    default:
      return std::nullopt;
  }
}

Result<int64_t> WriteInt(Task& task, uint64_t addr, int32_t value) {
  TRY(OutPtr<int32_t>(GuestAddr(addr)).Write(task.memory(), value));
  return 0;
}

// Options that store or read an attribute of the task.
Result<int64_t> Attribute(Task& task, int option, const PrctlArgs& args) {
  switch (option) {
    case PR_SET_NAME:
      return SetName(task, GuestAddr(args.a2));
    case PR_GET_NAME:
      return GetName(task, GuestAddr(args.a2));
    case PR_SET_PDEATHSIG:
      if (args.a2 > static_cast<uint64_t>(kSignalCount)) return Err(EINVAL);
      task.parent_death_signal.store(static_cast<int>(args.a2));
      return 0;
    case PR_GET_PDEATHSIG:
      return WriteInt(task, args.a2, task.parent_death_signal.load());
    case PR_SET_DUMPABLE:
      if (args.a2 > 1) return Err(EINVAL);
      task.mm().set_dumpable(args.a2 == 1);
      return 0;
    case PR_GET_DUMPABLE:
      return task.mm().dumpable() ? 1 : 0;
    case PR_SET_CHILD_SUBREAPER:
      task.group().child_subreaper.store(args.a2 != 0);
      return 0;
    case PR_GET_CHILD_SUBREAPER:
      return WriteInt(task, args.a2, task.group().child_subreaper.load() ? 1 : 0);
    case PR_SET_TIMERSLACK:
      task.timer_slack_ns.store(static_cast<int64_t>(args.a2) <= 0 ? task.default_timer_slack_ns.load() : args.a2);
      return 0;
    case PR_GET_TIMERSLACK:
      return static_cast<int64_t>(task.timer_slack_ns.load());
    case PR_TASK_PERF_EVENTS_DISABLE:
    case PR_TASK_PERF_EVENTS_ENABLE:
      return 0;  // there are none
    case PR_GET_TIMING:
      return PR_TIMING_STATISTICAL;
    case PR_SET_TIMING:
      if (args.a2 != PR_TIMING_STATISTICAL) return Err(EINVAL);
      return 0;
    case PR_GET_TID_ADDRESS:
      TRY(OutPtr<uint64_t>(GuestAddr(args.a2)).Write(task.memory(), task.clear_child_tid.load()));
      return 0;
    default:
      return Err(EINVAL);
  }
}

Result<int64_t> SysPrctl(Task& task, int option, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5) {
  const PrctlArgs args{a2, a3, a4, a5};
  if (auto result = Identity(task, option, args)) return *result;
  if (auto result = Absent(option, args)) return *result;
  switch (option) {
    case PR_SET_VMA:
      return SetVma(task, args);
    case PR_GET_THP_DISABLE:
      if (!args.all_zero()) return Err(EINVAL);
      return task.group().thp_disabled.load() ? 1 : 0;
    case PR_SET_THP_DISABLE:
      if ((a3 | a4 | a5) != 0) return Err(EINVAL);
      task.group().thp_disabled.store(a2 != 0);  // advice, stored
      return 0;
    case PR_GET_SECCOMP:
      return task.seccomp_mode();
    case PR_SET_SECCOMP:
      return SetSeccompMode(task, a2, GuestAddr(a3));
    case PR_GET_TSC:
      return WriteInt(task, a2, PR_TSC_ENABLE);
    case PR_SET_TSC:
      if (a2 != PR_TSC_ENABLE) return Err(EINVAL);
      return 0;
    case PR_MCE_KILL_GET:
      if (!args.all_zero()) return Err(EINVAL);
      return task.mce_kill_policy.load();
    case PR_MCE_KILL:
      return SetMceKill(task, args);
    case PR_SET_IO_FLUSHER:
    case PR_GET_IO_FLUSHER:
      return IoFlusher(task, option, args);
    case PR_SET_MM:
      return SetMemoryMap(task, a2, a3, a4, a5);
    case kGetAuxv:
      if ((a4 | a5) != 0) return Err(EINVAL);
      return GetAuxiliaryVector(task, GuestAddr(a2), a3);
    case PR_GET_SPECULATION_CTRL:
    case PR_SET_SPECULATION_CTRL:
      return Speculation(option, args);
    case PR_SET_SYSCALL_USER_DISPATCH:
      TRY(task.SetUserDispatch(a2, GuestAddr(a3), a4, GuestAddr(a5)));
      return 0;
    case kSetMdwe:
    case kGetMdwe:
      return Mdwe(task, option, args);
    case PR_SET_PTRACER:
      return Err(EINVAL);  // as without Yama
    default:
      return Attribute(task, option, args);
  }
}
SYSCALL_ROW(prctl, Lane::kShort, Support::kPartial, SysPrctl,
            "PR_SET_MM without MAP, EXE_FILE and BRK; no PR_TSC_SIGSEGV, core scheduling, memory merging");

}  // namespace
}  // namespace sandbox::syscalls
