#include <array>

#include "sentry/core/context.h"
#include "sentry/kernel/keys.h"

namespace sandbox {
namespace {

constexpr std::array<KeyType, 3> kTypes = {{
    {.name = "user", .readable = true, .updatable = true, .keyring = false},
    {.name = "logon", .readable = false, .updatable = true, .keyring = false},
    {.name = "keyring", .readable = true, .updatable = false, .keyring = true},
}};

// Lets go of keys one after the other: a chain of keyrings may be longer than the stack is deep.
void Release(std::vector<KeyPtr> keys) {
  thread_local std::vector<KeyPtr>* pending = nullptr;
  if (pending != nullptr) {
    for (KeyPtr& key : keys) pending->push_back(std::move(key));
    return;
  }
  pending = &keys;
  while (!keys.empty()) {
    const KeyPtr key = std::move(keys.back());
    keys.pop_back();
  }
  pending = nullptr;
}

}  // namespace

const KeyType* FindKeyType(std::string_view name) {
  for (const KeyType& type : kTypes) {
    if (name == type.name) return &type;
  }
  return nullptr;
}

Key::Key(int32_t number, const KeyType& kind, std::string text, RefPtr<KeyUser> user)
    : serial(number), type(kind), description(std::move(text)), user_(std::move(user)) {
  user_->keys.fetch_add(1);
}

Key::~Key() {
  user_->keys.fetch_sub(1);
  if (counted()) {
    user_->counted_keys.fetch_sub(1);
    user_->counted_bytes.fetch_sub(Bytes());
  }
  Keys& keys = Keys::Get();
  {
    MutexLock lock(keys.table_mu_);
    keys.table_.erase(serial);
  }
  Release(std::move(links));
}

bool Key::Expired() const { return expiry != 0 && RealtimeNowNs() / 1'000'000'000 >= expiry; }

Result<void> Key::Validate() const {
  if (invalidated) return Err(ENOKEY);
  if (revoked) return Err(EKEYREVOKED);
  if (Expired()) return Err(EKEYEXPIRED);
  return {};
}

namespace {

// Whether `user` may have so many more; root's own limits are in the sandbox's initial namespace.
bool Fits(const KeyUser& user, int64_t keys, int64_t bytes) {
  const KeyLimits& limits = Keys::Get().limits();
  const bool root = user.uid == 0;
  const int64_t most_keys = root ? limits.root_max_keys.load() : limits.max_keys.load();
  const int64_t most_bytes = root ? limits.root_max_bytes.load() : limits.max_bytes.load();
  return user.counted_keys.load() + keys <= most_keys && user.counted_bytes.load() + bytes <= most_bytes;
}

}  // namespace

Result<void> Key::Count(Quota quota) {
  if (quota == Quota::kNone) return {};
  if (quota == Quota::kCounted && !Fits(*user_, 1, Bytes())) return Err(EDQUOT);
  quota_ = quota;
  user_->counted_keys.fetch_add(1);
  user_->counted_bytes.fetch_add(Bytes());
  return {};
}

Result<void> Key::Reserve(size_t bytes) {
  if (counted()) {
    const int64_t more = static_cast<int64_t>(bytes) - static_cast<int64_t>(reserved_);
    // Linux bounds the payloads of thread and process keyrings too (key_payload_reserve).
    if (more > 0 && !Fits(*user_, 0, more)) return Err(EDQUOT);
    user_->counted_bytes.fetch_add(more);
  }
  reserved_ = bytes;
  return {};
}

Result<void> Key::MoveTo(RefPtr<KeyUser> user) {
  if (counted()) {
    if (!Fits(*user, 1, Bytes())) return Err(EDQUOT);
    user->counted_keys.fetch_add(1);
    user->counted_bytes.fetch_add(Bytes());
    user_->counted_keys.fetch_sub(1);
    user_->counted_bytes.fetch_sub(Bytes());
  }
  user->keys.fetch_add(1);
  user_->keys.fetch_sub(1);
  user_ = std::move(user);
  return {};
}

}  // namespace sandbox
