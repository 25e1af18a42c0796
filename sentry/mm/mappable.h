// What an address space can map besides anonymous memory. mm knows this interface, never files.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <string>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox {

class Context;

class Mappable {
 public:
  virtual ~Mappable() = default;

  // The host descriptor that backs the object, opened with no more rights than the guest has on it.
  // The stub maps it directly, so truncation (SIGBUS past the end), sharing and write-back are the
  // host's.
  struct HostBacking {
    BorrowedFd fd;              // invalid = private anonymous zero memory (/dev/zero)
    RefPtr<void> keep_alive;    // holds the descriptor open until the mapping was made
    uint64_t offset_delta = 0;  // added to the guest's file offset
    // Every change of the contents shows in the time stamps or the size of `fd`.
    bool versioned = false;
    bool read_only = false;  // a shared mapping may never become writable (a write seal)
  };
  // Called for every mmap of the object, after the generic access checks. `shared_writable`
  // mappings of sealed memory files fail with EPERM here. ENODEV when the object cannot be mapped,
  // EACCES for a missing right.
  struct Use {
    int prot = 0;      // asked for now
    int max_prot = 0;  // what mprotect may grant later
    bool shared = false;
    bool may_write() const { return shared && (max_prot & PROT_WRITE); }
    bool writes() const { return shared && (prot & PROT_WRITE); }
  };
  virtual Result<HostBacking> Back(Context& context, uint64_t offset, uint64_t length, const Use& use) = 0;

  // Called when a mapping appears (+1) or goes (-1); `writable_shared` for seals and write-back
  // accounting.
  virtual void CountMapping(int /*delta*/, bool /*writable_shared*/) {}

  // For /proc/*/maps and futex keys: device, inode and path as the guest sees them.
  struct Identity {
    uint64_t device = 0;
    uint64_t inode = 0;
    std::string path;
  };
  virtual Identity MappingIdentity() const = 0;
};

}  // namespace sandbox
