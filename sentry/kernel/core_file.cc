#include "sentry/kernel/core_file.h"

#include <elf.h>
#include <sys/procfs.h>

#include <algorithm>
#include <cstring>

namespace sandbox {
namespace {

constexpr size_t kFpRegsSize = 512;  // struct user_fpregs_struct

// --- Notes. ---

class Notes {
 public:
  void Add(const char* owner, uint32_t type, const void* data, size_t size) {
    const Elf64_Nhdr header = {static_cast<Elf64_Word>(std::strlen(owner) + 1), static_cast<Elf64_Word>(size), type};
    Append(&header, sizeof(header));
    Append(owner, header.n_namesz);
    Append(data, size);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void Append(const void* data, size_t size) {
    bytes_.append(static_cast<const char*>(data), size);
    bytes_.resize((bytes_.size() + 3) & ~size_t{3});
  }
  std::string bytes_;
};

timeval ToTimeval(uint64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<suseconds_t>(ns % 1'000'000'000 / 1000)};
}

void AddStatus(Notes& notes, const CoreProcess& process, const CoreThread& thread) {
  static_assert(sizeof(elf_gregset_t) == sizeof(arch::Registers));
  elf_prstatus status = {};
  status.pr_info.si_signo = process.signal.signo;
  status.pr_info.si_code = process.signal.code;
  status.pr_info.si_errno = process.signal.error;
  status.pr_cursig = static_cast<short>(process.signal.signo);
  status.pr_sigpend = thread.pending;
  status.pr_sighold = thread.blocked;
  status.pr_pid = thread.tid;
  status.pr_ppid = process.ppid;
  status.pr_pgrp = process.pgid;
  status.pr_sid = process.sid;
  const timeval user = ToTimeval(process.user_ns), system = ToTimeval(process.system_ns);
  std::memcpy(&status.pr_utime, &user, sizeof(user));
  std::memcpy(&status.pr_stime, &system, sizeof(system));
  std::memcpy(&status.pr_reg, &thread.regs, sizeof(thread.regs));
  status.pr_fpvalid = thread.fp_state.size() >= kFpRegsSize;
  notes.Add("CORE", NT_PRSTATUS, &status, sizeof(status));
}

void AddFpState(Notes& notes, const CoreThread& thread) {
  if (thread.fp_state.size() < kFpRegsSize) return;
  notes.Add("CORE", NT_PRFPREG, thread.fp_state.data(), kFpRegsSize);
  if (thread.fp_state.size() > kFpRegsSize) {
    notes.Add("LINUX", NT_X86_XSTATE, thread.fp_state.data(), thread.fp_state.size());
  }
}

void AddProcess(Notes& notes, const CoreProcess& process) {
  elf_prpsinfo info = {};
  info.pr_sname = 'R';
  info.pr_nice = static_cast<char>(process.nice);
  info.pr_uid = process.uid;
  info.pr_gid = process.gid;
  info.pr_pid = process.pid;
  info.pr_ppid = process.ppid;
  info.pr_pgrp = process.pgid;
  info.pr_sid = process.sid;
  std::memcpy(info.pr_fname, process.name.data(), std::min(process.name.size(), sizeof(info.pr_fname) - 1));
  std::memcpy(info.pr_psargs, process.arguments.data(), std::min(process.arguments.size(), sizeof(info.pr_psargs) - 1));
  notes.Add("CORE", NT_PRPSINFO, &info, sizeof(info));
}

// Files that are mapped: ranges, then their names.
void AddFiles(Notes& notes, const std::vector<Vma>& vmas) {
  std::vector<uint64_t> table = {0, kPageSize};
  std::string names;
  for (const Vma& vma : vmas) {
    if (vma.mappable == nullptr) continue;
    const std::string path = vma.mappable->MappingIdentity().path;
    if (path.empty()) continue;
    table.insert(table.end(), {vma.range.start.value(), vma.range.end.value(), vma.offset / kPageSize});
    names.append(path.c_str(), path.size() + 1);
    ++table[0];
  }
  std::string note(reinterpret_cast<const char*>(table.data()), table.size() * sizeof(table[0]));
  note += names;
  notes.Add("CORE", NT_FILE, note.data(), note.size());
}

Notes MakeNotes(const CoreProcess& process, const std::vector<uint64_t>& auxv, const std::vector<Vma>& vmas) {
  Notes notes;
  bool first = true;
  for (const CoreThread& thread : process.threads) {
    AddStatus(notes, process, thread);
    if (std::exchange(first, false)) {
      AddProcess(notes, process);
      notes.Add("CORE", NT_SIGINFO, &process.signal, sizeof(process.signal));
      notes.Add("CORE", NT_AUXV, auxv.data(), auxv.size() * sizeof(auxv[0]));
      AddFiles(notes, vmas);
    }
    AddFpState(notes, thread);
  }
  return notes;
}

// --- Memory. ---

bool StartsWithElfHeader(MemoryManager& mm, GuestAddr at) {
  char magic[SELFMAG];
  const auto read = mm.ReadSome(at, magic, sizeof(magic));
  return read.ok() && *read == sizeof(magic) && std::memcmp(magic, ELFMAG, SELFMAG) == 0;
}

// Whether a private mapping has pages of its own (Linux: anon_vma), as far as the host says.
using Residencies = std::vector<platform::AddressSpace::Residency>;
bool HasOwnPages(const Residencies& host, const Vma& vma) {
  if (host.empty()) return vma.prot != PROT_NONE && (vma.mappable == nullptr || vma.writable());
  auto at =
      std::partition_point(host.begin(), host.end(), [&](const auto& one) { return one.range.end <= vma.range.start; });
  for (; at != host.end() && at->range.start < vma.range.end; ++at) {
    if (at->anonymous + at->swap > 0) return true;
  }
  return false;
}

// How much of a mapping is dumped (Linux: vma_dump_size).
uint64_t DumpedSize(MemoryManager& mm, const Residencies& host, const Vma& vma) {
  const uint64_t whole = vma.range.length();
  const uint32_t filter = mm.core_filter();
  if (vma.label == "[vdso]") return whole;
  if (vma.dont_dump) return 0;
  const bool file = vma.mappable != nullptr && !vma.mappable->MappingIdentity().path.empty() &&
                    !vma.mappable->MappingIdentity().path.ends_with(" (deleted)");
  if (vma.shared) return filter & (file ? kCoreMappedShared : kCoreAnonymousShared) ? whole : 0;
  if (HasOwnPages(host, vma) && (filter & kCoreAnonymousPrivate)) return whole;
  if (vma.mappable == nullptr) return 0;
  if (filter & kCoreMappedPrivate) return whole;
  const bool header = (filter & kCoreElfHeaders) && vma.offset == 0 && (vma.prot & PROT_READ);
  return header && StartsWithElfHeader(mm, vma.range.start) ? kPageSize : 0;
}

class CoreWriter {
 public:
  CoreWriter(Context& context, FileDescription& file, uint64_t limit) : context_(context), file_(file), limit_(limit) {}

  // EFBIG beyond the limit.
  Result<void> Write(uint64_t offset, const void* data, size_t size) {
    if (size > limit_ || offset > limit_ - size) return Err(EFBIG);
    auto at = static_cast<int64_t>(offset);
    IoSequence from = IoSequence::Kernel(const_cast<void*>(data), size);
    while (!from.empty()) {
      if (TRY(file_.Write(context_, from, &at, 0)) == 0) return Err(EIO);
    }
    return {};
  }

  // Bytes [start, start + size) of memory. What cannot be read, or is zero, is a hole.
  Result<void> WriteMemory(MemoryManager& mm, const Vma& vma, uint64_t size, uint64_t offset) {
    std::vector<char> buffer(kChunk);
    for (uint64_t done = 0; done < size;) {
      const auto got = mm.ReadSome(vma.range.start + done, buffer.data(), std::min<uint64_t>(size - done, kChunk));
      if (!got.ok() || *got == 0) {
        if (vma.prot == PROT_NONE) return {};
        done += kPageSize;
        continue;
      }
      for (size_t page = 0; page < *got; page += kPageSize) {
        const size_t length = std::min<size_t>(kPageSize, *got - page);
        const char* const bytes = buffer.data() + page;
        if (std::all_of(bytes, bytes + length, [](char c) { return c == 0; })) continue;
        TRY(Write(offset + done + page, bytes, length));
      }
      done += *got;
    }
    return {};
  }

 private:
  static constexpr size_t kChunk = 65536;
  Context& context_;
  FileDescription& file_;
  const uint64_t limit_;
};

Elf64_Ehdr FileHeader(size_t segments) {
  Elf64_Ehdr header = {};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(segments);
  return header;
}

Elf64_Phdr Segment(const Vma& vma, uint64_t dumped, uint64_t offset) {
  Elf64_Phdr segment = {};
  segment.p_type = PT_LOAD;
  segment.p_offset = offset;
  segment.p_vaddr = vma.range.start.value();
  segment.p_filesz = dumped;
  segment.p_memsz = vma.range.length();
  segment.p_flags =
      (vma.prot & PROT_READ ? PF_R : 0) | (vma.prot & PROT_WRITE ? PF_W : 0) | (vma.prot & PROT_EXEC ? PF_X : 0);
  segment.p_align = kPageSize;
  return segment;
}

}  // namespace

Result<void> WriteCore(Context& context, FileDescription& file, MemoryManager& mm, const CoreProcess& process,
                       uint64_t limit) {
  const std::vector<Vma> vmas = mm.List();
  static_assert(MemoryManager::kMaxMappings + 1 < PN_XNUM);
  const Notes notes = MakeNotes(process, mm.layout().auxv, vmas);
  const Elf64_Ehdr header = FileHeader(vmas.size() + 1);
  std::vector<Elf64_Phdr> segments = {{.p_type = PT_NOTE, .p_align = 4}};
  segments[0].p_offset = sizeof(header) + (vmas.size() + 1) * sizeof(Elf64_Phdr);
  segments[0].p_filesz = notes.bytes().size();
  uint64_t end = (segments[0].p_offset + notes.bytes().size() + kPageMask) & ~kPageMask;
  const Residencies host = mm.space()->GetResidency();
  for (const Vma& vma : vmas) {
    const uint64_t dumped = DumpedSize(mm, host, vma);
    segments.push_back(Segment(vma, dumped, end));
    end += dumped;
  }

  CoreWriter writer(context, file, limit);
  TRY(writer.Write(0, &header, sizeof(header)));
  TRY(writer.Write(sizeof(header), segments.data(), segments.size() * sizeof(segments[0])));
  TRY(writer.Write(segments[0].p_offset, notes.bytes().data(), notes.bytes().size()));
  for (size_t i = 0; i < vmas.size(); ++i) {
    TRY(writer.WriteMemory(mm, vmas[i], segments[i + 1].p_filesz, segments[i + 1].p_offset));
  }
  return writer.Write(end - 1, "", 1);  // the last page may be a hole
}

}  // namespace sandbox
