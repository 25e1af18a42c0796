#include "sentry/fs/gofer/dir_listing.h"

#include <algorithm>
#include <utility>

namespace sandbox {

void DirListing::Append(std::vector<GoferDirEntry> entries) {
  for (GoferDirEntry& entry : entries) Add(entry.name, entry.ino, entry.type);
}

void DirListing::Add(std::string_view name, uint64_t ino, uint8_t type) {
  MutexLock lock(mu_);
  if (auto it = index_.find(name); it != index_.end()) {
    Entry& entry = entries_[it->second];
    entry.ino = ino;
    entry.type = type;
    return;
  }
  entries_.push_back({std::string(name), ino, type, false});
  index_.emplace(entries_.back().name, entries_.size() - 1);
}

void DirListing::Remove(std::string_view name) {
  MutexLock lock(mu_);
  auto it = index_.find(name);
  if (it == index_.end()) return;
  const size_t at = it->second;
  index_.erase(it);
  entries_[at].name.clear();
}

bool DirListing::Contains(std::string_view name) const {
  MutexLock lock(mu_);
  return index_.contains(name);
}

std::vector<DirListing::Item> DirListing::Read(size_t position, size_t count) const {
  std::vector<Item> items;
  MutexLock lock(mu_);
  for (size_t i = position; i < entries_.size() && items.size() < count; ++i) {
    const Entry& entry = entries_[i];
    if (!entry.name.empty()) items.push_back({i + 1, entry.name, entry.ino, entry.type});
  }
  return items;
}

// Whether the entry is one of the next few after the last answer.
bool DirListing::FollowsByName(std::map<std::string_view, size_t>::const_iterator it) const {
  auto next = index_.upper_bound(last_name_);
  for (size_t skipped = 0; skipped < kMaxSkip && next != index_.end(); ++skipped, ++next) {
    if (next == it) return true;
  }
  return false;
}

std::vector<std::string> DirListing::LookupWindow(std::string_view name) {
  std::vector<std::string> names = {std::string(name)};
  MutexLock lock(mu_);
  auto it = index_.find(name);
  if (it == index_.end()) return names;
  const size_t at = it->second;
  // Programs that read a directory and then look at each entry do so in its order or in that of the names, skipping
  // some.
  const bool in_order = at >= next_expected_ && at < next_expected_ + kMaxSkip + window_;
  const bool by_name = !in_order && FollowsByName(it);
  window_ = in_order || by_name ? std::min(window_ * 4, kMaxWindow) : 1;
  const auto take = [&](Entry& entry) {
    if (entry.name.empty() || std::exchange(entry.looked_up, true)) return;
    names.push_back(entry.name);
  };
  entries_[at].looked_up = true;
  next_expected_ = at + 1;
  if (by_name) {
    for (++it; it != index_.end() && names.size() < window_; ++it) take(entries_[it->second]);
  } else {
    for (; next_expected_ < entries_.size() && names.size() < window_; ++next_expected_) take(entries_[next_expected_]);
  }
  last_name_ = names.back();
  return names;
}

bool DirListing::Sparse() const {
  MutexLock lock(mu_);
  return entries_.size() > 4096 && index_.size() < entries_.size() / 4;
}

size_t DirListing::size() const {
  MutexLock lock(mu_);
  return index_.size();
}

}  // namespace sandbox
