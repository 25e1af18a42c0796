#include "platform/systrap/rewriter/zone.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "platform/systrap/rewriter/rewriter.h"
#include "platform/systrap/rewriter/site.h"

namespace sandbox::platform::systrap {
namespace {

// The byte of a jump's displacement that stands where the syscall ended: the jump is e9 d0 d1 d2 d3.
constexpr int kFaultingShift = 8;
constexpr uint64_t kWindow = uint64_t{1} << kFaultingShift;  // targets that share that byte
constexpr uint64_t kPeriod = kWindow << 8;                   // after which it repeats
static_assert(kSyscallSize == 2 && TextPatch::kSize == 5);

int32_t Narrow(int64_t distance) {
  CHECK(distance >= INT32_MIN && distance <= INT32_MAX);
  return static_cast<int32_t>(distance);
}

}  // namespace

Zone::Zone(int64_t delta, uint64_t size, uint64_t entry) : delta_(delta), size_(size), taken_(size / kGranule) {
  uint8_t word[sizeof(entry)];
  std::memcpy(word, &entry, sizeof(entry));
  CHECK(size >= sizeof(word));
  Write(Claim(0, sizeof(word)), word);
}

bool Zone::IsFree(uint64_t at, size_t size) const {
  if (at + size > size_) return false;
  for (uint64_t granule = at / kGranule; granule * kGranule < at + size; ++granule) {
    if (taken_[granule]) return false;
  }
  return true;
}

uint64_t Zone::Claim(uint64_t at, size_t size) {
  for (uint64_t granule = at / kGranule; granule * kGranule < at + size; ++granule) taken_[granule] = true;
  while (first_free_ < taken_.size() && taken_[first_free_]) ++first_free_;
  return at;
}

std::optional<uint64_t> Zone::Allocate(size_t size) {
  if (size >= refused_size_) return std::nullopt;  // nothing is ever freed
  for (uint64_t at = first_free_ * kGranule; at + size <= size_; at += kGranule) {
    if (IsFree(at, size)) return Claim(at, size);
  }
  refused_size_ = size;
  return std::nullopt;
}

std::optional<uint64_t> Zone::AllocateFaulting(uint64_t text_offset, size_t size) {
  const uint64_t end = text_offset + TextPatch::kSize;
  // Displacements, as unsigned numbers that wrap, of the zone's first byte.
  const uint64_t base = static_cast<uint64_t>(delta_) - end;
  for (uint64_t period = 0; period < size_ + kPeriod; period += kPeriod) {
    for (const uint8_t opcode : kFaultingOpcodes) {
      // The first displacement at or after that of `period` whose byte is `opcode`.
      const uint64_t wanted = (uint64_t{opcode} << kFaultingShift) - (base + period);
      const uint64_t window = period + wanted % kPeriod;
      // A window that starts before the zone: its remainder belongs to the period before.
      for (uint64_t at = (window + kGranule - 1) / kGranule * kGranule; at < window + kWindow; at += kGranule) {
        if (IsFree(at, size)) return Claim(at, size);
      }
    }
  }
  return std::nullopt;
}

int32_t Zone::FromText(uint64_t end, uint64_t target) const {
  return Narrow(delta_ + static_cast<int64_t>(target) - static_cast<int64_t>(end));
}

int32_t Zone::ToText(uint64_t end, uint64_t target) const {
  return Narrow(static_cast<int64_t>(target) - delta_ - static_cast<int64_t>(end));
}

void Zone::Write(uint64_t at, std::span<const uint8_t> bytes) {
  if (bytes_.size() < at + bytes.size()) bytes_.resize(at + bytes.size());
  std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<ptrdiff_t>(at));
}

std::vector<uint8_t> Zone::Take() { return std::move(bytes_); }

}  // namespace sandbox::platform::systrap
