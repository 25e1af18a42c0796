// Rewritten text in an address space: the room for its trampolines, mapping it at once or in place of what a process
// runs already, and putting the originals back.
//
// The list of mappings always shows the file. Rewritten text is a property of the host's pages only, remembered in
// texts_: which part of the list it is, and where its zone lies. The zone has no entry in the list; Vma::zone_below
// keeps its place free.
//
// Whatever could make the difference visible, or would change the pages behind the copy's back, comes through
// DisturbTexts first. Reads by the sentry see the original bytes (UnpatchRead).
#include <sys/mman.h>
#include <unistd.h>

#include <elf.h>

#include <algorithm>
#include <cstring>

#include "sentry/mm/memory_manager.h"

namespace sandbox {
namespace {

using platform::MemoryOp;

// Slow calls from one text of a running process before its pages are replaced: replacing costs two or three mappings,
// some page faults and a stop of one thread, about as much as so many calls.
constexpr uint32_t kReplaceAfter = 16;

// The start of a text's image is found by following its mappings downwards; images have few segments.
constexpr int kMaxSegments = 8;

bool StartsElf(const Mappable::HostBacking& backing) {
  char magic[SELFMAG];
  return pread(backing.fd.get(), magic, sizeof(magic), static_cast<off_t>(backing.offset_delta)) == sizeof(magic) &&
         std::memcmp(magic, ELFMAG, SELFMAG) == 0;
}

MemoryOp MapCopy(const RefPtr<const TextCopy>& copy, GuestRange range, uint64_t offset) {
  MemoryOp op{.kind = MemoryOp::Kind::kMapFile, .range = range, .prot = PROT_READ | PROT_EXEC, .flags = MAP_PRIVATE};
  op.fd = copy->fd();
  op.keep_alive = std::const_pointer_cast<TextCopy>(copy);
  op.offset = offset;
  return op;
}

MemoryOp MapZone(const RefPtr<const TextCopy>& copy, GuestRange zone) {
  return MapCopy(copy, zone, copy->zone_offset());
}

MemoryOp MapRun(const RefPtr<const TextCopy>& copy, GuestRange text, const TextCopy::Run& run) {
  const GuestAddr start = text.start + run.start;
  return MapCopy(copy, {start, start + run.length}, run.offset);
}

}  // namespace

GuestRange MemoryManager::TextMapping::zone() const {
  return {room.start, room.start + (copy != nullptr ? copy->zone_length() : 0)};
}

uint64_t MemoryManager::TrampolineRoom(uint64_t image_bytes) const {
  return text_cache_ != nullptr ? TextCache::ZoneSize(image_bytes) : 0;
}

MemoryManager::TextPlan MemoryManager::PlanText(const MapRequest& request, uint64_t length,
                                                const Mappable::HostBacking& backing) const {
  TextPlan plan;
  const bool is_private = (request.flags & MAP_TYPE) == MAP_PRIVATE;
  if (text_cache_ == nullptr || !is_private || !backing.fd.valid() || !backing.versioned) return plan;
  if (request.prot & PROT_WRITE) return plan;
  if (request.prot & PROT_EXEC) {
    if (const auto version = FileVersion::Of(backing.fd); version.ok()) plan.version = *version;
  }
  const bool fixed = request.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT);
  if (request.image_bytes != 0) {
    plan.room = TrampolineRoom(request.image_bytes);
  } else if (!fixed && request.offset == 0 && StartsElf(backing)) {
    plan.room = TrampolineRoom(length);
  }
  return plan;
}

GuestRange MemoryManager::RoomOf(const Vma& text) const {
  const Vma* vma = &text;
  for (int segment = 0; segment < kMaxSegments && vma != nullptr; ++segment) {
    const GuestAddr start = vma->range.start;
    if (vma->zone_below != 0) return {start - vma->zone_below, start};
    vma = vmas_.Find(start - 1);
    if (vma != nullptr) continue;
    // Linkers may leave a hole of less than a page between segments, or of more with a large alignment.
    vma = vmas_.FindBefore(start);
    if (vma != nullptr && vma->mappable != text.mappable) return {};
  }
  return {};
}

MemoryManager::TextMapping* MemoryManager::FindText(GuestAddr addr) {
  const auto text = std::find_if(texts_.begin(), texts_.end(), [&](const auto& t) { return t.text.Contains(addr); });
  return text == texts_.end() ? nullptr : &*text;
}

std::optional<MemoryManager::TextMapping> MemoryManager::EnterText(const Vma& vma, const FileVersion& version,
                                                                   const Mappable::HostBacking& backing) const {
  TextMapping text{.text = vma.range, .room = RoomOf(vma), .backing = backing};
  if (text.room.empty()) return std::nullopt;
  const bool taken = std::any_of(texts_.begin(), texts_.end(), [&](const auto& t) { return t.room == text.room; });
  if (taken) return std::nullopt;
  TextKey key{.file = version, .offset = vma.offset + backing.offset_delta, .length = vma.range.length()};
  key.zone_delta = static_cast<int64_t>(text.room.start - text.text.start);
  key.zone_size = text.room.length();
  text.cached = text_cache_->Enter(key);
  if (text.cached == nullptr) return std::nullopt;
  text.copy = text.cached->copy();
  text.state = text.copy != nullptr ? TextMapping::State::kRewritten : TextMapping::State::kOriginal;
  return text;
}

void MemoryManager::AddInternal(Batch& batch, platform::MemoryOp op) {
  Add(batch, std::move(op));
  batch.undo.back().internal = true;
}

void MemoryManager::MapText(const Vma& vma, const TextPlan& plan, const Mappable::HostBacking& backing,
                            platform::MemoryOp op, Batch& batch) {
  std::optional<TextMapping> text;
  if (plan.version) text = EnterText(vma, *plan.version, backing);
  const bool rewritten = text && text->state == TextMapping::State::kRewritten;
  const bool whole = rewritten && text->copy->runs().size() == 1 && text->copy->runs()[0].length == vma.range.length();
  if (rewritten) {
    // The zone comes first: another thread may run through the text as soon as it is there.
    AddInternal(batch, MapZone(text->copy, text->zone()));
    ShowTrampolines(*text);
  }
  if (whole) {
    MemoryOp copy = MapRun(text->copy, text->text, text->copy->runs()[0]);
    copy.flags = op.flags;
    op = std::move(copy);
  }
  Add(batch, std::move(op));
  const auto replaced = vmas_.Remove(vma.range);
  vmas_.Insert(vma);
  if (rewritten && !whole) {
    for (const auto& run : text->copy->runs()) AddInternal(batch, MapRun(text->copy, text->text, run));
  }
  if (text) texts_.push_back(*std::move(text));
  CountRewritten();
}

void MemoryManager::ShowTrampolines(const TextMapping& text) {
  space_->AddTrampolines(text.text, text.zone(), text.copy->map());
  if (text.state == TextMapping::State::kRetired) space_->RetireTrampolines(text.zone());
}

void MemoryManager::CountRewritten() {
  const auto count = std::count_if(texts_.begin(), texts_.end(), [](const auto& t) { return t.copy != nullptr; });
  rewritten_count_.store(static_cast<int>(count), std::memory_order_release);
  has_texts_.store(!texts_.empty(), std::memory_order_release);
}

void MemoryManager::AwaitTexts(GuestRange range) {
  const auto being_replaced = [&] {
    return std::any_of(texts_.begin(), texts_.end(), [&](const auto& t) {
      return t.state == TextMapping::State::kReplacing &&
             (range.Overlaps(t.text) || range.Overlaps({t.room.start, t.room.end + kPageSize}));
    });
  };
  while (being_replaced()) text_replaced_.Wait(mu_);
}

void MemoryManager::DisturbTexts(GuestRange range, Disturbance kind, Batch& batch) {
  if (texts_.empty() || range.empty()) return;
  std::vector<TextMapping> kept;
  for (TextMapping& text : texts_) {
    const bool hits_text = range.Overlaps(text.text);
    // The first page of the image holds the room; without it somebody else may be given its place.
    const bool hits_room =
        kind != Disturbance::kWritable && range.Overlaps({text.room.start, text.room.end + kPageSize});
    if (!hits_text && !hits_room) {
      kept.push_back(std::move(text));
      continue;
    }
    if (text.state == TextMapping::State::kOriginal) continue;  // and never rewritten
    if (DisturbText(text, range, kind, batch)) kept.push_back(std::move(text));
  }
  texts_ = std::move(kept);
  CountRewritten();
}

bool MemoryManager::DisturbText(TextMapping& text, GuestRange range, Disturbance kind, Batch& batch) {
  const bool gone = kind == Disturbance::kGone && range.Contains(text.text);
  if (!gone && text.state == TextMapping::State::kRewritten) {
    const size_t first = batch.undo.size();
    RestoreOriginal(text, batch);
    batch.undo[first].texts.push_back(text);  // if that fails, the copy is still there
  }
  const bool zone_lost = kind != Disturbance::kWritable && range.Overlaps(text.zone());
  if (gone || zone_lost) {
    space_->RemoveTrampolines(text.zone());
    if (!zone_lost) batch.gone.push_back(std::move(text));
    return false;
  }
  text.state = TextMapping::State::kRetired;
  space_->RetireTrampolines(text.zone());
  return true;
}

// After the ops that make the zones useless, so that those are still there if one of them fails.
void MemoryManager::UnmapZones(Batch& batch) {
  for (TextMapping& text : batch.gone) {
    AddInternal(batch, {.kind = MemoryOp::Kind::kUnmap, .range = text.zone()});
    batch.undo.back().frees = true;
    batch.undo.back().texts.push_back(std::move(text));
  }
  batch.gone.clear();
}

void MemoryManager::RestoreOriginal(const TextMapping& text, Batch& batch) {
  for (const Vma& part : vmas_.Slices(text.text)) {
    MemoryOp op{.kind = MemoryOp::Kind::kMapFile, .range = part.range, .prot = part.prot, .flags = MAP_PRIVATE};
    op.fd = text.backing.fd;
    op.keep_alive = text.backing.keep_alive;
    op.offset = part.offset + text.backing.offset_delta;
    AddInternal(batch, std::move(op));
  }
}

void MemoryManager::TakeBackText(const TextMapping& text) {
  std::erase_if(texts_, [&](const auto& t) { return t.room == text.room || t.text.Overlaps(text.text); });
  texts_.push_back(text);
  ShowTrampolines(text);
  CountRewritten();
}

bool MemoryManager::RestoreTexts(platform::Thread& thread) {
  Batch batch;
  {
    MutexLock lock(mu_);
    if (!rewriting_) return false;
    AwaitTexts(range_);
    DisturbTexts(range_, Disturbance::kWritable, batch);
    rewriting_ = false;
    Remember(thread, batch);
  }
  const bool queued = !batch.ops.empty();
  Queue(thread, batch);
  return queued;
}

void MemoryManager::NoteSlowCall(platform::Thread& thread, GuestAddr ip) {
  if (!has_texts_.load(std::memory_order_acquire)) return;
  const GuestAddr call = ip - 1;  // inside the instruction that called
  RefPtr<CachedText> cached;
  Mappable::HostBacking backing;
  bool hot;
  {
    MutexLock lock(mu_);
    TextMapping* const text = FindText(call);
    if (text == nullptr || text->state != TextMapping::State::kOriginal) return;
    cached = text->cached;
    backing = text->backing;
    hot = ++text->slow_calls >= kReplaceAfter;
  }
  const RefPtr<const TextCopy> copy = text_cache_->NoteSlowCall(*cached, backing.fd);
  if (copy != nullptr && hot) ReplaceText(thread, call, copy);
}

bool MemoryManager::BeginReplace(GuestAddr addr, const RefPtr<const TextCopy>& copy, GuestRange* range,
                                 GuestRange* zone) {
  MutexLock lock(mu_);
  TextMapping* const text = FindText(addr);
  if (text == nullptr || text->state != TextMapping::State::kOriginal || !rewriting_) return false;
  // The whole text must still be what was mapped: parts without execute permission would get it back.
  const auto parts = vmas_.Slices(text->text);
  const bool intact = parts.size() == 1 && parts[0].range == text->text && parts[0].prot == (PROT_READ | PROT_EXEC);
  if (!intact || !CheckMapCount(1 + 2 * copy->runs().size()).ok()) return false;
  text->state = TextMapping::State::kReplacing;
  text->copy = copy;
  *range = text->text;
  *zone = text->zone();
  ShowTrampolines(*text);
  CountRewritten();
  return true;
}

void MemoryManager::EndReplace(GuestAddr addr, bool done) {
  MutexLock lock(mu_);
  TextMapping* const text = FindText(addr);
  if (text != nullptr && done) {
    text->state = TextMapping::State::kRewritten;
  } else if (text != nullptr) {
    space_->RemoveTrampolines(text->zone());
    texts_.erase(texts_.begin() + (text - texts_.data()));
  }
  CountRewritten();
  text_replaced_.NotifyAll();
}

// At a trap of `thread` with nothing queued. The ops run now, not when the thread resumes: a call may block for long.
void MemoryManager::ReplaceText(platform::Thread& thread, GuestAddr addr, const RefPtr<const TextCopy>& copy) {
  GuestRange text, zone;
  if (!BeginReplace(addr, copy, &text, &zone)) return;
  thread.QueueMemoryOp(MapZone(copy, zone));
  const bool zone_done = thread.FlushMemoryOps().ok();
  if (zone_done) {
    for (const auto& run : copy->runs()) thread.QueueMemoryOp(MapRun(copy, text, run));
    // Runs that the host refused keep the original's pages, which is as good.
    (void)thread.FlushMemoryOps();
  }
  EndReplace(addr, zone_done);
}

void MemoryManager::UnpatchRead(GuestAddr from, void* data, size_t size) {
  MutexLock lock(mu_);
  const GuestRange read{from, from + size};
  for (const TextMapping& text : texts_) {
    if (text.copy == nullptr || !read.Overlaps(text.text)) continue;
    const GuestAddr start = std::max(read.start, text.text.start), end = std::min(read.end, text.text.end);
    text.copy->Unpatch(start - text.text.start, static_cast<uint8_t*>(data) + (start - from), end - start);
  }
}

void MemoryManager::InheritTexts(const MemoryManager& parent) {
  rewriting_ = parent.rewriting_;
  for (const TextMapping& text : parent.texts_) {
    // MADV_DONTFORK may have taken it away.
    if (!vmas_.Covers(text.text)) continue;
    texts_.push_back(text);
    if (text.copy != nullptr) ShowTrampolines(text);
  }
  CountRewritten();
}

}  // namespace sandbox
