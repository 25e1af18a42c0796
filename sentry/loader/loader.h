// Program images: ELF, its interpreter, scripts (Linux: fs/exec.c, fs/binfmt_elf.c, fs/binfmt_script.c). Exec loads
// into a fresh, empty address space before it gives up the old one, so any failure here is an ordinary errno; all but
// those of mappings that the thread makes as it starts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/core/context.h"
#include "sentry/core/credentials.h"
#include "sentry/mm/memory_manager.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/walk.h"

namespace sandbox {

struct LoadArgs {
  FileRef file;          // from OpenForExec: an ELF program or a "#!" script
  std::string filename;  // as given to execve: AT_EXECFN, and what a script's interpreter gets as argument
  std::vector<std::string> argv, envv;
  WalkBase base;  // for the interpreters named by the file
  // Called once with the file that will run (the interpreter of a script): applies set-id and file capabilities.
  // Returns the new program's credentials (AT_UID…) and whether it gained privilege (AT_SECURE).
  struct Identity {
    CredentialsRef creds;
    bool secure = false;
  };
  std::function<Result<Identity>(const FileRef& executable)> identify;
  bool randomize = true;  // false for ADDR_NO_RANDOMIZE (personality(2))
};

struct LoadedImage {
  GuestAddr entry;       // initial instruction pointer
  GuestAddr stack;       // initial stack pointer
  FileRef executable;    // for /proc/*/exe (SetExecutable was called)
  std::string name;      // base name for comm
  CredentialsRef creds;  // from identify
  bool secure = false;
};

// Maps the program into `mm`, whose address space is the one of `thread` (stopped, fresh), builds stack, auxv and vDSO,
// and fills mm.SetLayout. What is mapped and written may be queued on the thread. ENOEXEC, ENOENT or EACCES for
// interpreters, ELOOP for nested scripts, E2BIG, ENOMEM.
Result<LoadedImage> Load(Context& context, MemoryManager& mm, platform::Thread& thread, const LoadArgs& args);

}  // namespace sandbox
