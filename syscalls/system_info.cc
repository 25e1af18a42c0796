// What the machine is called and has: uname, host and domain names, sysinfo, getrandom, getcpu.
#include <linux/capability.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <cstdio>
#include <cstring>

#include "base/host_sys.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

void CopyName(char (&to)[65], const std::string& from) {
  std::memset(to, 0, sizeof(to));
  std::memcpy(to, from.data(), std::min(from.size(), sizeof(to) - 1));
}

// For programs that cannot read newer versions (Linux: override_release): 6.18.1-a is 2.6.78-a.
std::string ReleaseOf26(const std::string& release) {
  int major = 0, minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) return release;
  size_t rest = 0;
  for (int dots = 0; rest < release.size(); ++rest) {
    if (release[rest] == '.' && ++dots >= 3) break;
    if (release[rest] != '.' && (release[rest] < '0' || release[rest] > '9')) break;
  }
  return "2.6." + std::to_string(minor + 60) + release.substr(rest);
}

// The release is the host's: programs derive feature checks from it, and it is the oracle for semantics.
Result<void> SysUname(Task& task, OutPtr<utsname> out) {
  utsname name = host::Uname();
  CopyName(name.nodename, task.uts()->hostname());
  CopyName(name.domainname, task.uts()->domainname());
  // Linux: override_architecture, COMPAT_UTS_MACHINE.
  if ((task.personality.load() & PER_MASK) == PER_LINUX32) CopyName(name.machine, "i686");
  if (task.personality.load() & UNAME26) CopyName(name.release, ReleaseOf26(name.release));
  return out.Write(task.memory(), name);
}
SYSCALL_ROW(uname, Lane::kShort, Support::kFull, SysUname, "");

Result<std::string> ReadName(Task& task, GuestAddr from, int32_t length) {
  if (!task.creds().HasIn(*task.uts()->owner(), CAP_SYS_ADMIN)) return Err(EPERM);
  if (length < 0 || length > 64) return Err(EINVAL);
  std::string name(length, '\0');
  TRY(task.memory().Read(from, name.data(), name.size()));
  return name.substr(0, name.find('\0'));
}

Result<void> SysSethostname(Task& task, GuestAddr name, int32_t length) {
  task.uts()->SetHostname(TRY(ReadName(task, name, length)));
  return {};
}
SYSCALL_ROW(sethostname, Lane::kShort, Support::kFull, SysSethostname, "");

Result<void> SysSetdomainname(Task& task, GuestAddr name, int32_t length) {
  task.uts()->SetDomainname(TRY(ReadName(task, name, length)));
  return {};
}
SYSCALL_ROW(setdomainname, Lane::kShort, Support::kFull, SysSetdomainname, "");

Result<void> SysSysinfo(Task& task, OutPtr<struct sysinfo> out) {
  struct sysinfo info = host::SystemInfo();
  Kernel& kernel = task.kernel();
  const uint64_t unit = info.mem_unit;
  const Cgroup::Memory memory = task.group().cgroup().memory(info.totalram * unit, info.totalswap * unit);
  info.totalram = memory.total / unit;
  info.freeram = std::min<uint64_t>(info.freeram, (memory.total - memory.used - memory.cached) / unit);
  info.bufferram = std::min<uint64_t>(info.bufferram, memory.cached / unit);
  info.sharedram = 0;
  info.totalswap = memory.swap_total / unit;
  info.freeswap = memory.swap_free / unit;
  info.uptime = (MonotonicNow().ns - kernel.start_monotonic_ns()) / 1'000'000'000;
  info.procs = static_cast<unsigned short>(kernel.task_count());
  const auto loads = kernel.load_averages();
  for (int i = 0; i < 3; ++i) info.loads[i] = static_cast<unsigned long>(loads[i] * (1 << SI_LOAD_SHIFT));
  return out.Write(task.memory(), info);
}
SYSCALL_ROW(sysinfo, Lane::kShort, Support::kFull, SysSysinfo, "");

Result<uint64_t> SysGetrandom(Task& task, GuestAddr buffer, uint64_t size, uint32_t flags) {
  if (flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)) return Err(EINVAL);
  if ((flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE)) return Err(EINVAL);
  IoSequence to = IoSequence::Guest(task.memory(), buffer, size);
  uint64_t done = 0;
  char chunk[4096];
  while (!to.empty()) {
    const auto got = host::Random(chunk, std::min(sizeof(chunk), to.remaining()));
    if (!got.ok()) return done > 0 ? Result<uint64_t>(done) : got.error();
    auto moved = to.CopyOut(chunk, *got);
    if (!moved.ok()) return done > 0 ? Result<uint64_t>(done) : moved.error();
    done += *moved;
    if (task.Interrupted() && done >= 256) break;  // getrandom(2): up to 256 bytes are never cut short
  }
  return done;
}
SYSCALL_ROW(getrandom, Lane::kShort, Support::kFull, SysGetrandom, "");

// The sentry thread runs on behalf of the guest, mostly on the processor the guest was on.
Result<void> SysGetcpu(Task& task, OutPtr<uint32_t> cpu, OutPtr<uint32_t> node) {
  unsigned host_cpu = 0, host_node = 0;
  if (::getcpu(&host_cpu, &host_node) != 0) return LastErrno();
  // It may be on another one; but never where the guest is not allowed to be.
  const std::vector<uint64_t> mask = task.cpu_affinity();
  const auto allowed = [&](unsigned at) { return at / 64 < mask.size() && (mask[at / 64] >> (at % 64) & 1); };
  if (!mask.empty() && !allowed(host_cpu)) {
    host_cpu = 0;
    while (host_cpu < mask.size() * 64 && !allowed(host_cpu)) ++host_cpu;
  }
  if (!cpu.IsNull()) TRY(cpu.Write(task.memory(), host_cpu));
  if (!node.IsNull()) TRY(node.Write(task.memory(), host_node));
  return {};
}
SYSCALL_ROW(getcpu, Lane::kShort, Support::kFull, SysGetcpu, "");

}  // namespace
}  // namespace sandbox::syscalls
