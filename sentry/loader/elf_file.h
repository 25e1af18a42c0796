// What the loader needs of an ELF64 file, read once and validated (elf(5)). Files are hostile input: every offset,
// size and count is bounded here, so that the mapping code can add them up without looking again.
#pragma once

#include <elf.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "sentry/vfs/file.h"

namespace sandbox::loader {

// One PT_LOAD, all numbers relative to a load bias of zero.
struct Segment {
  uint64_t address = 0;  // p_vaddr
  uint64_t file_offset = 0;
  uint64_t file_size = 0;
  uint64_t memory_size = 0;
  int prot = 0;
  uint64_t end() const { return address + memory_size; }
};

struct ElfFile {
  bool position_independent = false;  // ET_DYN
  uint64_t entry = 0;
  uint64_t header_address = 0;  // of the program headers in memory, 0 when no segment holds them
  uint16_t header_count = 0;
  std::vector<Segment> segments;  // ascending, not overlapping, at least one
  uint64_t alignment = 4096;      // largest power of two asked for by a segment
  std::string interpreter;        // empty = none
  bool executable_stack = false;

  uint64_t start() const { return segments.front().address & ~uint64_t{4095}; }
  uint64_t end() const { return segments.back().end(); }  // not rounded
};

// Reads and validates `file`. ENOEXEC for anything but a well-formed x86-64 executable or shared object (32-bit ones
// included), EIO for short reads where Linux says so.
Result<ElfFile> ReadElf(Context& context, FileDescription& file);

// As ReadElf over bytes in memory (tests, fuzzing, the vDSO).
Result<ElfFile> ParseElf(std::span<const uint8_t> bytes);

// Reads exactly `size` bytes; ENOEXEC when the file is shorter.
Result<void> ReadExactly(Context& context, FileDescription& file, uint64_t offset, void* to, size_t size);

}  // namespace sandbox::loader
