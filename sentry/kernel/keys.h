// Keys and keyrings (keyrings(7); Linux: security/keys). A key exists as long as a keyring holds it; the outermost
// keyrings belong to a thread, a process, a session or a user.
//
// One lock guards all of them: what is done with keys is short and rare, and a search looks at many.
//
//   keys.cc         finding keys, permission      keys_change.cc   making, linking, attributes
//   key.cc          one key, its share of its user's quota
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/credentials.h"

namespace sandbox {

class Key;
class Keys;
class Task;
using KeyPtr = RefPtr<Key>;

struct KeyType {
  const char* name;
  bool readable, updatable, keyring;
};
// "user", "logon" and "keyring"; null for others.
const KeyType* FindKeyType(std::string_view name);

// One class's part of a permission mask (KEY_OTH_* of <keyutils.h>; the others are shifted by 8, 16 and 24).
enum KeyRight : uint32_t {
  kKeyView = 0x01,
  kKeyRead = 0x02,
  kKeyWrite = 0x04,
  kKeySearch = 0x08,
  kKeyLink = 0x10,
  kKeySetAttr = 0x20,
  kKeyAllRights = 0x3f
};

// How many keys a user has, and how many bytes they count for (/proc/key-users).
struct KeyUser {
  explicit KeyUser(uint32_t id) : uid(id) {}
  const uint32_t uid;
  std::atomic<int64_t> keys{0}, counted_keys{0}, counted_bytes{0};
};

// State is guarded by the lock of Keys.
class Key : public RefFromThis<Key> {
 public:
  enum class Quota {
    kNone,
    kCounted,  // refused beyond the quota
    kOverrun,  // counted, never refused
  };
  Key(int32_t serial, const KeyType& type, std::string description, RefPtr<KeyUser> user);
  ~Key();

  const int32_t serial;
  const KeyType& type;
  const std::string description;
  uint32_t uid = 0, gid = 0;
  uint32_t permissions = 0;
  int64_t expiry = 0;  // seconds of CLOCK_REALTIME; 0 = never
  int error = 0;       // of a negative key: what asking for it gives
  bool revoked = false, invalidated = false;
  bool of_user = false;     // a user's or a user's session keyring
  bool restricted = false;  // takes no more links
  std::string payload;
  std::vector<KeyPtr> links;  // of a keyring

  bool Expired() const;
  // ENOKEY invalidated, EKEYREVOKED, EKEYEXPIRED.
  Result<void> Validate() const;
  // Bytes that it is to count for beside its description. EDQUOT.
  Result<void> Reserve(size_t bytes);
  // Counts it, EDQUOT; and moves the count to another user.
  Result<void> Count(Quota quota);
  Result<void> MoveTo(RefPtr<KeyUser> user);
  bool counted() const { return quota_ != Quota::kNone; }

 private:
  int64_t Bytes() const { return static_cast<int64_t>(description.size() + 1 + reserved_); }

  RefPtr<KeyUser> user_;
  Quota quota_ = Quota::kNone;
  size_t reserved_ = 0;
};

// A key as it was found: whether through the caller's own keyrings (Linux: key_ref_t).
struct FoundKey {
  KeyPtr key;
  bool possessed = false;
};

// The keyrings of a thread; guarded by the lock of Keys.
struct TaskKeyrings {
  KeyPtr thread, session;
  int destination = 0;  // KEY_REQKEY_DEFL_*: where requested keys go
};

// Limits of one user (/proc/sys/kernel/keys).
struct KeyLimits {
  std::atomic<int64_t> max_keys{200}, max_bytes{20'000};
  std::atomic<int64_t> root_max_keys{1'000'000}, root_max_bytes{25'000'000};
};

class Keys {
 public:
  static Keys& Get();
  KeyLimits& limits() { return limits_; }

  // Life of tasks.
  void Inherit(Task& parent, Task& child);  // clone
  void LeaveImage(Task& task);              // exec

  // add_key(2) and request_key(2): the serial number. `description` is nullopt for none. `callout`: a key that is not
  // there is to be made by a helper program, which there is none of: it becomes a negative one.
  Result<int32_t> Add(Task& task, std::string_view type, const std::optional<std::string>& description,
                      std::string payload, int32_t keyring);
  Result<int32_t> Request(Task& task, std::string_view type, const std::string& description, bool callout,
                          int32_t destination);

  // keyctl(2). Keys and keyrings are serial numbers or KEY_SPEC_*.
  Result<int32_t> KeyringId(Task& task, int32_t id, bool create);
  Result<int32_t> JoinSession(Task& task, const std::optional<std::string>& name);
  Result<void> Update(Task& task, int32_t id, std::string payload);
  Result<void> Revoke(Task& task, int32_t id);
  Result<void> Invalidate(Task& task, int32_t id);
  Result<void> Chown(Task& task, int32_t id, uint32_t uid, uint32_t gid);  // of the initial namespace; -1 = as is
  Result<void> SetPermissions(Task& task, int32_t id, uint32_t permissions);
  Result<std::string> Describe(Task& task, int32_t id);
  Result<void> CheckVisible(Task& task, int32_t id);  // KEYCTL_GET_SECURITY
  Result<void> Clear(Task& task, int32_t keyring);
  Result<void> Link(Task& task, int32_t id, int32_t keyring);
  Result<void> Unlink(Task& task, int32_t id, int32_t keyring);
  Result<void> Move(Task& task, int32_t id, int32_t from, int32_t to, bool exclusive);
  Result<int32_t> Search(Task& task, int32_t keyring, std::string_view type, const std::string& description,
                         int32_t destination);
  Result<std::string> Read(Task& task, int32_t id);
  Result<int> SetDestination(Task& task, int which);  // the old one; EINVAL
  Result<void> SetTimeout(Task& task, int32_t id, uint32_t seconds);
  Result<void> Restrict(Task& task, int32_t keyring, const std::optional<std::string>& type);
  Result<void> SessionToParent(Task& task);

  // /proc/keys and /proc/key-users, as `task` may see them.
  std::string KeysText(Task& task);
  std::string UsersText(Task& task);

 private:
  friend class Key;
  struct Query {
    const KeyType* type = nullptr;
    std::string_view description;
    const Key* exact = nullptr;  // this one, whatever its state
  };
  struct LookupFlags {
    bool create = false;   // thread, process and session keyrings that are not there yet
    bool partial = false;  // also a negative or expired one
  };
  // What Lookup asks for beside KeyRight.
  static constexpr uint32_t kAnyRight = 0;        // permission is looked at later
  static constexpr uint32_t kForUnlink = 1 << 8;  // neither permission nor state matters

  // --- keys.cc ---
  Result<FoundKey> Lookup(Task& task, int32_t id, LookupFlags flags, uint32_t right) REQUIRES(mu_);
  Result<FoundKey> Special(Task& task, int32_t id, LookupFlags flags) REQUIRES(mu_);
  KeyPtr BySerial(int32_t serial);
  Result<FoundKey> SearchOwn(Task& task, const Query& query) REQUIRES(mu_);
  Result<FoundKey> SearchKeyring(Task& task, const FoundKey& keyring, const Query& query) REQUIRES(mu_);
  bool SearchNested(Task& task, const FoundKey& keyring, const Query& query, int depth, Result<FoundKey>* result)
      REQUIRES(mu_);
  bool Consider(Task& task, const FoundKey& candidate, const Query& query, Result<FoundKey>* result) REQUIRES(mu_);
  static bool Allows(const Credentials& creds, const FoundKey& found, uint32_t right);
  bool Possesses(Task& task, const Key& key) REQUIRES(mu_);
  std::vector<KeyPtr> All();
  std::string KeyLine(Task& task, const KeyPtr& key) REQUIRES(mu_);

  // --- keys_change.cc ---
  struct UserKeyrings {
    KeyPtr user, session;
  };
  Result<UserKeyrings> OfUser(Task& task) REQUIRES(mu_);
  KeyPtr ExistingUserSession(Task& task) REQUIRES(mu_);
  RefPtr<KeyUser> UserOf(uint32_t uid) REQUIRES(mu_);
  Result<KeyPtr> Make(Task& task, const KeyType& type, std::string description, uint32_t permissions, Key::Quota quota)
      REQUIRES(mu_);
  Result<KeyPtr> MakeKeyring(Task& task, std::string description, uint32_t permissions, Key::Quota quota) REQUIRES(mu_);
  Result<void> NewSession(Task& task) REQUIRES(mu_);
  static Result<void> CheckPayload(const KeyType& type, std::string_view description, std::string_view payload);
  static Result<void> Fill(Key& key, std::string payload);
  Result<void> LinkTo(Key& keyring, const KeyPtr& key) REQUIRES(mu_);
  static KeyPtr* FindLink(Key& keyring, const KeyType& type, std::string_view description);
  static bool Reaches(const Key& from, const Key& target, int depth, bool* too_deep);
  Result<KeyPtr> DefaultDestination(Task& task) REQUIRES(mu_);
  void ForgetUnusedUsers() REQUIRES(mu_);

  KeyLimits limits_;
  Mutex mu_{LockRank::kIpc};
  std::map<std::pair<uint64_t, uint32_t>, UserKeyrings> users_ GUARDED_BY(mu_);  // user namespace and uid
  std::map<uint32_t, WeakRef<KeyUser>> counts_ GUARDED_BY(mu_);                  // by uid

  // Every key that exists; a lock of its own, since keys end wherever their last holder does.
  Mutex table_mu_{LockRank::kLeaf};
  std::map<int32_t, WeakRef<Key>> table_ GUARDED_BY(table_mu_);
};

}  // namespace sandbox
