// User namespaces (user_namespaces(7), Linux: struct user_namespace). Ids inside the sentry are always those of the
// initial namespace (Linux: kuid_t); they are translated where a guest names or sees one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "sentry/core/namespace.h"

namespace sandbox {

struct Credentials;

enum class IdKind { kUser, kGroup };

class UserNamespace final : public Namespace {
 public:
  static constexpr uint32_t kOverflowId = 65534;  // what an id without a name here is shown as

  static const RefPtr<UserNamespace>& Root();
  // A child of `maker`'s. ENOSPC beyond 32 levels, EPERM when the maker's own ids have no name in the parent.
  static Result<RefPtr<UserNamespace>> Make(const Credentials& maker);
  UserNamespace(RefPtr<UserNamespace> parent, uint32_t owner_uid, uint32_t owner_gid);

  const RefPtr<UserNamespace>& parent() const { return owner(); }
  RefPtr<Namespace> outer() const override { return owner(); }
  int level() const { return level_; }
  uint32_t owner_uid() const { return owner_uid_; }  // the euid that made it
  bool initial() const { return level_ == 0; }
  bool IsWithin(const UserNamespace& outer) const;

  // An id as seen here, and the id behind what is written here; nullopt when it has none.
  std::optional<uint32_t> Seen(IdKind kind, uint32_t id) const;
  std::optional<uint32_t> Actual(IdKind kind, uint32_t id) const;
  uint32_t Shown(IdKind kind, uint32_t id) const { return Seen(kind, id).value_or(kOverflowId); }

  // /proc/PID/uid_map and gid_map: written once, by whoever the rules let; `opener` opened the file. EPERM, EINVAL.
  Result<void> SetMap(IdKind kind, std::string_view text, const Credentials& opener, const Credentials& writer);
  std::string MapText(IdKind kind, const UserNamespace& reader) const;
  // Of the initial namespace, before the first guest instruction: what MapText is to say to those in it, who may look
  // for the ids of the host behind theirs. Nothing else comes of it.
  void ShowMap(IdKind kind, std::string text);

  // /proc/PID/setgroups. EPERM: forbidding it after gid_map was written, allowing it again.
  bool MaySetGroups() const;  // setgroups(2): allowed, and there are groups
  std::string SetgroupsText() const;
  Result<void> SetSetgroups(std::string_view text);

 private:
  struct InitialTag {};
  explicit UserNamespace(InitialTag);
  struct Extent {
    uint32_t first, lower, count;
  };
  struct Map {
    std::vector<Extent> extents;  // `lower` in the initial namespace
  };
  const Map& MapOf(IdKind kind) const TSA(requires_capability(mu_)) { return kind == IdKind::kUser ? users_ : groups_; }
  static Result<std::vector<Extent>> Parse(std::string_view text);
  bool MayMap(IdKind kind, const std::vector<Extent>& wanted, const Credentials& opener,
              const Credentials& writer) const;

  const int level_;
  const uint32_t owner_uid_, owner_gid_;
  mutable Mutex mu_{LockRank::kLeaf};
  Map users_ GUARDED_BY(mu_), groups_ GUARDED_BY(mu_);
  std::string shown_users_ GUARDED_BY(mu_), shown_groups_ GUARDED_BY(mu_);  // ShowMap; empty = the maps are
  bool setgroups_allowed_ GUARDED_BY(mu_) = true;
};

}  // namespace sandbox
