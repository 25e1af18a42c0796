#include "sentry/loader/elf_file.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <climits>
#include <cstring>
#include <functional>

#include "base/guest_addr.h"

namespace sandbox::loader {
namespace {

// Addresses of a program end below this (Linux: TASK_SIZE).
constexpr uint64_t kTaskSize = 0x7ffffffff000;
// Linux: ELF_MIN_ALIGN limits the header table to one 64 KiB read.
constexpr size_t kMaxHeaderBytes = 65536;

using Reader = std::function<Result<void>(uint64_t offset, void* to, size_t size)>;

Result<Elf64_Ehdr> ReadHeader(const Reader& read) {
  Elf64_Ehdr header;
  TRY(read(0, &header, sizeof(header)));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return Err(ENOEXEC);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) return Err(ENOEXEC);
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) return Err(ENOEXEC);
  if (header.e_machine != EM_X86_64) return Err(ENOEXEC);
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0) return Err(ENOEXEC);
  if (header.e_phnum * sizeof(Elf64_Phdr) > kMaxHeaderBytes) return Err(ENOEXEC);
  return header;
}

Result<void> AddSegment(ElfFile& elf, const Elf64_Phdr& header) {
  if (header.p_memsz == 0) return {};
  if (header.p_filesz > header.p_memsz || header.p_memsz > kTaskSize) return Err(ENOEXEC);
  if (header.p_vaddr > kTaskSize - header.p_memsz) return Err(ENOEXEC);
  // Linux maps from the page that holds p_vaddr, which works only when file and memory agree on the offset in a page.
  if (header.p_filesz > 0) {
    if ((header.p_vaddr & kPageMask) != (header.p_offset & kPageMask)) return Err(ENOEXEC);
    if (header.p_offset > LLONG_MAX - header.p_filesz) return Err(ENOEXEC);
  }
  // The specification orders segments by address; each starts after the end of the one before. They may share a page.
  if (!elf.segments.empty() && header.p_vaddr < elf.segments.back().end()) return Err(ENOEXEC);
  Segment segment{.address = header.p_vaddr,
                  .file_offset = header.p_offset,
                  .file_size = header.p_filesz,
                  .memory_size = header.p_memsz};
  if (header.p_flags & PF_R) segment.prot |= PROT_READ;
  if (header.p_flags & PF_W) segment.prot |= PROT_WRITE;
  if (header.p_flags & PF_X) segment.prot |= PROT_EXEC;
  // Alignments that are no power of two, or absurd, are ignored as in Linux (maximum_alignment).
  if (std::has_single_bit(header.p_align) && header.p_align <= (uint64_t{1} << 30)) {
    elf.alignment = std::max<uint64_t>(elf.alignment, header.p_align);
  }
  elf.segments.push_back(segment);
  return {};
}

Result<void> ReadInterpreter(ElfFile& elf, const Elf64_Phdr& header, const Reader& read) {
  if (!elf.interpreter.empty()) return {};  // the first one counts
  if (header.p_filesz < 2 || header.p_filesz > PATH_MAX) return Err(ENOEXEC);
  std::string name(header.p_filesz, '\0');
  TRY(read(header.p_offset, name.data(), name.size()));
  if (name.back() != '\0') return Err(ENOEXEC);
  name.resize(std::strlen(name.c_str()));
  if (name.empty()) return Err(ENOEXEC);
  elf.interpreter = std::move(name);
  return {};
}

Result<ElfFile> Parse(const Reader& read) {
  const Elf64_Ehdr header = TRY(ReadHeader(read));
  std::vector<Elf64_Phdr> programs(header.e_phnum);
  TRY(read(header.e_phoff, programs.data(), programs.size() * sizeof(Elf64_Phdr)));

  ElfFile elf;
  elf.position_independent = header.e_type == ET_DYN;
  elf.entry = header.e_entry;
  elf.header_count = header.e_phnum;
  for (const Elf64_Phdr& program : programs) {
    switch (program.p_type) {
      case PT_LOAD:
        TRY(AddSegment(elf, program));
        break;
      case PT_INTERP:
        TRY(ReadInterpreter(elf, program, read));
        break;
      case PT_GNU_STACK:
        elf.executable_stack = program.p_flags & PF_X;
        break;
      default:  // PT_GNU_PROPERTY too: shadow stacks are not offered
        break;
    }
  }
  if (elf.segments.empty() || elf.entry >= kTaskSize) return Err(ENOEXEC);
  for (const Segment& segment : elf.segments) {
    if (header.e_phoff >= segment.file_offset && header.e_phoff - segment.file_offset < segment.file_size) {
      elf.header_address = segment.address + (header.e_phoff - segment.file_offset);
    }
  }
  return elf;
}

}  // namespace

Result<void> ReadExactly(Context& context, FileDescription& file, uint64_t offset, void* to, size_t size) {
  if (offset > static_cast<uint64_t>(LLONG_MAX) - size) return Err(ENOEXEC);
  int64_t position = static_cast<int64_t>(offset);
  IoSequence buffer = IoSequence::Kernel(to, size);
  while (!buffer.empty()) {
    if (TRY(file.Read(context, buffer, &position, 0)) == 0) return Err(ENOEXEC);
  }
  return {};
}

// Headers and the interpreter's name are nearly always in the first page.
Result<ElfFile> ReadElf(Context& context, FileDescription& file) {
  std::array<uint8_t, kPageSize> head;
  IoSequence buffer = IoSequence::Kernel(head.data(), head.size());
  int64_t position = 0;
  const size_t known = TRY(file.Read(context, buffer, &position, 0));
  return Parse([&](uint64_t offset, void* to, size_t size) -> Result<void> {
    if (offset > known || size > known - offset) return ReadExactly(context, file, offset, to, size);
    std::memcpy(to, head.data() + offset, size);
    return {};
  });
}

Result<ElfFile> ParseElf(std::span<const uint8_t> bytes) {
  return Parse([&](uint64_t offset, void* to, size_t size) -> Result<void> {
    if (offset > bytes.size() || size > bytes.size() - offset) return Err(ENOEXEC);
    std::memcpy(to, bytes.data() + offset, size);
    return {};
  });
}

}  // namespace sandbox::loader
