// The ELF file that a core dump is (core(5), elf(5), Linux: fs/binfmt_elf.c elf_core_dump).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "platform/arch/registers.h"
#include "sentry/kernel/signal.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/file.h"

namespace sandbox {

// A thread as it was when the dump began.
struct CoreThread {
  int32_t tid = 0;
  SignalSet pending = 0, blocked = 0;
  arch::Registers regs = {};
  std::vector<uint8_t> fp_state;  // arch::DebuggerState
};

struct CoreProcess {
  int32_t pid = 0, ppid = 0, pgid = 0, sid = 0;
  uint32_t uid = 0, gid = 0;
  int nice = 0;
  uint64_t user_ns = 0, system_ns = 0;
  std::string name, arguments;  // comm; the command line, separated by spaces
  SignalInfo signal;
  std::vector<CoreThread> threads;  // the one that got the signal first
};

// Which mappings are dumped: bits of /proc/<pid>/coredump_filter.
inline constexpr uint32_t kCoreAnonymousPrivate = 1, kCoreAnonymousShared = 2, kCoreMappedPrivate = 4,
                          kCoreMappedShared = 8, kCoreElfHeaders = 16;

// Writes `process` to the start of the empty `file`, at most `limit` bytes of it: what is beyond is missing. Pages
// without contents become holes.
Result<void> WriteCore(Context& context, FileDescription& file, MemoryManager& mm, const CoreProcess& process,
                       uint64_t limit);

}  // namespace sandbox
