#include "sentry/loader/elf_map.h"

#include <sys/mman.h>

#include <algorithm>

namespace sandbox::loader {
namespace {

uint64_t PageUp(uint64_t value) { return (value + kPageMask) & ~kPageMask; }

uint64_t ImageBytes(const ElfFile& elf) { return PageUp(elf.end()) - elf.start(); }

Result<uint64_t> ChooseBias(MemoryManager& mm, platform::Thread& thread, const ElfFile& elf, Placement placement) {
  const uint64_t length = ImageBytes(elf);
  if (!elf.position_independent) {
    const GuestRange place{GuestAddr(elf.start()), GuestAddr(PageUp(elf.end()))};
    if (!mm.range().Contains(place)) return Err(ENOEXEC);
    return uint64_t{0};
  }
  GuestAddr base;
  if (placement == Placement::kProgram) base = mm.PieBase(length, elf.alignment);
  if (base.IsNull()) {
    // The trampolines' place is below, where nothing of the image's is.
    const uint64_t align = std::max(elf.alignment, kPageSize);
    const uint64_t room = (mm.TrampolineRoom(length) + align - 1) / align * align;
    base = TRY(mm.FindFree(thread, room + length, align)) + room;
  }
  return base.value() - elf.start();
}

// `image_bytes`: of the whole image for its first segment, 0 for the others.
Result<void> MapSegment(Context& context, MemoryManager& mm, platform::Thread& thread, const Segment& segment,
                        const RefPtr<Mappable>& mappable, uint64_t image_bytes, MappedElf& mapped) {
  const uint64_t start = (mapped.bias + segment.address) & ~kPageMask;
  const uint64_t file_end = mapped.bias + segment.address + segment.file_size;
  const uint64_t end = PageUp(mapped.bias + segment.end());
  uint64_t anonymous_start = start;
  if (segment.file_size > 0) {
    anonymous_start = PageUp(file_end);
    MapRequest request{.hint = GuestAddr(start), .length = anonymous_start - start, .prot = segment.prot};
    request.flags = MAP_PRIVATE | MAP_FIXED;
    request.mappable = mappable;
    request.image_bytes = image_bytes;
    request.offset = segment.file_offset & ~kPageMask;
    TRY(mm.Map(context, thread, request));
    // Memory beyond the file's bytes reads as zero to the end of its page, which holds the file's next bytes
    // now. A read-only segment keeps them, as on Linux.
    if (segment.memory_size > segment.file_size && (segment.prot & PROT_WRITE) && file_end < anonymous_start) {
      mapped.tails.push_back({GuestAddr(file_end), GuestAddr(anonymous_start)});
    }
  }
  if (anonymous_start < end) {
    MapRequest request{.hint = GuestAddr(anonymous_start), .length = end - anonymous_start, .prot = segment.prot};
    request.flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS;
    TRY(mm.Map(context, thread, request));
  }
  return {};
}

}  // namespace

Result<MappedElf> MapElf(Context& context, MemoryManager& mm, platform::Thread& thread, const ElfFile& elf,
                         FileDescription& file, Placement placement) {
  MappedElf mapped;
  mapped.bias = TRY(ChooseBias(mm, thread, elf, placement));
  const auto mappable = TRY(file.GetMappable(context));
  for (const Segment& segment : elf.segments) {
    const uint64_t image_bytes = &segment == &elf.segments.front() ? ImageBytes(elf) : 0;
    TRY(MapSegment(context, mm, thread, segment, mappable, image_bytes, mapped));
  }
  mapped.entry = GuestAddr(mapped.bias + elf.entry);
  mapped.end = GuestAddr(mapped.bias + elf.end());
  return mapped;
}

}  // namespace sandbox::loader
