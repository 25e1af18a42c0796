// /proc/sys (sysctl(8)): what describes this kernel; other values are in sysctl_values.cc. Only the names of the
// machine and the limits of IPC objects and keys can be set.
#include <linux/capability.h>
#include <sys/random.h>
#include <sys/utsname.h>

#include <array>
#include <map>
#include <string>

#include "base/host_sys.h"
#include "base/log.h"
#include "sentry/fs/proc/ipc_settings.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/proc/sysctl_values.h"
#include "sentry/kernel/aio.h"
#include "sentry/kernel/namespaces.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/socket/net_sysctls.h"

namespace sandbox::proc {
namespace {

using synthetic::AddDirectory;
using synthetic::MakeText;
using synthetic::StaticDirectory;

// The directory `path` lies in, made on the way; `path` becomes the last component.
StaticDirectory& DirectoryOf(Fs& fs, StaticDirectory& root, std::map<std::string, StaticDirectory*>& made,
                             std::string_view& path) {
  StaticDirectory* at = &root;
  std::string so_far;
  for (size_t slash; (slash = path.find('/')) != std::string_view::npos; path.remove_prefix(slash + 1)) {
    so_far += "/" + std::string(path.substr(0, slash));
    StaticDirectory*& next = made[so_far];
    if (next == nullptr) next = AddDirectory(fs, *at, std::string(path.substr(0, slash))).get();
    at = next;
  }
  return *at;
}

std::string Uname(char (utsname::*field)[65]) { return std::string(host::Uname().*field) + "\n"; }

std::string RandomUuid() {
  std::array<uint8_t, 16> bytes = {};
  const auto filled = host::Random(bytes.data(), bytes.size());
  CHECK(filled.ok() && *filled == bytes.size());
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += StrPrintf("%02x", bytes[i]);
  }
  return text + "\n";
}

RefPtr<UtsNamespace> UtsOf(Context& context) {
  const Task* caller = Task::Of(context);
  return caller != nullptr ? caller->uts() : nullptr;
}

using UtsGet = std::string (UtsNamespace::*)() const;
using UtsSet = void (UtsNamespace::*)(std::string);

RefPtr<synthetic::TextFile> MakeUtsFile(Fs& fs, UtsGet get, UtsSet set) {
  return MakeRef<synthetic::TextFile>(
      fs, 0644,
      [get](Context& context) -> Result<std::string> {
        const auto uts = UtsOf(context);
        return uts != nullptr ? ((*uts).*get)() + "\n" : std::string("\n");
      },
      [set](Context& context, std::string_view text) -> Result<void> {
        const auto uts = UtsOf(context);
        if (uts == nullptr || !context.creds().HasIn(*uts->owner(), CAP_SYS_ADMIN)) return Err(EPERM);
        text = text.substr(0, text.find('\n'));
        ((*uts).*set)(std::string(text.substr(0, 64)));
        return {};
      });
}

// A setting of the caller's IPC namespace, which root may change.
RefPtr<synthetic::TextFile> MakeIpcFile(Fs& fs, const IpcSetting& setting) {
  return MakeRef<synthetic::TextFile>(
      fs, 0644,
      [get = setting.get](Context& context) -> Result<std::string> {
        const Task* caller = Task::Of(context);
        if (caller == nullptr) return Err(EIO);
        return get(*caller->ipc()) + "\n";
      },
      [set = setting.set](Context& context, std::string_view text) -> Result<void> {
        const Task* caller = Task::Of(context);
        return caller == nullptr ? Err(EIO) : set(*caller->ipc(), text);
      });
}

Result<std::string> PidMax(Context& context) {
  const Task* caller = Task::Of(context);
  return std::to_string(caller != nullptr ? caller->kernel().options().pid_max : 4194304) + "\n";
}

Result<std::string> LastPid(Context& context) {
  const Task* caller = Task::Of(context);
  return std::to_string(caller != nullptr ? caller->pid_space().last() : 0) + "\n";
}

// CAP_CHECKPOINT_RESTORE over the pid namespace; the next process gets the number after it.
Result<void> SetLastPid(Context& context, std::string_view text) {
  Task* const caller = Task::Of(context);
  if (caller == nullptr) return Err(EIO);
  const RefPtr<PidNamespace> space = caller->pid()->numbers.back().space;
  const Credentials& creds = context.creds();
  if (!creds.HasIn(*space->owner(), CAP_CHECKPOINT_RESTORE) && !creds.HasIn(*space->owner(), CAP_SYS_ADMIN)) {
    return Err(EPERM);
  }
  const int64_t value = TRY(synthetic::ParseNumber(text));
  if (value < 0 || value >= caller->kernel().options().pid_max) return Err(EINVAL);
  space->set_last(static_cast<int32_t>(value));
  return {};
}

}  // namespace

void AddSysctl(Fs& fs, StaticDirectory& proc_root) {
  const auto root = AddDirectory(fs, proc_root, "sys");
  std::map<std::string, StaticDirectory*> made;
  const auto add = [&](std::string_view path, NodeRef node) {
    StaticDirectory& directory = DirectoryOf(fs, *root, made, path);
    directory.Add(std::string(path), std::move(node));
  };
  for (const SysctlValue& value : SysctlValues()) add(value.path, MakeText(fs, std::string(value.text) + "\n"));
  for (const auto& [path, value] : NetSysctls()) add(path, MakeText(fs, value + "\n"));
  for (const IpcSetting& setting : IpcSettings()) add(setting.path, MakeIpcFile(fs, setting));
  for (auto& [name, node] : KeySettings(fs)) add("kernel/keys/" + name, node);
  add("fs/aio-nr",
      MakeText(fs, [](Context&) -> Result<std::string> { return std::to_string(AioTable::Get().events()) + "\n"; }));
  add("vm/max_map_count", MakeText(fs, std::to_string(MemoryManager::kMaxMappings) + "\n"));
  add("kernel/osrelease", MakeText(fs, Uname(&utsname::release)));
  add("kernel/version", MakeText(fs, Uname(&utsname::version)));
  add("kernel/arch", MakeText(fs, Uname(&utsname::machine)));
  add("kernel/pid_max", MakeText(fs, &PidMax));
  add("kernel/ns_last_pid", MakeRef<synthetic::TextFile>(fs, 0666, &LastPid, &SetLastPid));
  add("kernel/hostname", MakeUtsFile(fs, &UtsNamespace::hostname, &UtsNamespace::SetHostname));
  add("kernel/domainname", MakeUtsFile(fs, &UtsNamespace::domainname, &UtsNamespace::SetDomainname));
  add("kernel/random/boot_id", MakeText(fs, RandomUuid()));
  add("kernel/random/uuid", MakeText(fs, [](Context&) -> Result<std::string> { return RandomUuid(); }));
}

}  // namespace sandbox::proc
