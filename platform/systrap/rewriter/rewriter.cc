#include "platform/systrap/rewriter/rewriter.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/guest_addr.h"
#include "platform/systrap/rewriter/boundary.h"
#include "platform/systrap/rewriter/site.h"
#include "platform/systrap/rewriter/zone.h"

namespace sandbox::platform::systrap {
namespace {

// A hostile text can hold any number of bytes that look like sites and cannot be proved; each costs some 50 µs.
constexpr int kMaxRefused = 4096;

constexpr uint64_t kEntryWord = 0;  // where the zone holds the entry's address

// Instructions of one trampoline, with what each stands for.
class Assembler {
 public:
  Assembler(Zone& zone, uint64_t at) : zone_(zone), at_(at) {}

  // Begins an instruction that a guest would be seen to execute at `text`.
  void Mark(uint64_t text) {
    points_.push_back({static_cast<uint32_t>(at_ + bytes_.size()), static_cast<uint32_t>(text)});
  }
  void Bytes(std::span<const uint8_t> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void Bytes(std::initializer_list<uint8_t> bytes) { bytes_.insert(bytes_.end(), bytes); }
  void Displacement(int64_t value) {
    const auto narrow = static_cast<int32_t>(value);
    uint8_t bytes[sizeof(narrow)];
    std::memcpy(bytes, &narrow, sizeof(narrow));
    Bytes(bytes);
  }
  // An instruction of the text from `text`, with a displacement from itself at `displacement_at` unless that is 0.
  // False when that does not reach from here.
  bool Moved(std::span<const uint8_t> bytes, uint64_t text, size_t displacement_at) {
    const uint64_t zone_end = end() + bytes.size(), text_end = text + bytes.size();
    Bytes(bytes);
    if (displacement_at == 0) return true;
    uint8_t* const place = bytes_.data() + (bytes_.size() - bytes.size() + displacement_at);
    int32_t displacement;
    std::memcpy(&displacement, place, sizeof(displacement));
    const int64_t moved = int64_t{displacement} + zone_.ToText(zone_end, text_end);
    displacement = static_cast<int32_t>(moved);
    std::memcpy(place, &displacement, sizeof(displacement));
    return displacement == moved;
  }
  // lea cont(%rip),%r11, where cont is in the zone or in the text.
  void LoadContinuationInZone(uint64_t target) {
    Bytes({0x4c, 0x8d, 0x1d});
    Displacement(static_cast<int64_t>(target) - static_cast<int64_t>(end() + 4));
  }
  void LoadContinuationInText(uint64_t target) {
    Bytes({0x4c, 0x8d, 0x1d});
    Displacement(zone_.ToText(end() + 4, target));
  }
  void JumpToEntry() {  // jmp *entry(%rip)
    Bytes({0xff, 0x25});
    Displacement(static_cast<int64_t>(kEntryWord) - static_cast<int64_t>(end() + 4));
  }
  void JumpToText(uint64_t target) {
    Bytes({0xe9});
    Displacement(zone_.ToText(end() + 4, target));
  }

  uint64_t end() const { return at_ + bytes_.size(); }
  const std::vector<uint8_t>& bytes() const { return bytes_; }
  const std::vector<TrampolineMap::Point>& points() const { return points_; }

 private:
  Zone& zone_;
  const uint64_t at_;
  std::vector<uint8_t> bytes_;
  std::vector<TrampolineMap::Point> points_;
};

constexpr size_t LoadTrampoline(size_t moved) { return 5 + moved + 7 + 6; }
constexpr size_t TailTrampoline(size_t moved, bool returns) { return 7 + 6 + kSyscallSize + moved + (returns ? 0 : 5); }

class Job final : public RewriteJob {
 public:
  Job(int64_t zone_delta, uint64_t zone_size, uint64_t entry) : zone_(zone_delta, zone_size, entry) {}

  void Scan(std::span<const uint8_t> bytes, uint64_t offset, uint64_t from) override {
    CHECK(offset % kPageSize == 0 && from >= offset);
    size_t at = from - offset;
    while (at + kSyscallSize <= bytes.size()) {
      const void* const found = std::memchr(&bytes[at], 0x0f, bytes.size() - at - 1);
      if (found == nullptr) return;
      at = static_cast<size_t>(static_cast<const uint8_t*>(found) - bytes.data());
      if (bytes[at + 1] == 0x05) Consider(bytes, offset, at);
      at += 1;
    }
  }

  RewrittenText Finish() override {
    const auto by_zone = [](const auto& a, const auto& b) { return a.zone < b.zone; };
    std::sort(points_.begin(), points_.end(), by_zone);
    RewrittenText text;
    text.patches = std::move(patches_);
    text.zone = zone_.Take();
    text.map = MakeRef<const TrampolineMap>(std::move(points_), std::move(interiors_));
    return text;
  }

 private:
  void Consider(std::span<const uint8_t> bytes, uint64_t offset, size_t at) {
    if (refused_ >= kMaxRefused || offset + at > UINT32_MAX) return;
    const auto load = RecogniseLoad(bytes, at), tail = RecogniseTail(bytes, at);
    if (!load && !tail) return;
    // `41 b8 …` loads another register: then only the tail can be one.
    if (load && Provable(bytes, offset, *load) && PatchLoad(bytes, offset, *load)) return;
    if (tail && Provable(bytes, offset, *tail) && PatchTail(bytes, offset, *tail)) return;
    ++refused_;
  }

  bool Provable(std::span<const uint8_t> bytes, uint64_t offset, const Site& site) {
    // Never two jumps that overlap.
    if (!patches_.empty() && patches_.back().offset + TextPatch::kSize > offset + site.patch_at) return false;
    return prover_.IsBoundary(bytes, site.patch_at);
  }

  bool PatchLoad(std::span<const uint8_t> bytes, uint64_t offset, const Site& site) {
    const auto at = zone_.Allocate(LoadTrampoline(site.moved_size));
    if (!at) return false;
    const uint64_t start = offset + site.patch_at, behind = start + TextPatch::kSize, call = behind + site.moved_size;
    Assembler code(zone_, *at);
    code.Mark(start);
    code.Bytes(bytes.subspan(site.patch_at, TextPatch::kSize));
    if (site.moved_size != 0) {
      code.Mark(behind);
      const auto moved = bytes.subspan(site.patch_at + TextPatch::kSize, site.moved_size);
      if (!code.Moved(moved, behind, site.displacement_at)) return false;
    }
    // From here on it is the call that would come next.
    code.Mark(call);
    code.LoadContinuationInText(call + kSyscallSize);
    code.Mark(call);
    code.JumpToEntry();
    Emit(code, *at);
    Jump(bytes, offset, site.patch_at, *at);
    return true;
  }

  bool PatchTail(std::span<const uint8_t> bytes, uint64_t offset, const Site& site) {
    const size_t size = TailTrampoline(site.moved_size, site.returns);
    const uint64_t start = offset + site.patch_at;
    const auto at = zone_.AllocateFaulting(start, size);
    if (!at) return false;
    const uint64_t moved = start + kSyscallSize, back = moved + site.moved_size;
    const uint64_t cont = *at + 7 + 6 + kSyscallSize;
    Assembler code(zone_, *at);
    code.Mark(start);
    code.LoadContinuationInZone(cont);
    code.Mark(start);
    code.JumpToEntry();
    code.Mark(start);
    code.Bytes({0x0f, 0x05});
    code.Mark(moved);
    code.Bytes(bytes.subspan(site.patch_at + kSyscallSize, site.moved_size));
    if (!site.returns) {
      code.Mark(back);
      code.JumpToText(back);
    }
    Emit(code, *at);
    interiors_.push_back({static_cast<uint32_t>(cont), static_cast<uint32_t>(moved)});
    Jump(bytes, offset, site.patch_at, *at);
    return true;
  }

  void Emit(const Assembler& code, uint64_t at) {
    zone_.Write(at, code.bytes());
    points_.insert(points_.end(), code.points().begin(), code.points().end());
  }

  void Jump(std::span<const uint8_t> bytes, uint64_t offset, size_t patch_at, uint64_t target) {
    TextPatch patch{.offset = offset + patch_at};
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(patch_at), TextPatch::kSize, patch.original.begin());
    const int32_t displacement = zone_.FromText(patch.offset + TextPatch::kSize, target);
    patch.patched[0] = 0xe9;
    std::memcpy(&patch.patched[1], &displacement, sizeof(displacement));
    patches_.push_back(patch);
  }

  BoundaryProver prover_;
  Zone zone_;
  std::vector<TextPatch> patches_;
  std::vector<TrampolineMap::Point> points_, interiors_;
  int refused_ = 0;
};

class Rewriter final : public TextRewriter {
 public:
  explicit Rewriter(uint64_t entry) : entry_(entry) {}
  std::unique_ptr<RewriteJob> Begin(int64_t zone_delta, uint64_t zone_size) const override {
    return std::make_unique<Job>(zone_delta, zone_size, entry_);
  }

 private:
  const uint64_t entry_;
};

}  // namespace

std::unique_ptr<TextRewriter> MakeTextRewriter(uint64_t entry) { return std::make_unique<Rewriter>(entry); }

}  // namespace sandbox::platform::systrap
