#include "sentry/loader/vdso.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/host_sys.h"
#include "sentry/time/vdso_clock.h"

namespace sandbox::loader {
namespace {

alignas(kPageSize) constexpr uint8_t kImage[] = {
#include "sentry/loader/vdso_image.inc"
};
static_assert(sizeof(kImage) <= kPageSize);

// A page that every guest maps privately from one memory file: what a guest does to it, it does to
// itself.
class SharedPage final : public Mappable {
 public:
  explicit SharedPage(BorrowedFd fd) : fd_(fd) {}
  Result<HostBacking> Back(Context&, uint64_t, uint64_t, const Use&) override { return HostBacking{.fd = fd_}; }
  Identity MappingIdentity() const override { return {}; }

 private:
  const BorrowedFd fd_;  // open as long as the process lives
};

// The code, in a sealed memory file. Invalid when there is no vDSO.
BorrowedFd CodeFile() {
  static const UniqueFd file = [] {
    auto fd = host::MemoryFile("vdso", MFD_ALLOW_SEALING);
    constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (!fd.ok() || !host::Write(fd->borrow(), kImage, sizeof(kImage)).ok() ||
        !host::Truncate(fd->borrow(), kPageSize).ok() || !host::AddSeals(fd->borrow(), kSeals).ok()) {
      return UniqueFd();
    }
    return std::move(*fd);
  }();
  return file.borrow();
}

Result<void> MapPage(Context& context, MemoryManager& mm, platform::Thread& thread, GuestAddr at, BorrowedFd fd,
                     int prot, const char* label) {
  MapRequest request{.hint = at, .length = kPageSize, .prot = prot};
  request.flags = MAP_PRIVATE | MAP_FIXED;
  request.mappable = MakeRef<SharedPage>(fd);
  request.label = label;
  TRY(mm.Map(context, thread, request));
  return {};
}

}  // namespace

void PrepareVdso() {
  (void)VdsoClock::Get();
  (void)CodeFile();
}

Result<GuestAddr> MapVdso(Context& context, MemoryManager& mm, platform::Thread& thread) {
  const BorrowedFd params = VdsoClock::Get().page(), code = CodeFile();
  if (!params.valid() || !code.valid()) return GuestAddr();
  const GuestAddr start = TRY(mm.FindFree(thread, 2 * kPageSize, kPageSize));
  TRY(MapPage(context, mm, thread, start, params, PROT_READ, "[vvar]"));
  TRY(MapPage(context, mm, thread, start + kPageSize, code, PROT_READ | PROT_EXEC, "[vdso]"));
  return start + kPageSize;
}

}  // namespace sandbox::loader
