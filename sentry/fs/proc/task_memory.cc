// maps, smaps, smaps_rollup, numa_maps, mem, pagemap, cmdline, environ, auxv: an address space and its contents (Linux:
// fs/proc/task_mmu.c, base.c).
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/log.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/kernel/ptrace_access.h"

namespace sandbox::proc {
namespace {

constexpr uint64_t kMaxText = uint64_t{8} << 20;  // of cmdline and environ; execve allows 6 MiB

std::string MapLine(const Vma& vma) {
  Mappable::Identity identity;
  if (vma.mappable != nullptr) identity = vma.mappable->MappingIdentity();
  std::string line =
      StrPrintf("%08lx-%08lx %c%c%c%c %08lx %02x:%02x %lu ", vma.range.start.value(), vma.range.end.value(),
                vma.prot & PROT_READ ? 'r' : '-', vma.prot & PROT_WRITE ? 'w' : '-', vma.prot & PROT_EXEC ? 'x' : '-',
                vma.shared ? 's' : 'p', vma.offset, major(identity.device), minor(identity.device), identity.inode);
  const std::string& name = vma.label.empty() ? identity.path : vma.label;
  if (!name.empty()) {
    line.resize(std::max<size_t>(line.size(), 73), ' ');  // the column Linux pads names to
    for (const char c : name) line += c == '\n' ? "\\012" : std::string(1, c);
  }
  return line + "\n";
}

// Like mm_access: those of others who may not be looked into read as an error when opened. ENOMEM-free: null when gone.
Result<std::vector<Vma>> MappingsOf(Task& task) {
  const auto mm = task.mm_ref();
  return mm != nullptr ? mm->List() : std::vector<Vma>();
}

Result<std::string> Maps(Context&, Task& task) {
  std::string text;
  for (const Vma& vma : TRY(MappingsOf(task))) text += MapLine(vma);
  return text;
}

using platform::AddressSpace;
using Residency = AddressSpace::Residency;

// Every figure of a mapping, in the order of smaps.
struct Figure {
  const char* name;
  uint64_t Residency::*value;  // null: the host's is not the guest's, or zero
};
constexpr Figure kFigures[] = {
    {"Rss", &Residency::rss},
    {"Pss", &Residency::pss},
    {"Pss_Dirty", &Residency::pss_dirty},
    {"Shared_Clean", &Residency::shared_clean},
    {"Shared_Dirty", &Residency::shared_dirty},
    {"Private_Clean", &Residency::private_clean},
    {"Private_Dirty", &Residency::private_dirty},
    {"Referenced", &Residency::referenced},
    {"Anonymous", &Residency::anonymous},
    {"KSM", nullptr},
    {"LazyFree", &Residency::lazy_free},
    {"AnonHugePages", &Residency::anonymous_huge},
    {"ShmemPmdMapped", nullptr},
    {"FilePmdMapped", nullptr},
    {"Shared_Hugetlb", nullptr},
    {"Private_Hugetlb", nullptr},
    {"Swap", &Residency::swap},
    {"SwapPss", &Residency::swap_pss},
};

// What the host says of its mappings, for the guest's. The host may have merged neighbours that the guest keeps apart:
// their shares are by size.
class ResidencyMap {
 public:
  explicit ResidencyMap(std::vector<Residency> host) : host_(std::move(host)) {}

  Residency Of(GuestRange range) const {
    Residency sum{.range = range};
    auto at = std::partition_point(host_.begin(), host_.end(),
                                   [&](const Residency& one) { return one.range.end <= range.start; });
    for (; at != host_.end() && at->range.start < range.end; ++at) {
      const uint64_t common = std::min(at->range.end, range.end) - std::max(at->range.start, range.start);
      for (const Figure& figure : kFigures) {
        if (figure.value == nullptr) continue;
        const auto share = static_cast<unsigned __int128>((*at).*figure.value) * common / at->range.length();
        sum.*figure.value += static_cast<uint64_t>(share);
      }
    }
    return sum;
  }

 private:
  const std::vector<Residency> host_;
};

void AddFigure(std::string& text, const char* name, uint64_t bytes) {
  text += StrPrintf("%-15s %8lu kB\n", (std::string(name) + ":").c_str(), KiB(bytes));
}

// The block of figures that smaps and smaps_rollup share. The latter says more about one of them: `anonymous_pss`.
std::string Figures(const Residency& all, uint64_t locked, std::optional<uint64_t> anonymous_pss = std::nullopt) {
  std::string text;
  for (const Figure& figure : kFigures) {
    AddFigure(text, figure.name, figure.value != nullptr ? all.*figure.value : 0);
    if (figure.value != &Residency::pss_dirty || !anonymous_pss) continue;
    AddFigure(text, "Pss_Anon", *anonymous_pss);
    AddFigure(text, "Pss_File", all.pss - *anonymous_pss);
    AddFigure(text, "Pss_Shmem", 0);  // the host's memory files are the guest's files
  }
  AddFigure(text, "Locked", locked);
  return text;
}

// The part of `pss` that is of pages of the process's own: those have no more sharers than others.
uint64_t AnonymousPss(const Residency& one) {
  return one.rss == 0 ? 0 : std::min(one.pss, one.pss * one.anonymous / one.rss);
}

std::string VmFlags(const Vma& vma) {
  std::string flags;
  if (vma.prot & PROT_READ) flags += "rd ";
  if (vma.prot & PROT_WRITE) flags += "wr ";
  if (vma.prot & PROT_EXEC) flags += "ex ";
  if (vma.shared) flags += "sh ";
  if (vma.max_prot & PROT_READ) flags += "mr ";
  if (vma.max_prot & PROT_WRITE) flags += "mw ";
  if (vma.max_prot & PROT_EXEC) flags += "me ";
  if (vma.shared) flags += "ms ";
  if (vma.grows_down) flags += "gd ";
  if (vma.locked) flags += "lo ";
  if (vma.dont_fork) flags += "dc ";
  if (vma.is_data() && !vma.no_reserve) flags += "ac ";
  if (vma.no_reserve) flags += "nr ";
  if (vma.wipe_on_fork) flags += "wf ";
  if (vma.dont_dump) flags += "dd ";
  return flags;
}

Result<std::string> Smaps(Context&, Task& task) {
  const auto mm = task.mm_ref();
  if (mm == nullptr) return std::string();
  const auto vmas = mm->List();
  const ResidencyMap host(mm->space()->GetResidency());
  std::string text;
  for (const Vma& vma : vmas) {
    const Residency residency = host.Of(vma.range);
    text += MapLine(vma);
    text += StrPrintf("Size:           %8lu kB\nKernelPageSize: %8d kB\nMMUPageSize:    %8d kB\n",
                      KiB(vma.range.length()), 4, 4);
    text += Figures(residency, vma.locked ? residency.pss : 0);
    text += StrPrintf("THPeligible:    %8d\nVmFlags: %s\n", 0, VmFlags(vma).c_str());
  }
  return text;
}

Result<std::string> SmapsRollup(Context&, Task& task) {
  const auto mm = task.mm_ref();
  if (mm == nullptr) return Err(ESRCH);
  const auto vmas = mm->List();
  if (vmas.empty()) return std::string();
  const ResidencyMap host(mm->space()->GetResidency());
  Residency all;
  uint64_t locked = 0, anonymous_pss = 0;
  for (const Vma& vma : vmas) {
    const Residency one = host.Of(vma.range);
    for (const Figure& figure : kFigures) {
      if (figure.value != nullptr) all.*figure.value += one.*figure.value;
    }
    if (vma.locked) locked += one.pss;
    anonymous_pss += AnonymousPss(one);
  }
  std::string text = StrPrintf("%08lx-%08lx ---p %08lx 00:00 0 ", vmas.front().range.start.value(),
                               vmas.back().range.end.value(), uint64_t{0});
  text.resize(std::max<size_t>(text.size(), 73), ' ');
  return text + "[rollup]\n" + Figures(all, locked, anonymous_pss);
}

Result<std::string> NumaMaps(Context&, Task& task) {
  std::string text;
  for (const Vma& vma : TRY(MappingsOf(task))) {
    text += StrPrintf("%08lx default", vma.range.start.value());
    if (vma.label == "[heap]")
      text += " heap";
    else if (vma.label == "[stack]")
      text += " stack";
    else if (vma.mappable != nullptr)
      text += " file=" + vma.mappable->MappingIdentity().path;
    text += "\n";
  }
  return text;
}

// Bytes [start, end) of a task's memory, as far as they can be read.
std::string ReadRange(MemoryManager& mm, GuestAddr start, GuestAddr end) {
  if (end <= start) return {};
  std::string bytes(std::min(end - start, kMaxText), '\0');
  bytes.resize(mm.ReadSome(start, bytes.data(), bytes.size()).value_or(0));
  return bytes;
}

Result<std::string> Cmdline(Context&, Task& task) {
  const auto mm = task.mm_ref();
  if (mm == nullptr) return std::string();
  const MmLayout layout = mm->layout();
  std::string text = ReadRange(*mm, layout.arg_start, layout.arg_end);
  if (text.empty() || text.back() == '\0') return text;
  // setproctitle(3) overwrote the end of the arguments: the title ends at its NUL, perhaps in the environment.
  if (layout.env_start == layout.arg_end) text += ReadRange(*mm, layout.env_start, layout.env_end);
  return text.substr(0, text.find('\0'));
}

Result<std::string> Environ(Context&, Task& task) {
  const auto mm = task.mm_ref();
  if (mm == nullptr) return std::string();
  const MmLayout layout = mm->layout();
  return ReadRange(*mm, layout.env_start, layout.env_end);
}

Result<std::string> Auxv(Context&, Task& task) {
  const auto mm = task.mm_ref();
  if (mm == nullptr) return std::string();
  const auto auxv = mm->layout().auxv;
  return std::string(reinterpret_cast<const char*>(auxv.data()), auxv.size() * sizeof(auxv[0]));
}

// /proc/<pid>/mem: another task's memory through the sentry, with the rights its mappings have. Linux lets every writer
// through to read-only private pages (FOLL_FORCE); here the process itself does, and a tracer while a thread of its
// tracee is stopped.
class OpenMemory final : public FileDescription {
 public:
  OpenMemory(const Path& path, int flags, RefPtr<MemoryManager> mm, const ThreadGroupRef& group)
      : FileDescription(path, flags), mm_(std::move(mm)), group_(group) {}

  bool seekable() const override { return true; }
  Result<size_t> Read(Context&, IoSequence& to, int64_t* offset, int) override {
    return Transfer(*offset, to.remaining(), offset, [&](GuestAddr at, char* buffer, size_t size) -> Result<size_t> {
      const size_t got = TRY(mm_->ReadSome(at, buffer, size));
      return to.CopyOut(buffer, got);
    });
  }
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int) override {
    return Transfer(*offset, from.remaining(), offset, [&](GuestAddr at, char* buffer, size_t size) -> Result<size_t> {
      const size_t got = TRY(from.CopyIn(buffer, size));
      const auto written = mm_->WriteSome(at, buffer, got);
      return written.ok() ? written : WriteAsTracer(context, at, buffer, got);
    });
  }

 private:
  Result<size_t> WriteAsTracer(Context& context, GuestAddr at, const char* buffer, size_t size) {
    Task* const writer = Task::Of(context);
    const ThreadGroupRef group = group_.lock();
    if (writer != nullptr && &writer->mm() == mm_.get()) {
      TRY(writer->ForceWrite(at, buffer, size));
      return size;
    }
    if (writer == nullptr || group == nullptr) return Err(EIO);
    for (const TaskRef& thread : group->tasks()) {
      const auto done = Ptrace::Do(*writer, *thread, [&](Task& tracee) -> Result<void> {
        if (&tracee.mm() != mm_.get()) return Err(EIO);
        return tracee.ForceWrite(at, buffer, size);
      });
      if (done.ok()) return size;
      if (!done.Is(ESRCH)) return done.error();
    }
    return Err(EIO);
  }
  template <typename Step>
  static Result<size_t> Transfer(int64_t start, size_t size, int64_t* offset, Step step) {
    char buffer[kPageSize];
    size_t done = 0;
    while (done < size) {
      const auto moved =
          step(GuestAddr(static_cast<uint64_t>(start) + done), buffer, std::min(size - done, sizeof(buffer)));
      if (!moved.ok() && done == 0) return Err(EIO);
      if (!moved.ok() || *moved == 0) break;
      done += *moved;
      if (*moved % sizeof(buffer) != 0) break;
    }
    *offset += static_cast<int64_t>(done);
    return done;
  }
  const RefPtr<MemoryManager> mm_;
  const WeakRef<ThreadGroup> group_;
};

// /proc/<pid>/pagemap for a reader without privilege over the machine: frames are not shown (pagemap.rst).
class OpenPagemap final : public FileDescription {
 public:
  using FileDescription::FileDescription;
  bool seekable() const override { return true; }
  Result<size_t> Read(Context&, IoSequence& to, int64_t* offset, int) override {
    if (*offset % 8 != 0 || to.remaining() % 8 != 0) return Err(EINVAL);
    const size_t size = TRY(to.ZeroOut(to.remaining()));
    *offset += static_cast<int64_t>(size);
    return size;
  }
};

class MemoryNode final : public synthetic::Node {
 public:
  enum class Kind { kMem, kPagemap };
  MemoryNode(Fs& fs, const TaskRef& task, Kind kind)
      : Node(fs, S_IFREG | (kind == Kind::kMem ? 0600 : 0400)), task_(task), kind_(kind) {}
  Result<Attr> GetAttr(Context& context) override {
    Attr attr = TRY(Node::GetAttr(context));
    if (const TaskRef task = task_.lock()) SetOwner(attr, *task);
    return attr;
  }
  Result<FileRef> Open(Context& context, const Path& path, int flags) override {
    const TaskRef task = Alive(task_);
    if (task == nullptr) return Err(ESRCH);
    if (!MayInspect(context, *task).ok()) return Err(EACCES);
    auto mm = task->mm_ref();
    if (mm == nullptr) return Err(ESRCH);
    if (kind_ == Kind::kPagemap) return FileRef(MakeRef<OpenPagemap>(path, flags));
    return FileRef(MakeRef<OpenMemory>(path, flags, std::move(mm), task->group().shared_from_this()));
  }

 private:
  const WeakRef<Task> task_;
  const Kind kind_;
};

NodeRef MakeMem(Fs& fs, const TaskRef& task, uint64_t) { return MakeRef<MemoryNode>(fs, task, MemoryNode::Kind::kMem); }
NodeRef MakePagemap(Fs& fs, const TaskRef& task, uint64_t) {
  return MakeRef<MemoryNode>(fs, task, MemoryNode::Kind::kPagemap);
}

Result<void> ClearRefs(Context&, Task&, std::string_view) { return {}; }

constexpr std::array<TaskEntry, 10> kEntries = {{
    {.name = "auxv", .mode = S_IFREG | 0400, .text = &Auxv, .inspect = true},
    {.name = "clear_refs", .mode = S_IFREG | 0200, .sink = &ClearRefs},
    {.name = "cmdline", .mode = S_IFREG | 0444, .text = &Cmdline},
    {.name = "environ", .mode = S_IFREG | 0400, .text = &Environ, .inspect = true},
    {.name = "maps", .mode = S_IFREG | 0444, .text = &Maps, .inspect = true},
    {.name = "mem", .mode = S_IFREG | 0600, .make = &MakeMem},
    {.name = "numa_maps", .mode = S_IFREG | 0444, .text = &NumaMaps, .inspect = true},
    {.name = "pagemap", .mode = S_IFREG | 0400, .make = &MakePagemap},
    {.name = "smaps", .mode = S_IFREG | 0444, .text = &Smaps, .inspect = true},
    {.name = "smaps_rollup", .mode = S_IFREG | 0444, .text = &SmapsRollup, .inspect = true},
}};

}  // namespace

std::span<const TaskEntry> MemoryEntries() { return kEntries; }

}  // namespace sandbox::proc
