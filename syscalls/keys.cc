// add_key(2), request_key(2), keyctl(2).
#include <linux/keyctl.h>

#include <cstring>

#include "sentry/kernel/keys.h"
#include "sentry/kernel/task.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr size_t kMaxType = 32;
constexpr size_t kMaxText = 4096;  // descriptions and the like, with their end
constexpr uint64_t kMaxPayload = 1024 * 1024 - 1;
constexpr uint64_t kMaxUpdate = 4096;

// Linux: key_get_type_from_user. Names with a dot are the kernel's own.
Result<std::string> ReadType(Task& task, GuestAddr addr) {
  std::string type = TRY(task.memory().ReadString(addr, kMaxType, EINVAL));
  if (type.empty()) return Err(EINVAL);
  if (type.front() == '.') return Err(EPERM);
  return type;
}

Result<std::string> ReadText(Task& task, GuestAddr addr) { return task.memory().ReadString(addr, kMaxText, EINVAL); }

Result<std::optional<std::string>> ReadOptional(Task& task, GuestAddr addr) {
  if (addr.IsNull()) return std::optional<std::string>();
  return std::optional(TRY(ReadText(task, addr)));
}

Result<std::string> ReadPayload(Task& task, GuestAddr addr, uint64_t size) {
  std::string payload(size, '\0');
  TRY(task.memory().Read(addr, payload.data(), size));
  return payload;
}

Result<int32_t> SysAddKey(Task& task, GuestAddr type_addr, GuestAddr description_addr, GuestAddr payload, uint64_t size,
                          int32_t keyring) {
  if (size > kMaxPayload) return Err(EINVAL);
  const std::string type = TRY(ReadType(task, type_addr));
  std::optional<std::string> description = TRY(ReadOptional(task, description_addr));
  if (description && description->empty()) description.reset();
  if (description && description->front() == '.' && type == "keyring") return Err(EPERM);
  return Keys::Get().Add(task, type, description, TRY(ReadPayload(task, payload, size)), keyring);
}
SYSCALL_ROW(add_key, Lane::kShort, Support::kPartial, SysAddKey, "types user, logon and keyring");

Result<int32_t> SysRequestKey(Task& task, GuestAddr type_addr, GuestAddr description_addr, GuestAddr callout,
                              int32_t destination) {
  const std::string type = TRY(ReadType(task, type_addr));
  const std::string description = TRY(ReadText(task, description_addr));
  const bool construct = TRY(ReadOptional(task, callout)).has_value();
  return Keys::Get().Request(task, type, description, construct, destination);
}
SYSCALL_ROW(request_key, Lane::kShort, Support::kPartial, SysRequestKey, "no program is run to make keys");

// The whole size, and as much as was asked for: all or, for payloads, nothing.
Result<int64_t> Give(Task& task, GuestAddr buffer, uint64_t room, const void* data, size_t size) {
  if (!buffer.IsNull() && room >= size) TRY(task.memory().Write(buffer, data, size));
  return static_cast<int64_t>(size);
}

Result<int64_t> Describe(Task& task, int32_t id, GuestAddr buffer, uint64_t room) {
  const std::string text = TRY(Keys::Get().Describe(task, id));
  return Give(task, buffer, room, text.c_str(), text.size() + 1);
}

Result<int64_t> GetSecurity(Task& task, int32_t id, GuestAddr buffer, uint64_t room) {
  TRY(Keys::Get().CheckVisible(task, id));
  return Give(task, buffer, room, "", 1);  // no security module, no label
}

Result<int64_t> Read(Task& task, int32_t id, GuestAddr buffer, uint64_t room) {
  const std::string payload = TRY(Keys::Get().Read(task, id));
  return Give(task, buffer, room, payload.data(), payload.size());
}

Result<void> Update(Task& task, int32_t id, GuestAddr payload, uint64_t size) {
  if (size > kMaxUpdate) return Err(EINVAL);
  return Keys::Get().Update(task, id, TRY(ReadPayload(task, payload, size)));
}

Result<void> Chown(Task& task, int32_t id, uint32_t uid, uint32_t gid) {
  const uint32_t user = uid == UINT32_MAX ? uid : TRY(task.creds().ActualUid(uid));
  const uint32_t group = gid == UINT32_MAX ? gid : TRY(task.creds().ActualGid(gid));
  if (user == UINT32_MAX && group == UINT32_MAX) return {};
  return Keys::Get().Chown(task, id, user, group);
}

Result<void> SetPermissions(Task& task, int32_t id, uint32_t permissions) {
  constexpr uint32_t kAll = 0x3f3f3f3f;
  if (permissions & ~kAll) return Err(EINVAL);
  return Keys::Get().SetPermissions(task, id, permissions);
}

Result<int32_t> JoinSession(Task& task, GuestAddr name_addr) {
  const std::optional<std::string> name = TRY(ReadOptional(task, name_addr));
  if (name && name->starts_with('.')) return Err(EPERM);
  return Keys::Get().JoinSession(task, name);
}

Result<int32_t> Search(Task& task, int32_t keyring, GuestAddr type_addr, GuestAddr description_addr,
                       int32_t destination) {
  const std::string type = TRY(ReadType(task, type_addr));
  return Keys::Get().Search(task, keyring, type, TRY(ReadText(task, description_addr)), destination);
}

Result<void> Restrict(Task& task, int32_t keyring, GuestAddr type_addr, GuestAddr restriction) {
  std::optional<std::string> type;
  if (type_addr.IsNull() != restriction.IsNull()) return Err(EINVAL);
  if (!type_addr.IsNull()) type = TRY(ReadType(task, type_addr));
  if (!restriction.IsNull()) (void)TRY(ReadText(task, restriction));
  return Keys::Get().Restrict(task, keyring, type);
}

Result<int64_t> Capabilities(Task& task, GuestAddr buffer, uint64_t room) {
  constexpr uint8_t kHave[] = {
      KEYCTL_CAPS0_CAPABILITIES | KEYCTL_CAPS0_INVALIDATE | KEYCTL_CAPS0_RESTRICT_KEYRING | KEYCTL_CAPS0_MOVE, 0};
  if (buffer.IsNull() || room == 0) return sizeof(kHave);
  const size_t known = std::min<uint64_t>(room, sizeof(kHave));
  TRY(task.memory().Write(buffer, kHave, known));
  // The rest of a larger array is zeros.
  constexpr char kZeros[256] = {};
  for (uint64_t done = known; done < room;) {
    const size_t part = std::min<uint64_t>(room - done, sizeof(kZeros));
    TRY(task.memory().Write(buffer + done, kZeros, part));
    done += part;
  }
  return sizeof(kHave);
}

Result<int64_t> Done(const Result<void>& result) {
  TRY(result);
  return int64_t{0};
}

// Nobody makes a key on somebody's behalf, so nobody has the authority for that.
Result<int64_t> Instantiate(uint64_t size) { return Err(size > kMaxPayload ? EINVAL : EPERM); }

Result<int64_t> SysKeyctl(Task& task, int operation, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5) {
  Keys& keys = Keys::Get();
  const auto id = static_cast<int32_t>(a2), second = static_cast<int32_t>(a3);
  switch (operation) {
    case KEYCTL_GET_KEYRING_ID:
      return TRY(keys.KeyringId(task, id, second != 0));
    case KEYCTL_JOIN_SESSION_KEYRING:
      return TRY(JoinSession(task, GuestAddr(a2)));
    case KEYCTL_UPDATE:
      return Done(Update(task, id, GuestAddr(a3), a4));
    case KEYCTL_REVOKE:
      return Done(keys.Revoke(task, id));
    case KEYCTL_DESCRIBE:
      return Describe(task, id, GuestAddr(a3), a4);
    case KEYCTL_CLEAR:
      return Done(keys.Clear(task, id));
    case KEYCTL_LINK:
      return Done(keys.Link(task, id, second));
    case KEYCTL_UNLINK:
      return Done(keys.Unlink(task, id, second));
    case KEYCTL_SEARCH:
      return TRY(Search(task, id, GuestAddr(a3), GuestAddr(a4), static_cast<int32_t>(a5)));
    case KEYCTL_READ:
      return Read(task, id, GuestAddr(a3), a4);
    case KEYCTL_CHOWN:
      return Done(Chown(task, id, static_cast<uint32_t>(a3), static_cast<uint32_t>(a4)));
    case KEYCTL_SETPERM:
      return Done(SetPermissions(task, id, static_cast<uint32_t>(a3)));
    case KEYCTL_INSTANTIATE:
      return Instantiate(a4);
    case KEYCTL_INSTANTIATE_IOV:
    case KEYCTL_NEGATE:
      return Instantiate(0);
    case KEYCTL_REJECT:
      return Err(static_cast<uint32_t>(a4) == 0 || static_cast<uint32_t>(a4) >= 4095 ? EINVAL : EPERM);
    case KEYCTL_SET_REQKEY_KEYRING:
      return TRY(keys.SetDestination(task, id));
    case KEYCTL_SET_TIMEOUT:
      return Done(keys.SetTimeout(task, id, static_cast<uint32_t>(a3)));
    case KEYCTL_ASSUME_AUTHORITY:
      if (id < 0) return Err(EINVAL);
      return id == 0 ? Result<int64_t>(0) : Err(ENOKEY);
    case KEYCTL_GET_SECURITY:
      return GetSecurity(task, id, GuestAddr(a3), a4);
    case KEYCTL_SESSION_TO_PARENT:
      return Done(keys.SessionToParent(task));
    case KEYCTL_INVALIDATE:
      return Done(keys.Invalidate(task, id));
    case KEYCTL_RESTRICT_KEYRING:
      return Done(Restrict(task, id, GuestAddr(a3), GuestAddr(a4)));
    case KEYCTL_MOVE:
      if (a5 & ~uint64_t{KEYCTL_MOVE_EXCL}) return Err(EINVAL);
      return Done(keys.Move(task, id, second, static_cast<int32_t>(a4), a5 & KEYCTL_MOVE_EXCL));
    case KEYCTL_CAPABILITIES:
      return Capabilities(task, GuestAddr(a2), a3);
    default:
      return Err(EOPNOTSUPP);
  }
}
SYSCALL_ROW(keyctl, Lane::kShort, Support::kPartial, SysKeyctl,
            "no keys made on somebody's behalf, no persistent keyrings, public keys, Diffie-Hellman, notifications");

}  // namespace
}  // namespace sandbox::syscalls
