#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sys/random.h>

#include <cstring>

#include "base/host_sys.h"
#include "base/log.h"
#include "sentry/kernel/keys.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

constexpr int kMostDepth = 6;
constexpr size_t kMaxPayload = 32767;  // of "user" and "logon"
constexpr size_t kLinkBytes = 4;       // what a link counts for (KEYQUOTA_LINK_BYTES)
constexpr int64_t kNegativeSeconds = 60;
constexpr size_t kMostUsers = 4096;  // beyond, keyrings of users that nobody uses are dropped

constexpr uint32_t ForPossessor(uint32_t rights) { return rights << 24; }
constexpr uint32_t ForUser(uint32_t rights) { return rights << 16; }

// What add_key(2) and request_key(2) give a new key.
uint32_t DefaultPermissions(const KeyType& type) {
  uint32_t possessor = kKeyView | kKeySearch | kKeyLink | kKeySetAttr;
  if (type.readable) possessor |= kKeyRead;
  if (type.keyring || type.updatable) possessor |= kKeyWrite;
  return ForPossessor(possessor) | ForUser(kKeyView);
}

}  // namespace

void Keys::Inherit(Task& parent, Task& child) {
  MutexLock lock(mu_);
  child.keyrings.session = parent.keyrings.session;
  child.keyrings.destination = parent.keyrings.destination;
}

void Keys::LeaveImage(Task& task) {
  KeyPtr thread, process;  // end without the lock
  MutexLock lock(mu_);
  thread = std::move(task.keyrings.thread);
  process = std::move(task.group().process_keyring);
}

RefPtr<KeyUser> Keys::UserOf(uint32_t uid) {
  std::erase_if(counts_, [](const auto& entry) { return entry.second.expired(); });
  WeakRef<KeyUser>& weak = counts_[uid];
  RefPtr<KeyUser> user = weak.lock();
  if (user == nullptr) weak = user = MakeRef<KeyUser>(uid);
  return user;
}

Result<KeyPtr> Keys::Make(Task& task, const KeyType& type, std::string description, uint32_t permissions,
                          Key::Quota quota) {
  int32_t serial = 0;
  KeyPtr key;
  const RefPtr<KeyUser> user = UserOf(task.creds().fsuid);
  while (key == nullptr) {
    const auto filled = host::Random(&serial, sizeof(serial));
    CHECK(filled.ok() && *filled == sizeof(serial));
    serial &= INT32_MAX;
    if (serial < 3) continue;
    MutexLock lock(table_mu_);
    if (table_.contains(serial)) continue;
    key = MakeRef<Key>(serial, type, std::move(description), user);
    table_[serial] = key;
  }
  key->uid = task.creds().fsuid;
  key->gid = task.creds().fsgid;
  key->permissions = permissions;
  TRY(key->Count(quota));
  return key;
}

Result<KeyPtr> Keys::MakeKeyring(Task& task, std::string description, uint32_t permissions, Key::Quota quota) {
  return Make(task, *FindKeyType("keyring"), std::move(description), permissions, quota);
}

Result<void> Keys::NewSession(Task& task) {
  const auto quota = task.keyrings.session != nullptr ? Key::Quota::kCounted : Key::Quota::kOverrun;
  task.keyrings.session =
      TRY(MakeKeyring(task, "_ses", ForPossessor(kKeyAllRights) | ForUser(kKeyView | kKeyRead), quota));
  return {};
}

void Keys::ForgetUnusedUsers() {
  std::erase_if(users_, [](const auto& entry) {
    const UserKeyrings& rings = entry.second;
    return rings.session.use_count() == 1 && rings.session->links.size() == 1 && rings.user.use_count() == 2 &&
           rings.user->links.empty();
  });
}

// Of the real uid (Linux: look_up_user_keyrings).
Result<Keys::UserKeyrings> Keys::OfUser(Task& task) {
  const Credentials& creds = task.creds();
  const std::pair<uint64_t, uint32_t> who{creds.user_ns->number(), creds.uid};
  if (const auto it = users_.find(who); it != users_.end()) return it->second;
  if (users_.size() >= kMostUsers) ForgetUnusedUsers();
  constexpr uint32_t kRights = ForPossessor(kKeyAllRights & ~kKeySetAttr) | ForUser(kKeyAllRights);
  const uint32_t shown = creds.ShownUid(creds.uid);
  UserKeyrings rings;
  rings.user = TRY(MakeKeyring(task, StrPrintf("_uid.%u", shown), kRights, Key::Quota::kOverrun));
  rings.session = TRY(MakeKeyring(task, StrPrintf("_uid_ses.%u", shown), kRights, Key::Quota::kOverrun));
  for (const KeyPtr& ring : {rings.user, rings.session}) {
    ring->of_user = true;
    ring->uid = creds.uid;
    ring->gid = UINT32_MAX;  // no group's
  }
  TRY(LinkTo(*rings.session, rings.user));
  users_[who] = rings;
  return rings;
}

KeyPtr Keys::ExistingUserSession(Task& task) {
  const auto it = users_.find({task.creds().user_ns->number(), task.creds().uid});
  return it == users_.end() ? nullptr : it->second.session;
}

Result<void> Keys::CheckPayload(const KeyType& type, std::string_view description, std::string_view payload) {
  if (type.keyring) return payload.empty() ? Result<void>() : Err(EINVAL);
  if (payload.empty() || payload.size() > kMaxPayload) return Err(EINVAL);
  // "logon" descriptions are "subclass:name".
  if (!type.readable && (description.find(':') == std::string_view::npos || description.starts_with(':'))) {
    return Err(EINVAL);
  }
  return {};
}

Result<void> Keys::Fill(Key& key, std::string payload) {
  if (key.type.keyring) return {};
  TRY(key.Reserve(payload.size()));
  key.payload = std::move(payload);
  key.error = 0;
  key.expiry = 0;
  return {};
}

KeyPtr* Keys::FindLink(Key& keyring, const KeyType& type, std::string_view description) {
  for (KeyPtr& link : keyring.links) {
    if (&link->type == &type && link->description == description) return &link;
  }
  return nullptr;
}

bool Keys::Reaches(const Key& from, const Key& target, int depth, bool* too_deep) {
  if (&from == &target) return true;
  if (depth >= kMostDepth) {
    *too_deep = true;
    return false;
  }
  for (const KeyPtr& link : from.links) {
    if (link->type.keyring && Reaches(*link, target, depth + 1, too_deep)) return true;
  }
  return false;
}

// Displaces what has the same type and description there (Linux: key_link). ENOTDIR, EKEYREVOKED, EDEADLK for a circle,
// ELOOP, EDQUOT, EPERM on a restricted keyring.
Result<void> Keys::LinkTo(Key& keyring, const KeyPtr& key) {
  if (!keyring.type.keyring) return Err(ENOTDIR);
  if (keyring.revoked) return Err(EKEYREVOKED);
  if (keyring.restricted) return Err(EPERM);
  if (key->type.keyring) {
    bool too_deep = false;
    if (Reaches(*key, keyring, 0, &too_deep)) return Err(EDEADLK);
    if (too_deep) return Err(ELOOP);
  }
  if (KeyPtr* const there = FindLink(keyring, key->type, key->description)) {
    *there = key;
    return {};
  }
  TRY(keyring.Reserve((keyring.links.size() + 1) * kLinkBytes));
  keyring.links.push_back(key);
  return {};
}

Result<int32_t> Keys::Add(Task& task, std::string_view type, const std::optional<std::string>& description,
                          std::string payload, int32_t keyring) {
  MutexLock lock(mu_);
  const FoundKey ring = TRY(Lookup(task, keyring, {.create = true}, kKeyWrite));
  const KeyType* const kind = FindKeyType(type);
  if (kind == nullptr) return Err(ENODEV);
  if (!description) return Err(EINVAL);
  if (!ring.key->type.keyring) return Err(ENOTDIR);
  TRY(CheckPayload(*kind, *description, payload));
  if (ring.key->restricted) return Err(EPERM);
  if (KeyPtr* const there = kind->updatable ? FindLink(*ring.key, *kind, *description) : nullptr;
      there != nullptr && !(*there)->revoked && !(*there)->invalidated) {
    const KeyPtr old = *there;
    if (!Allows(task.creds(), {old, ring.possessed}, kKeyWrite)) return Err(EACCES);
    TRY(Fill(*old, std::move(payload)));
    return old->serial;
  }
  const KeyPtr key = TRY(Make(task, *kind, *description, DefaultPermissions(*kind), Key::Quota::kCounted));
  TRY(Fill(*key, std::move(payload)));
  TRY(LinkTo(*ring.key, key));
  return key->serial;
}

// Where a requested key goes when the caller names no keyring (Linux: construct_get_dest_keyring). Null = nowhere.
Result<KeyPtr> Keys::DefaultDestination(Task& task) {
  const TaskKeyrings& own = task.keyrings;
  KeyPtr to;
  switch (own.destination) {
    case KEY_REQKEY_DEFL_DEFAULT:
    case KEY_REQKEY_DEFL_REQUESTOR_KEYRING:
      to = own.thread != nullptr                     ? own.thread
           : task.group().process_keyring != nullptr ? task.group().process_keyring
           : own.session != nullptr                  ? own.session
                                                     : TRY(OfUser(task)).session;
      break;
    case KEY_REQKEY_DEFL_THREAD_KEYRING:
      to = own.thread;
      break;
    case KEY_REQKEY_DEFL_PROCESS_KEYRING:
      to = task.group().process_keyring;
      break;
    case KEY_REQKEY_DEFL_SESSION_KEYRING:
      to = own.session;
      break;
    case KEY_REQKEY_DEFL_USER_KEYRING:
      to = TRY(OfUser(task)).user;
      break;
    default:
      to = TRY(OfUser(task)).session;
      break;
  }
  if (to != nullptr && !Allows(task.creds(), {to, true}, kKeyWrite)) return Err(EACCES);
  return to;
}

Result<int32_t> Keys::Request(Task& task, std::string_view type, const std::string& description, bool callout,
                              int32_t destination) {
  MutexLock lock(mu_);
  KeyPtr to;
  if (destination != 0) to = TRY(Lookup(task, destination, {.create = true}, kKeyWrite)).key;
  const KeyType* const kind = FindKeyType(type);
  if (kind == nullptr) return Err(ENOKEY);
  const auto found = SearchOwn(task, {.type = kind, .description = description});
  if (found.ok()) {
    if (to != nullptr) {
      if (!Allows(task.creds(), *found, kKeyLink)) return Err(EACCES);
      TRY(LinkTo(*to, found->key));
    }
    return found->key->serial;
  }
  if (!found.Is(EAGAIN)) return found.error();
  if (!callout) return Err(ENOKEY);
  if (to == nullptr) to = TRY(DefaultDestination(task));
  const KeyPtr key = TRY(Make(task, *kind, description, DefaultPermissions(*kind), Key::Quota::kCounted));
  key->error = ENOKEY;
  key->expiry = RealtimeNowNs() / 1'000'000'000 + kNegativeSeconds;
  if (to != nullptr) TRY(LinkTo(*to, key));
  return Err(ENOKEY);
}

Result<int32_t> Keys::JoinSession(Task& task, const std::optional<std::string>& name) {
  const std::vector<KeyPtr> all = name ? All() : std::vector<KeyPtr>();
  KeyPtr old;  // ends without the lock
  MutexLock lock(mu_);
  old = task.keyrings.session;
  if (!name) {
    TRY(NewSession(task));
    return task.keyrings.session->serial;
  }
  for (const KeyPtr& key : all) {
    if (!key->type.keyring || key->revoked || key->of_user || key->description != *name) continue;
    if (!Allows(task.creds(), {key, false}, kKeySearch)) continue;
    task.keyrings.session = key;
    return key->serial;
  }
  task.keyrings.session = TRY(MakeKeyring(
      task, *name, ForPossessor(kKeyAllRights) | ForUser(kKeyView | kKeyRead | kKeyLink), Key::Quota::kCounted));
  return task.keyrings.session->serial;
}

Result<void> Keys::Update(Task& task, int32_t id, std::string payload) {
  MutexLock lock(mu_);
  Key& key = *TRY(Lookup(task, id, {}, kKeyWrite)).key;
  if (!key.type.updatable) return Err(EOPNOTSUPP);
  TRY(CheckPayload(key.type, key.description, payload));
  return Fill(key, std::move(payload));
}

Result<void> Keys::Revoke(Task& task, int32_t id) {
  std::vector<KeyPtr> links;  // end without the lock
  MutexLock lock(mu_);
  auto found = Lookup(task, id, {}, kKeyWrite);
  if (found.Is(EACCES)) found = Lookup(task, id, {}, kKeySetAttr);
  if (!found.ok()) return found.error();
  Key& key = *found->key;
  key.revoked = true;
  key.payload.clear();
  links.swap(key.links);
  (void)key.Reserve(0);
  return {};
}

Result<void> Keys::Invalidate(Task& task, int32_t id) {
  const std::vector<KeyPtr> all = All();
  KeyPtr key;
  MutexLock lock(mu_);
  key = TRY(Lookup(task, id, {}, kKeySearch)).key;
  key->invalidated = true;
  // Linux's garbage collector: nobody holds it any more.
  for (const KeyPtr& ring : all) {
    if (std::erase(ring->links, key) != 0) (void)ring->Reserve(ring->links.size() * kLinkBytes);
  }
  return {};
}

Result<void> Keys::Chown(Task& task, int32_t id, uint32_t uid, uint32_t gid) {
  MutexLock lock(mu_);
  Key& key = *TRY(Lookup(task, id, {.create = true, .partial = true}, kKeySetAttr)).key;
  if (!task.creds().Has(CAP_SYS_ADMIN)) {
    if (uid != UINT32_MAX && uid != key.uid) return Err(EACCES);
    if (gid != UINT32_MAX && gid != key.gid && !task.creds().InGroup(gid)) return Err(EACCES);
  }
  if (uid != UINT32_MAX && uid != key.uid) {
    TRY(key.MoveTo(UserOf(uid)));
    key.uid = uid;
  }
  if (gid != UINT32_MAX) key.gid = gid;
  return {};
}

Result<void> Keys::SetPermissions(Task& task, int32_t id, uint32_t permissions) {
  MutexLock lock(mu_);
  Key& key = *TRY(Lookup(task, id, {.create = true, .partial = true}, kKeySetAttr)).key;
  if (key.uid != task.creds().fsuid && !task.creds().Has(CAP_SYS_ADMIN)) return Err(EACCES);
  key.permissions = permissions;
  return {};
}

Result<void> Keys::Clear(Task& task, int32_t keyring) {
  std::vector<KeyPtr> links;  // end without the lock
  MutexLock lock(mu_);
  Key& ring = *TRY(Lookup(task, keyring, {.create = true}, kKeyWrite)).key;
  if (!ring.type.keyring) return Err(ENOTDIR);
  links.swap(ring.links);
  return ring.Reserve(0);
}

Result<void> Keys::Link(Task& task, int32_t id, int32_t keyring) {
  MutexLock lock(mu_);
  const FoundKey ring = TRY(Lookup(task, keyring, {.create = true}, kKeyWrite));
  return LinkTo(*ring.key, TRY(Lookup(task, id, {.create = true}, kKeyLink)).key);
}

Result<void> Keys::Unlink(Task& task, int32_t id, int32_t keyring) {
  KeyPtr key;  // may end without the lock
  MutexLock lock(mu_);
  Key& ring = *TRY(Lookup(task, keyring, {}, kKeyWrite)).key;
  key = TRY(Lookup(task, id, {.partial = true}, kForUnlink)).key;
  if (!ring.type.keyring) return Err(ENOTDIR);
  if (std::erase(ring.links, key) == 0) return Err(ENOENT);
  return ring.Reserve(ring.links.size() * kLinkBytes);
}

Result<void> Keys::Move(Task& task, int32_t id, int32_t from, int32_t to, bool exclusive) {
  MutexLock lock(mu_);
  const KeyPtr key = TRY(Lookup(task, id, {.create = true}, kKeyLink)).key;
  Key& source = *TRY(Lookup(task, from, {}, kKeyWrite)).key;
  Key& target = *TRY(Lookup(task, to, {.create = true}, kKeyWrite)).key;
  if (&source == &target) return {};
  if (!source.type.keyring || !target.type.keyring) return Err(ENOTDIR);
  if (std::find(source.links.begin(), source.links.end(), key) == source.links.end()) return Err(ENOENT);
  if (exclusive && FindLink(target, key->type, key->description) != nullptr) return Err(EEXIST);
  TRY(LinkTo(target, key));
  std::erase(source.links, key);
  return source.Reserve(source.links.size() * kLinkBytes);
}

Result<int> Keys::SetDestination(Task& task, int which) {
  MutexLock lock(mu_);
  const int old = task.keyrings.destination;
  switch (which) {
    case KEY_REQKEY_DEFL_NO_CHANGE:
      return old;
    case KEY_REQKEY_DEFL_THREAD_KEYRING:
      (void)TRY(Special(task, KEY_SPEC_THREAD_KEYRING, {.create = true}));
      break;
    case KEY_REQKEY_DEFL_PROCESS_KEYRING:
      (void)TRY(Special(task, KEY_SPEC_PROCESS_KEYRING, {.create = true}));
      break;
    case KEY_REQKEY_DEFL_DEFAULT:
    case KEY_REQKEY_DEFL_SESSION_KEYRING:
    case KEY_REQKEY_DEFL_USER_KEYRING:
    case KEY_REQKEY_DEFL_USER_SESSION_KEYRING:
    case KEY_REQKEY_DEFL_REQUESTOR_KEYRING:
      break;
    default:
      return Err(EINVAL);
  }
  task.keyrings.destination = which;
  return old;
}

Result<void> Keys::SetTimeout(Task& task, int32_t id, uint32_t seconds) {
  MutexLock lock(mu_);
  Key& key = *TRY(Lookup(task, id, {.create = true, .partial = true}, kKeySetAttr)).key;
  key.expiry = seconds == 0 ? 0 : RealtimeNowNs() / 1'000'000'000 + seconds;
  return {};
}

// Only "nothing more may be linked": no type here has a rule of its own.
Result<void> Keys::Restrict(Task& task, int32_t keyring, const std::optional<std::string>& type) {
  MutexLock lock(mu_);
  Key& ring = *TRY(Lookup(task, keyring, {}, kKeySetAttr)).key;
  if (!ring.type.keyring) return Err(ENOTDIR);
  if (type) return Err(FindKeyType(*type) == nullptr ? ENOKEY : ENOENT);
  if (ring.restricted) return Err(EEXIST);
  ring.restricted = true;
  return {};
}

// KEYCTL_SESSION_TO_PARENT: to a parent that is the same user's and has one thread.
Result<void> Keys::SessionToParent(Task& task) {
  const ThreadGroupRef parent_group = task.group().parent();
  const TaskRef parent = parent_group != nullptr ? parent_group->leader() : nullptr;
  KeyPtr old;
  MutexLock lock(mu_);
  const KeyPtr session = TRY(Lookup(task, KEY_SPEC_SESSION_KEYRING, {}, kKeyLink)).key;
  if (parent == nullptr || parent_group->thread_count() != 1 || parent_group->tgid() <= 1) return Err(EPERM);
  if (parent->keyrings.session == session) return {};
  const Credentials& mine = task.creds();
  const CredentialsRef theirs = parent->creds_ref();
  const auto all = [](uint32_t id, uint32_t a, uint32_t b, uint32_t c) { return a == id && b == id && c == id; };
  if (!all(mine.euid, theirs->uid, theirs->euid, theirs->suid) ||
      !all(mine.egid, theirs->gid, theirs->egid, theirs->sgid)) {
    return Err(EPERM);
  }
  if (session->uid != mine.euid ||
      (parent->keyrings.session != nullptr && parent->keyrings.session->uid != mine.euid)) {
    return Err(EPERM);
  }
  old = std::exchange(parent->keyrings.session, session);
  return {};
}

}  // namespace sandbox
