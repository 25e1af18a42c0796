#include "sentry/fs/gofer/dir_listing.h"

#include <algorithm>

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

std::vector<std::string> DirListing::LookupWindow(std::string_view name) {
  std::vector<std::string> names = {std::string(name)};
  MutexLock lock(mu_);
  auto it = index_.find(name);
  if (it == index_.end()) return names;
  const size_t at = it->second;
  entries_[at].looked_up = true;
  // Programs that read a directory and then look at each entry do so in order, skipping some.
  const bool in_order = at >= next_expected_ && at < next_expected_ + 8 + window_;
  window_ = in_order ? std::min(window_ * 4, kMaxWindow) : 1;
  next_expected_ = at + 1;
  for (size_t i = at + 1; i < entries_.size() && names.size() < window_; ++i) {
    Entry& entry = entries_[i];
    next_expected_ = i + 1;
    if (entry.name.empty() || entry.looked_up) continue;
    entry.looked_up = true;
    names.push_back(entry.name);
  }
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
