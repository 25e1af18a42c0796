#include "sentry/loader/loader.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "sentry/loader/elf_file.h"
#include "sentry/loader/elf_map.h"
#include "sentry/loader/initial_stack.h"
#include "sentry/loader/script.h"
#include "sentry/loader/vdso.h"
#include "sentry/vfs/operations.h"

namespace sandbox {
namespace {

using loader::ElfFile;
using loader::MappedElf;
using loader::StackArgs;

// How often a script may name a script (Linux: exec_binprm).
constexpr int kMaxScriptDepth = 5;

// What remains to be run once the "#!" lines were followed.
struct Resolved {
  FileRef file;
  std::vector<std::string> argv;
};

Result<Resolved> FollowScripts(Context& context, const LoadArgs& args) {
  Resolved resolved{args.file, args.argv};
  if (resolved.argv.empty()) resolved.argv.emplace_back();  // since Linux 5.18 a program always has an argv[0]
  std::string name = args.filename;
  for (int depth = 0;; ++depth) {
    char head[loader::kProbeSize];
    IoSequence buffer = IoSequence::Kernel(head, sizeof(head));
    int64_t offset = 0;
    const size_t size = TRY(resolved.file->Read(context, buffer, &offset, 0));
    if (size < 2 || std::memcmp(head, "#!", 2) != 0) return resolved;
    if (depth == kMaxScriptDepth) return Err(ELOOP);
    const auto line = TRY(loader::ParseScriptLine({head, size}));
    std::vector<std::string> argv{line.interpreter};
    if (!line.argument.empty()) argv.push_back(line.argument);
    argv.push_back(name);
    argv.insert(argv.end(), std::make_move_iterator(resolved.argv.begin() + 1),
                std::make_move_iterator(resolved.argv.end()));
    resolved.argv = std::move(argv);
    name = line.interpreter;
    resolved.file = TRY(OpenForExec(context, args.base, line.interpreter, {}));
  }
}

std::vector<std::pair<uint64_t, uint64_t>> AuxVector(const ElfFile& elf, const MappedElf& program, uint64_t base,
                                                     GuestAddr vdso, const LoadArgs::Identity& identity) {
  const Credentials& creds = *identity.creds;
  std::vector<std::pair<uint64_t, uint64_t>> aux;
  if (!vdso.IsNull()) aux.emplace_back(AT_SYSINFO_EHDR, vdso.value());
  aux.emplace_back(AT_MINSIGSTKSZ, getauxval(AT_MINSIGSTKSZ));
  aux.emplace_back(AT_HWCAP, getauxval(AT_HWCAP));
  aux.emplace_back(AT_PAGESZ, kPageSize);
  aux.emplace_back(AT_CLKTCK, 100);
  aux.emplace_back(AT_PHDR, elf.header_address == 0 ? 0 : program.bias + elf.header_address);
  aux.emplace_back(AT_PHENT, sizeof(Elf64_Phdr));
  aux.emplace_back(AT_PHNUM, elf.header_count);
  aux.emplace_back(AT_BASE, base);
  aux.emplace_back(AT_FLAGS, 0);
  aux.emplace_back(AT_ENTRY, program.entry.value());
  aux.emplace_back(AT_UID, creds.uid);
  aux.emplace_back(AT_EUID, creds.euid);
  aux.emplace_back(AT_GID, creds.gid);
  aux.emplace_back(AT_EGID, creds.egid);
  aux.emplace_back(AT_SECURE, identity.secure ? 1 : 0);
  return aux;
}

void FillCodeAndData(MmLayout& layout, const ElfFile& elf, uint64_t bias) {
  layout.start_code = GuestAddr(~uint64_t{0});
  for (const auto& segment : elf.segments) {
    const GuestAddr start(bias + segment.address), file_end(bias + segment.address + segment.file_size);
    // As load_elf_binary computes them: code is the span of executable segments, data ends with the last one.
    if (segment.prot & PROT_EXEC) layout.end_code = std::max(layout.end_code, file_end);
    layout.start_code = std::min(layout.start_code, start);
    layout.start_data = std::max(layout.start_data, start);
    layout.end_data = std::max(layout.end_data, file_end);
  }
}

// What the new memory holds beside its files.
struct Contents {
  GuestAddr at;
  std::span<const uint8_t> bytes;
};

void AddTails(const MappedElf& mapped, std::vector<Contents>& contents) {
  static const uint8_t zeros[kPageSize] = {};
  for (const GuestRange& tail : mapped.tails) contents.push_back({tail.start, {zeros, tail.length()}});
}

// By the thread itself, together with what is queued, where it can; then what fails is the new program's end.
Result<void> Fill(MemoryManager& mm, platform::Thread& thread, std::span<const Contents> contents) {
  size_t total = 0;
  for (const Contents& part : contents) total += part.bytes.size() + kPageSize / 8;  // with what alignment takes
  if (thread.ReserveOutput(total) != nullptr) {
    for (const Contents& part : contents) {
      std::memcpy(thread.ReserveOutput(part.bytes.size()), part.bytes.data(), part.bytes.size());
      thread.CommitOutput(part.at, part.bytes.size());
    }
    return {};
  }
  TRY(thread.FlushMemoryOps());
  mm.OpsExecuted(thread);
  for (const Contents& part : contents) TRY(mm.Write(part.at, part.bytes.data(), part.bytes.size()));
  return {};
}

// comm: the last component of the name execve was given.
std::string BaseName(const std::string& filename) {
  return filename.substr(filename.find_last_of('/') + 1).substr(0, 15);
}

// Everything that is mapped, before the ops have run.
struct Image {
  ElfFile elf;
  MappedElf program;
  std::optional<MappedElf> interpreter;
  GuestAddr vdso;
};

Result<Image> MapImage(Context& context, MemoryManager& mm, platform::Thread& thread, const WalkBase& base,
                       FileDescription& file) {
  Image image;
  image.elf = TRY(loader::ReadElf(context, file));
  FileRef interpreter;
  ElfFile interpreter_elf;
  if (!image.elf.interpreter.empty()) {
    interpreter = TRY(OpenForExec(context, base, image.elf.interpreter, {}));
    auto parsed = loader::ReadElf(context, *interpreter);
    if (parsed.Is(ENOEXEC)) return Err(ELIBBAD);  // Linux's errno for a bad interpreter
    interpreter_elf = TRY(std::move(parsed));
  }
  // A program that relocates itself (the dynamic linker run by hand, static PIE) goes where libraries go.
  const auto placement = interpreter != nullptr || !image.elf.position_independent ? loader::Placement::kProgram
                                                                                   : loader::Placement::kMappingArea;
  image.program = TRY(loader::MapElf(context, mm, thread, image.elf, file, placement));
  if (interpreter != nullptr) {
    image.interpreter =
        TRY(loader::MapElf(context, mm, thread, interpreter_elf, *interpreter, loader::Placement::kMappingArea));
  }
  image.vdso = TRY(loader::MapVdso(context, mm, thread));
  // Such a program must not have its heap in the mapping area, where it could hardly grow.
  const bool in_mapping_area = placement == loader::Placement::kMappingArea;
  mm.SetUpBrk(in_mapping_area ? mm.PieBase(kPageSize, kPageSize) : image.program.end);
  return image;
}

}  // namespace

Result<LoadedImage> Load(Context& context, MemoryManager& mm, platform::Thread& thread, const LoadArgs& args) {
  Resolved resolved = TRY(FollowScripts(context, args));
  const uint64_t stack_limit = context.rlimit(RLIMIT_STACK);
  StackArgs strings{std::move(resolved.argv), args.envv, args.filename, args.randomize};
  const uint64_t string_bytes = TRY(CheckArgumentSize(strings, stack_limit));
  const auto identity = TRY(args.identify(resolved.file));

  mm.SetUpLayout(stack_limit, args.randomize);
  const Image image = TRY(MapImage(context, mm, thread, args.base, *resolved.file));
  const int stack_prot = PROT_READ | PROT_WRITE | (image.elf.executable_stack ? PROT_EXEC : 0);
  const GuestRange stack = TRY(mm.MapStack(context, thread, stack_limit, string_bytes, stack_prot));
  std::vector<Contents> contents;
  AddTails(image.program, contents);
  if (image.interpreter) AddTails(*image.interpreter, contents);
  const uint64_t base = image.interpreter ? image.interpreter->bias : 0;
  const auto built = BuildStack(stack.end, strings, AuxVector(image.elf, image.program, base, image.vdso, identity));
  contents.push_back({built.sp, built.bytes});
  TRY(Fill(mm, thread, contents));

  MmLayout layout = mm.layout();  // start_brk is set
  FillCodeAndData(layout, image.elf, image.program.bias);
  layout.start_stack = built.sp;
  layout.arg_start = built.arg_start;
  layout.arg_end = built.arg_end;
  layout.env_start = built.env_start;
  layout.env_end = built.env_end;
  layout.vdso = image.vdso;
  layout.auxv = built.auxv;
  mm.SetLayout(layout);
  mm.SetExecutable(resolved.file);

  LoadedImage loaded;
  loaded.entry = image.interpreter ? image.interpreter->entry : image.program.entry;
  loaded.stack = built.sp;
  loaded.executable = resolved.file;
  loaded.name = BaseName(args.filename);
  loaded.creds = identity.creds;
  loaded.secure = identity.secure;
  return loaded;
}

}  // namespace sandbox
