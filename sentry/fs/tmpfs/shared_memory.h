// Memory without a name in a tree: shared anonymous mappings, SysV segments, memfd_create(2).
#pragma once

#include <cstdint>
#include <string>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/file.h"

namespace sandbox {

class TmpfsRegular;

// A segment that knows what of it is in memory.
class SharedSegment : public Mappable {
 public:
  virtual uint64_t AllocatedPages() const = 0;
};

// An object of `size` zero bytes, for MAP_SHARED|MAP_ANONYMOUS ("/dev/zero (deleted)" in maps) or SysV shared memory.
// ENOMEM, EMFILE.
Result<RefPtr<SharedSegment>> MakeSharedMemory(uint64_t size, std::string shown_path = "/dev/zero (deleted)");

// memfd_create(2) after its flags were checked: an empty, read-write description. `seals`: F_SEAL_SEAL unless
// MFD_ALLOW_SEALING; `mode`: 0777, or 0666 with MFD_NOEXEC_SEAL.
Result<FileRef> MakeMemoryFile(Context& context, std::string_view name, uint32_t seals, uint32_t mode);

// The tmpfs file behind a description, for seals; null when it is something else.
TmpfsRegular* AsTmpfsRegular(const FileDescription& file);

}  // namespace sandbox
