// sysfs (sysfs(5)): processors, the one memory node, network interfaces and what little else Debian's tools, glibc and
// language runtimes look at. Everything is read-only, and fixed at boot but for processors and interfaces, which are
// the reader's.
#include <linux/magic.h>

#include <array>
#include <charconv>

#include "base/log.h"
#include "sentry/core/cpus.h"
#include "sentry/fs/synthetic/synthetic.h"
#include "sentry/fs/sys/sys_net.h"
#include "sentry/vfs/fs_registry.h"

namespace sandbox {
namespace {

using synthetic::AddDirectory;
using synthetic::Fs;
using synthetic::MakeText;
using synthetic::StaticDirectory;

struct File {
  const char* name;
  const char* text;
};

template <size_t N>
void AddFiles(Fs& fs, StaticDirectory& directory, const std::array<File, N>& files) {
  for (const File& file : files) directory.Add(file.name, MakeText(fs, std::string(file.text) + "\n"));
}

void AddLine(Fs& fs, StaticDirectory& directory, const std::string& name, const std::string& text) {
  directory.Add(name, MakeText(fs, text + "\n"));
}

// A line about all processors of the reader.
void AddCpuLine(Fs& fs, StaticDirectory& directory, const std::string& name, std::string (*text)(int count)) {
  directory.Add(
      name, MakeText(fs, [text](Context& context) -> Result<std::string> { return text(CpuCount(context)) + "\n"; }));
}

// A folder of cpu0, cpu1, … that shows those the caller may use.
class CpusDirectory final : public StaticDirectory {
 public:
  using StaticDirectory::StaticDirectory;
  Result<InodeRef> Lookup(Context& context, std::string_view name) override {
    if (Hidden(context, name)) return Err(ENOENT);
    return StaticDirectory::Lookup(context, name);
  }
  Result<InodeRef> Revalidate(Context& context, std::string_view name, const InodeRef& cached) override {
    if (Hidden(context, name)) return Err(ENOENT);
    return StaticDirectory::Revalidate(context, name, cached);
  }
  Result<std::vector<synthetic::Entry>> List(Context& context) override {
    auto entries = TRY(StaticDirectory::List(context));
    std::erase_if(entries, [&](const synthetic::Entry& entry) { return Hidden(context, entry.name); });
    return entries;
  }

 private:
  static bool Hidden(Context& context, std::string_view name) {
    int number = 0;
    if (!name.starts_with("cpu")) return false;
    const auto [end, error] = std::from_chars(name.data() + 3, name.data() + name.size(), number);
    return error == std::errc() && end == name.data() + name.size() && number >= CpuCount(context);
  }
};

// One bit, as CpuMask writes all of them.
std::string OneBit(int cpu) {
  std::string mask = StrPrintf("%x", 1u << (cpu % 32));
  for (int group = cpu / 32; group > 0; --group) mask += ",00000000";
  return mask;
}

// Every processor is a core of its own in one package; real relations between host processors are not a guest's
// business, and its tasks are not bound to them.
void AddTopology(Fs& fs, StaticDirectory& cpu, int number) {
  const auto topology = AddDirectory(fs, cpu, "topology", 0755);
  AddLine(fs, *topology, "core_id", std::to_string(number));
  AddLine(fs, *topology, "physical_package_id", "0");
  AddLine(fs, *topology, "die_id", "0");
  AddLine(fs, *topology, "cluster_id", "65535");
  for (const char* name : {"core_cpus", "thread_siblings"}) {
    AddLine(fs, *topology, name, OneBit(number));
    AddLine(fs, *topology, std::string(name) + "_list", std::to_string(number));
  }
  for (const char* name : {"core_siblings", "package_cpus", "die_cpus"}) {
    AddCpuLine(fs, *topology, name, &CpuMask);
    AddCpuLine(fs, *topology, std::string(name) + "_list", &CpuList);
  }
}

struct Cache {
  const char* level;
  const char* type;
  const char* size;
  const char* sets;
  const char* ways;
  bool shared;
};
// A common shape; programs use it to size blocks.
constexpr std::array<Cache, 4> kCaches = {{{"1", "Data", "32K", "64", "8", false},
                                           {"1", "Instruction", "32K", "64", "8", false},
                                           {"2", "Unified", "512K", "1024", "8", false},
                                           {"3", "Unified", "32768K", "32768", "16", true}}};

void AddCaches(Fs& fs, StaticDirectory& cpu, int number) {
  const auto caches = AddDirectory(fs, cpu, "cache", 0755);
  for (size_t i = 0; i < kCaches.size(); ++i) {
    const Cache& cache = kCaches[i];
    const auto index = AddDirectory(fs, *caches, "index" + std::to_string(i), 0755);
    AddLine(fs, *index, "coherency_line_size", "64");
    AddLine(fs, *index, "id", cache.shared ? "0" : std::to_string(number));
    AddLine(fs, *index, "level", cache.level);
    AddLine(fs, *index, "number_of_sets", cache.sets);
    AddLine(fs, *index, "physical_line_partition", "1");
    if (cache.shared) {
      AddCpuLine(fs, *index, "shared_cpu_list", &CpuList);
      AddCpuLine(fs, *index, "shared_cpu_map", &CpuMask);
    } else {
      AddLine(fs, *index, "shared_cpu_list", std::to_string(number));
      AddLine(fs, *index, "shared_cpu_map", OneBit(number));
    }
    AddLine(fs, *index, "size", cache.size);
    AddLine(fs, *index, "type", cache.type);
    AddLine(fs, *index, "ways_of_associativity", cache.ways);
  }
}

void AddCpus(Fs& fs, StaticDirectory& system) {
  const auto cpus = system.Add("cpu", MakeRef<CpusDirectory>(fs, 0755));
  for (const char* name : {"online", "possible", "present"}) AddCpuLine(fs, *cpus, name, &CpuList);
  AddLine(fs, *cpus, "offline", "");
  AddLine(fs, *cpus, "isolated", "");
  AddLine(fs, *cpus, "kernel_max", "8191");
  const auto smt = AddDirectory(fs, *cpus, "smt", 0755);
  AddLine(fs, *smt, "active", "0");
  AddLine(fs, *smt, "control", "notsupported");
  AddDirectory(fs, *cpus, "vulnerabilities", 0755);
  for (int number = 0; number < CountOf(SandboxCpus()); ++number) {
    const auto cpu = AddDirectory(fs, *cpus, "cpu" + std::to_string(number), 0755);
    if (number > 0) AddLine(fs, *cpu, "online", "1");
    AddTopology(fs, *cpu, number);
    AddCaches(fs, *cpu, number);
    cpu->Add("node0", MakeRef<synthetic::Symlink>(fs, std::string("../../node/node0")));
  }
}

void AddNodes(Fs& fs, StaticDirectory& system) {
  const auto nodes = AddDirectory(fs, system, "node", 0755);
  for (const char* name : {"online", "possible", "has_cpu", "has_memory", "has_normal_memory"}) {
    AddLine(fs, *nodes, name, "0");
  }
  const auto node = nodes->Add("node0", MakeRef<CpusDirectory>(fs, 0755));
  AddCpuLine(fs, *node, "cpulist", &CpuList);
  AddCpuLine(fs, *node, "cpumap", &CpuMask);
  AddLine(fs, *node, "distance", "10");
  for (int number = 0; number < CountOf(SandboxCpus()); ++number) {
    node->Add("cpu" + std::to_string(number),
              MakeRef<synthetic::Symlink>(fs, "../../cpu/cpu" + std::to_string(number)));
  }
}

constexpr std::array<File, 4> kHugePages = {{{"enabled", "always [madvise] never"},
                                             {"defrag", "always defer defer+madvise [madvise] never"},
                                             {"hpage_pmd_size", "2097152"},
                                             {"use_zero_page", "1"}}};

void AddKernel(Fs& fs, StaticDirectory& root) {
  const auto kernel = AddDirectory(fs, root, "kernel", 0755);
  const auto mm = AddDirectory(fs, *kernel, "mm", 0755);
  AddFiles(fs, *AddDirectory(fs, *mm, "transparent_hugepage", 0755), kHugePages);
  const auto pool = AddDirectory(fs, *AddDirectory(fs, *mm, "hugepages", 0755), "hugepages-2048kB", 0755);
  for (const char* name : {"nr_hugepages", "free_hugepages", "resv_hugepages", "surplus_hugepages"}) {
    AddLine(fs, *pool, name, "0");
  }
  AddDirectory(fs, *kernel, "debug", 0700);
  AddDirectory(fs, *kernel, "security", 0755);
  AddDirectory(fs, *kernel, "tracing", 0700);
  AddLine(fs, *kernel, "uevent_seqnum", "0");
}

class SysFs final : public Fs {
 public:
  SysFs() : Fs("sysfs", SYSFS_MAGIC) {}
  // Processors and interfaces come and go without the VFS.
  bool exclusive() const override { return false; }
};

Result<RefPtr<FileSystem>> CreateSys(Context&, std::string_view, std::string_view) {
  auto fs = MakeRef<SysFs>();
  auto root = MakeRef<StaticDirectory>(*fs);
  for (const char* name : {"block", "bus", "dev", "firmware", "module", "power"}) {
    AddDirectory(*fs, *root, name, 0755);
  }
  const auto classes = AddDirectory(*fs, *root, "class", 0755);
  for (const char* name : {"block", "mem", "misc", "tty"}) AddDirectory(*fs, *classes, name, 0755);
  const auto devices = AddDirectory(*fs, *root, "devices", 0755);
  const auto system = AddDirectory(*fs, *devices, "system", 0755);
  AddCpus(*fs, *system);
  AddNodes(*fs, *system);
  AddNetwork(*fs, *devices, *classes);
  const auto filesystems = AddDirectory(*fs, *root, "fs", 0755);
  AddDirectory(*fs, *filesystems, "cgroup", 0755);  // a mount point
  AddKernel(*fs, *root);
  fs->SetRoot(std::move(root));
  return RefPtr<FileSystem>(std::move(fs));
}

const FileSystemTypeRegistrar registrar({.name = "sysfs", .create = &CreateSys});

}  // namespace
}  // namespace sandbox
