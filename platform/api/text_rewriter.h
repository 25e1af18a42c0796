// Rewriting of call sites: a copy of a file's text in which the instruction that enters the kernel is replaced by a
// jump to a trampoline, so that a call reaches the platform without a host trap.
//
// The copy is mapped instead of the file's own pages, next to a zone that holds the trampolines (r-x as well). The
// distance between the two is part of the copy: every process that maps text and zone at that distance can share it.
// Nothing is ever patched in place. A platform that cannot rewrite has no TextRewriter.
//
// The bytes come from a guest's file and are hostile. A rewriter never trusts what a guest did (which addresses
// trapped): text is shared by processes of different credentials, so every site must be proved from the bytes alone.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ref.h"

namespace sandbox::platform {

// What an address inside a zone stands for, and the way back. Offsets are from the start of the text and of the zone.
class TrampolineMap {
 public:
  struct Point {
    uint32_t zone;
    uint32_t text;
  };
  // `points`: the start of every instruction in every trampoline. `interiors`: instruction boundaries of the original
  // text that lie inside a patched jump, with the moved instruction. Both ascending, by zone and by text offset.
  TrampolineMap(std::vector<Point> points, std::vector<Point> interiors)
      : points_(std::move(points)), interiors_(std::move(interiors)) {}

  // Where a thread stopped at this zone offset is as far as the guest is concerned; none when no instruction starts
  // there, which only a hostile guest gets to.
  std::optional<uint64_t> ToText(uint64_t zone) const {
    const auto at = std::lower_bound(points_.begin(), points_.end(), zone,
                                     [](const Point& point, uint64_t value) { return point.zone < value; });
    if (at == points_.end() || at->zone != zone) return std::nullopt;
    return at->text;
  }
  // The moved instruction for a boundary inside a patched jump; none for every other text offset.
  std::optional<uint64_t> ToZone(uint64_t text) const {
    const auto at = std::lower_bound(interiors_.begin(), interiors_.end(), text,
                                     [](const Point& point, uint64_t value) { return point.text < value; });
    if (at == interiors_.end() || at->text != text) return std::nullopt;
    return at->zone;
  }
  const std::vector<Point>& points() const { return points_; }
  const std::vector<Point>& interiors() const { return interiors_; }

 private:
  const std::vector<Point> points_;
  const std::vector<Point> interiors_;
};

// One site: the bytes a jump took the place of. Never crosses a page boundary.
struct TextPatch {
  static constexpr size_t kSize = 5;
  uint64_t offset = 0;  // from the start of the text
  std::array<uint8_t, kSize> original = {};
  std::array<uint8_t, kSize> patched = {};
};

struct RewrittenText {
  std::vector<TextPatch> patches;  // ascending, not overlapping
  std::vector<uint8_t> zone;       // contents of the zone from its start; the rest is zero
  RefPtr<const TrampolineMap> map;
};

// The rewriting of one text, which is handed over piece by piece so that nobody needs a copy of the whole.
class RewriteJob {
 public:
  // How many bytes before a site help to prove it.
  static constexpr uint64_t kContext = 256;

  virtual ~RewriteJob() = default;
  // Takes the sites of `bytes`, which stand at `offset` (a multiple of the page size) of the text, except those that
  // start before `from`: what is before it is context. Pieces come in ascending order, and `from` never goes back.
  virtual void Scan(std::span<const uint8_t> bytes, uint64_t offset, uint64_t from) = 0;
  // Once, at the end.
  virtual RewrittenText Finish() = 0;
};

class TextRewriter {
 public:
  virtual ~TextRewriter() = default;
  // `zone_delta`: start of the zone minus start of the text, in bytes, page aligned; the whole of both must lie within
  // 2 GiB. Thread-safe; a job belongs to one thread.
  virtual std::unique_ptr<RewriteJob> Begin(int64_t zone_delta, uint64_t zone_size) const = 0;
};

}  // namespace sandbox::platform
