// Starts a handler in the sentry's place: the interrupted thread's extended state and the frame that the sentry made go
// to the guest's stack, and the state becomes the one that handlers start with (Linux: arch/x86/kernel/signal.c
// setup_rt_frame, fpu/signal.c copy_fpstate_to_sigframe).
#include "platform/stub/guest_access.h"
#include "platform/stub/local_lane.h"

namespace sandbox::platform::stub {
namespace {

constexpr uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;
constexpr uint64_t kSoftwareBytes = 464, kHeader = 512, kHeaderSize = 64;
constexpr uint64_t kProtectionKeys = 1 << 9;

struct SoftwareBytes {
  uint32_t magic1, extended_size;
  uint64_t features;
  uint32_t state_size, padding[7];
};
static_assert(kSoftwareBytes + sizeof(SoftwareBytes) == kHeader);

// From the processor: in the fast lane it still holds the guest's.
STUB_INLINE bool SaveFromProcessor(const FramePush& push) {
  const uint64_t at = push.fp_address;
  SoftwareBytes software;
  software.magic1 = kMagic1;
  software.extended_size = push.state_size + sizeof(kMagic2);
  software.features = push.features;
  software.state_size = push.state_size;
  for (uint32_t& word : software.padding) word = 0;
  // XSAVE adds to the header that it finds.
  uint64_t header[kHeaderSize / 8];
  const uint32_t magic2 = kMagic2;  // on the stack: stub code has no data
  for (uint64_t& word : header) *const_cast<volatile uint64_t*>(&word) = 0;
  if (!WriteGuest(at + kHeader, header, sizeof(header)) || StubSaveState(at, push.features) != 0 ||
      !WriteGuest(at + kSoftwareBytes, &software, sizeof(software)) ||
      !WriteGuest(at + push.state_size, &magic2, sizeof(magic2))) {
    return false;
  }
  // Protection keys stay what they are: without them a handler could touch nothing that a key guards.
  const uint64_t features = push.features & ~kProtectionKeys;
  asm volatile("xrstor64 (%0)"
               :
               : "r"(GetConfig()->initial_state), "a"(static_cast<uint32_t>(features)),
                 "d"(static_cast<uint32_t>(features >> 32))
               : "memory");
  return true;
}

// From the host's frame, which has the same layout.
STUB_INLINE bool SaveFromFrame(ThreadPage* page, const FramePush& push) {
  const uint64_t state = page->fp_state;
  if (!InGuest(push.fp_address, push.state_size + sizeof(kMagic2)) ||
      StubCopy(push.fp_address, state, push.state_size + sizeof(kMagic2)) != 0) {
    return false;
  }
  // What stands in front of the bytes that are the kernel's, and the header.
  const uint64_t initial = reinterpret_cast<uint64_t>(GetConfig()->initial_state);
  CopyBytes(reinterpret_cast<void*>(state), reinterpret_cast<void*>(initial), kSoftwareBytes);
  CopyBytes(reinterpret_cast<void*>(state + kHeader), reinterpret_cast<void*>(initial + kHeader), kHeaderSize);
  return true;
}

}  // namespace

bool PushSignalFrame(ThreadPage* page) {
  FramePush& push = page->push;
  push.wanted = 0;
  if (!InGuest(push.fp_address, push.state_size + sizeof(kMagic2))) return false;
  // The frame first: it lies lowest, and what fails after this has changed nothing that matters.
  if (!WriteGuest(push.address, &push.frame, sizeof(push.frame))) return false;
  return page->frame == 0 ? SaveFromProcessor(push) : SaveFromFrame(page, push);
}

}  // namespace sandbox::platform::stub
