#include "sentry/core/user_namespace.h"

#include <linux/capability.h>
#include <sched.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"
#include "sentry/core/credentials.h"

namespace sandbox {
namespace {

constexpr int kMostLevels = 32;
constexpr size_t kMostExtents = 340;
constexpr size_t kMostText = 4096;

}  // namespace

UserNamespace::UserNamespace(RefPtr<UserNamespace> parent, uint32_t owner_uid, uint32_t owner_gid)
    : Namespace(CLONE_NEWUSER, parent), level_(parent->level_ + 1), owner_uid_(owner_uid), owner_gid_(owner_gid) {
  MutexLock lock(parent->mu_);
  setgroups_allowed_ = parent->setgroups_allowed_;
}

UserNamespace::UserNamespace(InitialTag)
    : Namespace(CLONE_NEWUSER, nullptr, kInitialUser), level_(0), owner_uid_(0), owner_gid_(0) {
  users_.extents = groups_.extents = {{0, 0, ~uint32_t{0}}};
}

const RefPtr<UserNamespace>& UserNamespace::Root() {
  static const RefPtr<UserNamespace> root(new UserNamespace(InitialTag{}));
  return root;
}

Result<RefPtr<UserNamespace>> UserNamespace::Make(const Credentials& maker) {
  const UserNamespace& parent = *maker.user_ns;
  if (parent.level_ >= kMostLevels) return Err(ENOSPC);
  if (!parent.Seen(IdKind::kUser, maker.euid) || !parent.Seen(IdKind::kGroup, maker.egid)) return Err(EPERM);
  return MakeRef<UserNamespace>(maker.user_ns, maker.euid, maker.egid);
}

bool UserNamespace::IsWithin(const UserNamespace& outer) const {
  for (const UserNamespace* at = this; at != nullptr; at = at->parent().get()) {
    if (at == &outer) return true;
  }
  return false;
}

std::optional<uint32_t> UserNamespace::Seen(IdKind kind, uint32_t id) const {
  if (initial()) return id == ~uint32_t{0} ? std::nullopt : std::optional(id);
  MutexLock lock(mu_);
  for (const Extent& extent : MapOf(kind).extents) {
    if (id - extent.lower < extent.count) return extent.first + (id - extent.lower);
  }
  return std::nullopt;
}

std::optional<uint32_t> UserNamespace::Actual(IdKind kind, uint32_t id) const {
  if (initial()) return id == ~uint32_t{0} ? std::nullopt : std::optional(id);
  MutexLock lock(mu_);
  for (const Extent& extent : MapOf(kind).extents) {
    if (id - extent.first < extent.count) return extent.lower + (id - extent.first);
  }
  return std::nullopt;
}

// Lines of three numbers; `lower` is still the parent's.
Result<std::vector<UserNamespace::Extent>> UserNamespace::Parse(std::string_view text) {
  std::vector<Extent> extents;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    uint32_t numbers[3];
    for (uint32_t& number : numbers) {
      line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
      const auto [rest, error] = std::from_chars(line.data(), line.data() + line.size(), number);
      if (error != std::errc()) return Err(EINVAL);
      line.remove_prefix(static_cast<size_t>(rest - line.data()));
      if (!line.empty() && line.front() != ' ' && line.front() != '\t') return Err(EINVAL);
    }
    if (line.find_first_not_of(" \t") != std::string_view::npos) return Err(EINVAL);
    const Extent extent{numbers[0], numbers[1], numbers[2]};
    const auto wraps = [&](uint32_t first) { return first + extent.count <= first; };
    if (extent.first == ~uint32_t{0} || extent.lower == ~uint32_t{0} || wraps(extent.first) || wraps(extent.lower)) {
      return Err(EINVAL);
    }
    const auto overlaps = [](uint32_t a, uint32_t b, const Extent& x, const Extent& y) {
      return a < b + y.count && b < a + x.count;
    };
    for (const Extent& other : extents) {
      if (overlaps(extent.first, other.first, extent, other) || overlaps(extent.lower, other.lower, extent, other)) {
        return Err(EINVAL);
      }
    }
    if (extents.size() == kMostExtents) return Err(EINVAL);
    extents.push_back(extent);
  }
  if (extents.empty()) return Err(EINVAL);
  return extents;
}

// Linux: new_idmap_permitted.
bool UserNamespace::MayMap(IdKind kind, const std::vector<Extent>& wanted, const Credentials& opener,
                           const Credentials& writer) const {
  if (wanted.size() == 1 && wanted[0].count == 1 && owner_uid_ == opener.euid) {
    const auto id = parent()->Actual(kind, wanted[0].lower);
    if (kind == IdKind::kUser && id == opener.euid) return true;
    MutexLock lock(mu_);
    if (kind == IdKind::kGroup && !setgroups_allowed_ && id == opener.egid) return true;
  }
  const int capability = kind == IdKind::kUser ? CAP_SETUID : CAP_SETGID;
  return writer.HasIn(*parent(), capability) && opener.HasIn(*parent(), capability);
}

Result<void> UserNamespace::SetMap(IdKind kind, std::string_view text, const Credentials& opener,
                                   const Credentials& writer) {
  if (parent() == nullptr) return Err(EPERM);
  if (opener.user_ns.get() != this && opener.user_ns != parent()) return Err(EPERM);
  if (text.size() >= kMostText) return Err(EINVAL);
  {
    MutexLock lock(mu_);
    if (!MapOf(kind).extents.empty()) return Err(EPERM);
  }
  if (!opener.HasIn(*this, CAP_SYS_ADMIN)) return Err(EPERM);
  std::vector<Extent> extents = TRY(Parse(text));
  if (!MayMap(kind, extents, opener, writer)) return Err(EPERM);
  for (Extent& extent : extents) {
    const auto first = parent()->Actual(kind, extent.lower);
    const auto last = parent()->Actual(kind, extent.lower + extent.count - 1);
    if (!first || !last || *last - *first != extent.count - 1) return Err(EPERM);
    extent.lower = *first;
  }
  MutexLock lock(mu_);
  std::vector<Extent>& map = kind == IdKind::kUser ? users_.extents : groups_.extents;
  if (!map.empty()) return Err(EPERM);
  map = std::move(extents);
  return {};
}

std::string UserNamespace::MapText(IdKind kind, const UserNamespace& reader) const {
  const UserNamespace& lower = &reader == this && parent() != nullptr ? *parent() : reader;
  std::vector<Extent> extents;
  {
    MutexLock lock(mu_);
    const std::string& shown = kind == IdKind::kUser ? shown_users_ : shown_groups_;
    if (&reader == this && !shown.empty()) return shown;
    extents = MapOf(kind).extents;
  }
  std::string text;
  for (const Extent& extent : extents) {
    text += StrPrintf("%10u %10u %10u\n", extent.first, lower.Seen(kind, extent.lower).value_or(~uint32_t{0}),
                      extent.count);
  }
  return text;
}

void UserNamespace::ShowMap(IdKind kind, std::string text) {
  MutexLock lock(mu_);
  (kind == IdKind::kUser ? shown_users_ : shown_groups_) = std::move(text);
}

bool UserNamespace::MaySetGroups() const {
  MutexLock lock(mu_);
  return setgroups_allowed_ && !groups_.extents.empty();
}

std::string UserNamespace::SetgroupsText() const {
  MutexLock lock(mu_);
  return setgroups_allowed_ ? "allow\n" : "deny\n";
}

Result<void> UserNamespace::SetSetgroups(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  if (text != "allow" && text != "deny") return Err(EINVAL);
  MutexLock lock(mu_);
  if (text == "allow") return setgroups_allowed_ ? Result<void>() : Err(EPERM);
  if (setgroups_allowed_ && !groups_.extents.empty()) return Err(EPERM);
  setgroups_allowed_ = false;
  return {};
}

}  // namespace sandbox
