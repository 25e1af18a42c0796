#include "platform/systrap/proc_text.h"

#include <charconv>
#include <optional>
#include <utility>

namespace sandbox::platform::systrap {
namespace {

constexpr uint64_t kKiB = 1024;

std::string_view NextLine(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

uint64_t Number(std::string_view text, int base = 10) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  uint64_t value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

// Adds what a line "Name:   123 kB" says to the field of that name.
template <typename Struct, size_t N>
void TakeLine(std::string_view line, const std::pair<std::string_view, uint64_t Struct::*> (&fields)[N], Struct& out) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  for (const auto& [name, field] : fields) {
    if (line.substr(0, colon) == name) out.*field = Number(line.substr(colon + 1)) * kKiB;
  }
}

// "start-end rwxp ...", which begins a mapping of smaps.
std::optional<GuestRange> MappingLine(std::string_view line) {
  const size_t dash = line.find('-'), space = line.find(' ');
  if (dash == std::string_view::npos || space == std::string_view::npos || dash > space) return std::nullopt;
  const uint64_t start = Number(line.substr(0, dash), 16);
  const uint64_t end = Number(line.substr(dash + 1, space - dash - 1), 16);
  if (start >= end) return std::nullopt;
  return GuestRange{GuestAddr(start), GuestAddr(end)};
}

}  // namespace

AddressSpace::Usage UsageFromStatus(std::string_view status) {
  using Usage = AddressSpace::Usage;
  static constexpr std::pair<std::string_view, uint64_t Usage::*> kFields[] = {
      {"VmHWM", &Usage::peak_resident}, {"VmRSS", &Usage::resident},  {"RssAnon", &Usage::anonymous},
      {"RssFile", &Usage::file},        {"RssShmem", &Usage::shared},
  };
  Usage usage;
  while (!status.empty()) TakeLine(NextLine(status), kFields, usage);
  return usage;
}

void AddFaultsFromStat(std::string_view stat, AddressSpace::Usage& usage) {
  // Fields are counted from behind the name, which may hold anything: minflt is the 10th, majflt the 12th of all.
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return;
  stat.remove_prefix(name_end + 1);
  for (int field = 3; !stat.empty() && field <= 12; ++field) {
    stat.remove_prefix(1);
    const size_t end = std::min(stat.find(' '), stat.size());
    if (field == 10) usage.minor_faults = Number(stat.substr(0, end));
    if (field == 12) usage.major_faults = Number(stat.substr(0, end));
    stat.remove_prefix(end);
  }
}

std::vector<AddressSpace::Residency> ResidencyFromSmaps(std::string_view smaps) {
  using Residency = AddressSpace::Residency;
  static constexpr std::pair<std::string_view, uint64_t Residency::*> kFields[] = {
      {"Rss", &Residency::rss},
      {"Pss", &Residency::pss},
      {"Pss_Dirty", &Residency::pss_dirty},
      {"Shared_Clean", &Residency::shared_clean},
      {"Shared_Dirty", &Residency::shared_dirty},
      {"Private_Clean", &Residency::private_clean},
      {"Private_Dirty", &Residency::private_dirty},
      {"Referenced", &Residency::referenced},
      {"Anonymous", &Residency::anonymous},
      {"LazyFree", &Residency::lazy_free},
      {"AnonHugePages", &Residency::anonymous_huge},
      {"Swap", &Residency::swap},
      {"SwapPss", &Residency::swap_pss},
  };
  std::vector<Residency> all;
  while (!smaps.empty()) {
    const std::string_view line = NextLine(smaps);
    if (const auto range = MappingLine(line))
      all.push_back({.range = *range});
    else if (!all.empty())
      TakeLine(line, kFields, all.back());
  }
  return all;
}

}  // namespace sandbox::platform::systrap
