// Puts an ELF file into a fresh address space (Linux: load_elf_binary, elf_load, load_elf_interp).
#pragma once

#include <vector>

#include "sentry/loader/elf_file.h"
#include "sentry/mm/memory_manager.h"

namespace sandbox::loader {

struct MappedElf {
  uint64_t bias = 0;  // added to the file's addresses
  GuestAddr entry;
  GuestAddr end;                  // of the last segment, not rounded
  std::vector<GuestRange> tails;  // parts of file pages that belong to bss: to be zeroed once the ops ran
};

enum class Placement {
  kProgram,      // a program with interpreter, or one with fixed addresses
  kMappingArea,  // an interpreter, or a program that relocates itself
};

// Queues the mappings of `elf`. ENOMEM, or ENOEXEC when fixed addresses leave the guest's range.
Result<MappedElf> MapElf(Context& context, MemoryManager& mm, platform::Thread& thread, const ElfFile& elf,
                         FileDescription& file, Placement placement);

}  // namespace sandbox::loader
