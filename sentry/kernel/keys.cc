#include "sentry/kernel/keys.h"

#include <linux/keyctl.h>

#include "base/log.h"
#include "sentry/kernel/task.h"

namespace sandbox {
namespace {

constexpr int kMostDepth = 6;  // KEYRING_SEARCH_MAX_DEPTH

}  // namespace

Keys& Keys::Get() {
  static auto& keys = *new Keys;
  return keys;
}

KeyPtr Keys::BySerial(int32_t serial) {
  MutexLock lock(table_mu_);
  const auto it = table_.find(serial);
  return it == table_.end() ? nullptr : it->second.lock();
}

std::vector<KeyPtr> Keys::All() {
  std::vector<KeyPtr> all;
  MutexLock lock(table_mu_);
  for (const auto& [serial, weak] : table_) {
    if (KeyPtr key = weak.lock()) all.push_back(std::move(key));
  }
  return all;
}

// Linux: key_task_permission. The possessor's rights come on top of one of the others.
bool Keys::Allows(const Credentials& creds, const FoundKey& found, uint32_t right) {
  const Key& key = *found.key;
  uint32_t given = key.permissions;
  if (key.uid == creds.fsuid) {
    given >>= 16;
  } else if ((key.permissions & (kKeyAllRights << 8)) != 0 && creds.InGroup(key.gid)) {
    given >>= 8;
  }
  if (found.possessed) given |= key.permissions >> 24;
  return (given & right) == right;
}

// One key of a search. True ends it; otherwise `result` may have become a better error than before.
bool Keys::Consider(Task& task, const FoundKey& candidate, const Query& query, Result<FoundKey>* result) {
  const Key& key = *candidate.key;
  if (query.exact != nullptr) {
    if (&key != query.exact) return false;
    const bool allowed = Allows(task.creds(), candidate, kKeySearch);
    *result = allowed ? Result<FoundKey>(candidate) : Err(EACCES);
    return allowed;
  }
  if (&key.type != query.type || key.description != query.description) return false;
  if (key.invalidated || key.revoked) {
    *result = Err(EKEYREVOKED);
  } else if (key.Expired()) {
    *result = Err(EKEYEXPIRED);
  } else if (!Allows(task.creds(), candidate, kKeySearch)) {
    *result = Err(EACCES);
  } else if (key.error != 0) {
    *result = Err(key.error);
  } else {
    *result = candidate;
    return true;
  }
  return false;
}

bool Keys::SearchNested(Task& task, const FoundKey& keyring, const Query& query, int depth, Result<FoundKey>* result) {
  const Key& ring = *keyring.key;
  if (ring.revoked || ring.invalidated) return false;
  // What lies in it comes before what lies deeper.
  for (const KeyPtr& key : ring.links) {
    if (Consider(task, {key, keyring.possessed}, query, result)) return true;
  }
  if (depth >= kMostDepth) return false;
  for (const KeyPtr& key : ring.links) {
    if (!key->type.keyring) continue;
    const FoundKey inner{key, keyring.possessed};
    if (Allows(task.creds(), inner, kKeySearch) && SearchNested(task, inner, query, depth + 1, result)) return true;
  }
  return false;
}

// EAGAIN when there is no such key; EACCES, EKEYREVOKED, EKEYEXPIRED when there is one.
Result<FoundKey> Keys::SearchKeyring(Task& task, const FoundKey& keyring, const Query& query) {
  if (!keyring.key->type.keyring) return Err(ENOTDIR);
  if (!Allows(task.creds(), keyring, kKeySearch)) return Err(EACCES);
  Result<FoundKey> result = Err(EAGAIN);
  if (Consider(task, keyring, query, &result)) return result;
  (void)SearchNested(task, keyring, query, 0, &result);
  return result;
}

// The thread's, the process's and the session's keyrings (Linux: search_cred_keyrings_rcu). "Not there" in an earlier
// one outweighs what is wrong with the key in a later one.
Result<FoundKey> Keys::SearchOwn(Task& task, const Query& query) {
  KeyPtr session = task.keyrings.session;
  if (session == nullptr) session = ExistingUserSession(task);
  std::optional<Errno> absent;
  Errno wrong = Err(EAGAIN);
  for (const KeyPtr& keyring : {task.keyrings.thread, task.group().process_keyring, session}) {
    if (keyring == nullptr) continue;
    auto found = SearchKeyring(task, {keyring, true}, query);
    if (found.ok()) return found;
    if (found.Is(EAGAIN)) {
      if (!absent) absent = found.error();
    } else if (found.Is(ENOKEY)) {
      absent = found.error();
    } else {
      wrong = found.error();
    }
  }
  return absent.value_or(wrong);
}

bool Keys::Possesses(Task& task, const Key& key) { return SearchOwn(task, {.exact = &key}).ok(); }

Result<FoundKey> Keys::Special(Task& task, int32_t id, LookupFlags flags) {
  constexpr uint32_t kOwn = kKeyAllRights << 24 | kKeyView << 16;
  switch (id) {
    case KEY_SPEC_THREAD_KEYRING:
      if (task.keyrings.thread == nullptr) {
        if (!flags.create) return Err(ENOKEY);
        task.keyrings.thread = TRY(MakeKeyring(task, "_tid", kOwn, Key::Quota::kOverrun));
      }
      return FoundKey{task.keyrings.thread, true};
    case KEY_SPEC_PROCESS_KEYRING: {
      KeyPtr& own = task.group().process_keyring;
      if (own == nullptr) {
        if (!flags.create) return Err(ENOKEY);
        own = TRY(MakeKeyring(task, "_pid", kOwn, Key::Quota::kOverrun));
      }
      return FoundKey{own, true};
    }
    case KEY_SPEC_SESSION_KEYRING: {
      KeyPtr& own = task.keyrings.session;
      if (flags.create && (own == nullptr || own->of_user)) {
        TRY(NewSession(task));
      } else if (own == nullptr) {
        own = TRY(OfUser(task)).session;
      }
      return FoundKey{own, true};
    }
    case KEY_SPEC_USER_KEYRING:
      return FoundKey{TRY(OfUser(task)).user, true};
    case KEY_SPEC_USER_SESSION_KEYRING:
      return FoundKey{TRY(OfUser(task)).session, true};
    case KEY_SPEC_REQKEY_AUTH_KEY:
    case KEY_SPEC_REQUESTOR_KEYRING:
      return Err(ENOKEY);  // nobody makes a key on somebody's behalf
    default:
      return Err(EINVAL);
  }
}

// Linux: lookup_user_key.
Result<FoundKey> Keys::Lookup(Task& task, int32_t id, LookupFlags flags, uint32_t right) {
  FoundKey found;
  if (id < 0) {
    found = TRY(Special(task, id, flags));
  } else {
    if (id == 0) return Err(EINVAL);
    found.key = BySerial(id);
    if (found.key == nullptr) return Err(ENOKEY);
    found.possessed = Possesses(task, *found.key);
  }
  if (right == kForUnlink) return found;
  const Key& key = *found.key;
  if (!flags.partial && key.error != 0 && right != kAnyRight) return Err(key.error);
  if (right != kAnyRight) TRY(key.Validate());
  if (!Allows(task.creds(), found, right)) return Err(EACCES);
  return found;
}

Result<int32_t> Keys::KeyringId(Task& task, int32_t id, bool create) {
  MutexLock lock(mu_);
  return TRY(Lookup(task, id, {.create = create}, kKeySearch)).key->serial;
}

Result<int32_t> Keys::Search(Task& task, int32_t keyring, std::string_view type, const std::string& description,
                             int32_t destination) {
  MutexLock lock(mu_);
  const FoundKey from = TRY(Lookup(task, keyring, {}, kKeySearch));
  FoundKey to;
  if (destination != 0) to = TRY(Lookup(task, destination, {.create = true}, kKeyWrite));
  const KeyType* const kind = FindKeyType(type);
  if (kind == nullptr) return Err(ENOKEY);
  const auto found = SearchKeyring(task, from, {.type = kind, .description = description});
  if (found.Is(EAGAIN)) return Err(ENOKEY);  // also Linux's answer
  if (!found.ok()) return found.error();
  if (to.key != nullptr) {
    if (!Allows(task.creds(), *found, kKeyLink)) return Err(EACCES);
    TRY(LinkTo(*to.key, found->key));
  }
  return found->key->serial;
}

Result<std::string> Keys::Read(Task& task, int32_t id) {
  MutexLock lock(mu_);
  const auto looked = Lookup(task, id, {}, kAnyRight);
  if (!looked.ok()) return Err(ENOKEY);
  const Key& key = *looked->key;
  if (key.error != 0) return Err(key.error);
  // Whoever can find it by searching may read it too.
  if (!Allows(task.creds(), *looked, kKeyRead) && !looked->possessed) return Err(EACCES);
  if (!key.type.readable) return Err(EOPNOTSUPP);
  TRY(key.Validate());
  if (!key.type.keyring) return key.payload;
  std::string serials;
  for (const KeyPtr& link : key.links) {
    serials.append(reinterpret_cast<const char*>(&link->serial), sizeof(link->serial));
  }
  return serials;
}

Result<std::string> Keys::Describe(Task& task, int32_t id) {
  MutexLock lock(mu_);
  const Key& key = *TRY(Lookup(task, id, {.partial = true}, kKeyView)).key;
  return StrPrintf("%s;%u;%u;%08x;%s", key.type.name, task.creds().ShownUid(key.uid), task.creds().ShownGid(key.gid),
                   key.permissions, key.description.c_str());
}

Result<void> Keys::CheckVisible(Task& task, int32_t id) {
  MutexLock lock(mu_);
  (void)TRY(Lookup(task, id, {.partial = true}, kKeyView));
  return {};
}

namespace {

std::string TimeLeft(const Key& key) {
  if (key.expiry == 0) return "perm";
  if (key.Expired()) return "expd";
  const int64_t left = key.expiry - RealtimeNowNs() / 1'000'000'000;
  struct Unit {
    int64_t seconds, below;
    char name;
  };
  constexpr Unit kUnits[] = {
      {1, 60, 's'}, {60, 60 * 60, 'm'}, {60 * 60, 24 * 60 * 60, 'h'}, {24 * 60 * 60, 7 * 24 * 60 * 60, 'd'}};
  for (const Unit& unit : kUnits) {
    if (left < unit.below) return StrPrintf("%lld%c", static_cast<long long>(left / unit.seconds), unit.name);
  }
  return StrPrintf("%lldw", static_cast<long long>(left / (7 * 24 * 60 * 60)));
}

}  // namespace

std::string Keys::KeyLine(Task& task, const KeyPtr& key) {
  const bool possessed = (key->permissions & (kKeyView << 24)) != 0 && Possesses(task, *key);
  if (!Allows(task.creds(), {key, possessed}, kKeyView)) return {};
  std::string contents;
  if (key->error == 0 && key->type.keyring) {
    contents = key->links.empty() ? ": empty" : ": " + std::to_string(key->links.size());
  } else if (key->error == 0) {
    contents = ": " + std::to_string(key->payload.size());
  }
  return StrPrintf("%08x I%c-%c-%c%c %5ld %4s %08x %5u %5u %-9.9s ", static_cast<uint32_t>(key->serial),
                   key->revoked ? 'R' : '-', key->counted() ? 'Q' : '-', key->error != 0 ? 'N' : '-',
                   key->invalidated ? 'i' : '-', key.use_count(), TimeLeft(*key).c_str(), key->permissions,
                   task.creds().ShownUid(key->uid), task.creds().ShownGid(key->gid), key->type.name) +
         key->description + contents + "\n";
}

std::string Keys::KeysText(Task& task) {
  std::string text;
  const std::vector<KeyPtr> all = All();
  MutexLock lock(mu_);
  for (const KeyPtr& key : all) text += KeyLine(task, key);
  return text;
}

std::string Keys::UsersText(Task& task) {
  std::string text;
  MutexLock lock(mu_);
  for (const auto& [uid, weak] : counts_) {
    const RefPtr<KeyUser> user = weak.lock();
    if (user == nullptr) continue;
    const bool root = uid == 0;
    const auto number = [](const std::atomic<int64_t>& value) { return static_cast<long long>(value.load()); };
    text += StrPrintf("%5u: %5ld %lld/%lld %lld/%lld %lld/%lld\n", task.creds().ShownUid(uid), user.use_count() - 1,
                      number(user->keys), number(user->keys), number(user->counted_keys),
                      number(root ? limits_.root_max_keys : limits_.max_keys), number(user->counted_bytes),
                      number(root ? limits_.root_max_bytes : limits_.max_bytes));
  }
  return text;
}

}  // namespace sandbox
