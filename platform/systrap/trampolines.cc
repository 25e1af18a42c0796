#include "platform/systrap/trampolines.h"

#include <algorithm>

namespace sandbox::platform::systrap {

void Trampolines::Add(GuestRange text, GuestRange zone, RefPtr<const TrampolineMap> map) {
  MutexLock lock(mu_);
  std::erase_if(entries_, [&](const Entry& entry) { return entry.zone == zone; });
  entries_.push_back({text, zone, std::move(map)});
  any_.store(true, std::memory_order_release);
  version_.fetch_add(1, std::memory_order_release);
}

void Trampolines::Retire(GuestRange zone) {
  MutexLock lock(mu_);
  for (Entry& entry : entries_) entry.retired |= entry.zone == zone;
  version_.fetch_add(1, std::memory_order_release);
}

void Trampolines::Remove(GuestRange zone) {
  MutexLock lock(mu_);
  std::erase_if(entries_, [&](const Entry& entry) { return entry.zone == zone; });
  any_.store(!entries_.empty(), std::memory_order_release);
  version_.fetch_add(1, std::memory_order_release);
}

const Trampolines::Entry* Trampolines::FindText(uint64_t ip) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.text.Contains(GuestAddr(ip)); });
  return found == entries_.end() ? nullptr : &*found;
}

uint64_t Trampolines::Shown(uint64_t ip) const {
  if (!any_.load(std::memory_order_acquire)) return ip;
  MutexLock lock(mu_);
  for (const Entry& entry : entries_) {
    if (!entry.zone.Contains(GuestAddr(ip))) continue;
    const auto offset = entry.map->ToText(ip - entry.zone.start.value());
    return offset ? entry.text.start.value() + *offset : ip;
  }
  return ip;
}

uint64_t Trampolines::Continued(uint64_t ip) const {
  if (!any_.load(std::memory_order_acquire)) return ip;
  MutexLock lock(mu_);
  const Entry* const entry = FindText(ip);
  if (entry == nullptr || entry->retired) return ip;
  const auto offset = entry->map->ToZone(ip - entry->text.start.value());
  return offset ? entry->zone.start.value() + *offset : ip;
}

bool Trampolines::InsideJump(uint64_t ip) const {
  if (!any_.load(std::memory_order_acquire)) return false;
  MutexLock lock(mu_);
  const Entry* const entry = FindText(ip);
  return entry != nullptr && entry->map->ToZone(ip - entry->text.start.value()).has_value();
}

}  // namespace sandbox::platform::systrap
