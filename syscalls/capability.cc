// capget(2), capset(2).
#include <linux/capability.h>

#include "sentry/kernel/kernel.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

using Header = __user_cap_header_struct;
using Data = __user_cap_data_struct;

// Number of 32-bit words for the header's version. An unknown version is answered with the preferred one in the
// header and EINVAL (Ok(0) when only probing with a null data pointer).
Result<int> Words(Task& task, InOutPtr<Header> header_ptr, Header& header, bool probing) {
  header = TRY(header_ptr.Read(task.memory()));
  switch (header.version) {
    case _LINUX_CAPABILITY_VERSION_1:
      return 1;
    case _LINUX_CAPABILITY_VERSION_2:
    case _LINUX_CAPABILITY_VERSION_3:
      return 2;
    default:
      break;
  }
  header.version = _LINUX_CAPABILITY_VERSION_3;
  TRY(header_ptr.Write(task.memory(), header));
  if (probing) return 0;
  return Err(EINVAL);
}

uint32_t Word(CapabilitySet set, int index) { return static_cast<uint32_t>(set >> (32 * index)); }

Result<void> SysCapget(Task& task, InOutPtr<Header> header_ptr, OutPtr<Data> data_ptr) {
  Header header;
  const int words = TRY(Words(task, header_ptr, header, data_ptr.IsNull()));
  if (data_ptr.IsNull()) return {};
  if (header.pid < 0) return Err(EINVAL);
  CredentialsRef creds = task.creds_ref();
  if (header.pid != 0 && header.pid != task.pid()->own()) {
    const TaskRef other = task.Find(header.pid);
    if (other == nullptr) return Err(ESRCH);
    creds = other->creds_ref();
  }
  Data data[2];
  for (int i = 0; i < words; ++i)
    data[i] = {Word(creds->effective, i), Word(creds->permitted, i), Word(creds->inheritable, i)};
  return data_ptr.WriteArray(task.memory(), std::span<const Data>(data, words));
}
SYSCALL_ROW(capget, Lane::kShort, Support::kFull, SysCapget, "");

Result<void> SysCapset(Task& task, InOutPtr<Header> header_ptr, InPtr<Data> data_ptr) {
  Header header;
  const int words = TRY(Words(task, header_ptr, header, false));
  if (header.pid != 0 && header.pid != task.pid()->own()) return Err(EPERM);
  const auto data = TRY(data_ptr.ReadArray(task.memory(), words));
  CapabilitySet effective = 0, permitted = 0, inheritable = 0;
  for (int i = 0; i < words; ++i) {
    effective |= uint64_t{data[i].effective} << (32 * i);
    permitted |= uint64_t{data[i].permitted} << (32 * i);
    inheritable |= uint64_t{data[i].inheritable} << (32 * i);
  }
  effective &= kAllCapabilities;
  permitted &= kAllCapabilities;
  inheritable &= kAllCapabilities;
  const Credentials& old = task.creds();
  // In Linux's order (security/commoncap.c, cap_capset; capabilities(7), "Programmatically adjusting").
  if (!old.HasOwn(CAP_SETPCAP) && (inheritable & ~(old.inheritable | old.permitted))) return Err(EPERM);
  if (inheritable & ~(old.inheritable | old.bounding)) return Err(EPERM);
  if (permitted & ~old.permitted) return Err(EPERM);
  if (effective & ~permitted) return Err(EPERM);
  auto now = std::make_shared<Credentials>(old);
  now->effective = effective;
  now->permitted = permitted;
  now->inheritable = inheritable;
  now->ambient &= permitted & inheritable;
  task.SetCredentials(std::move(now));
  return {};
}
SYSCALL_ROW(capset, Lane::kShort, Support::kFull, SysCapset, "");

}  // namespace
}  // namespace sandbox::syscalls
