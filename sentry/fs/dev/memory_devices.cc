// The character devices of major 1: null, zero, full, random, urandom (null(4), full(4), random(4);
// Linux: drivers/char/mem.c, random.c).
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/random.h>

#include <algorithm>
#include <memory>

#include "base/host_sys.h"
#include "sentry/mm/mappable.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/special.h"

namespace sandbox {
namespace {

constexpr uint32_t kMemoryMajor = 1;
constexpr uint32_t kNull = 3, kZero = 5, kFull = 7, kRandom = 8, kUrandom = 9;

// What they share: always ready, no position to speak of.
class MemoryDevice : public FileDescription {
 public:
  using FileDescription::FileDescription;
  bool seekable() const override { return true; }
  Result<int64_t> Seek(Context&, int64_t, int) override { return int64_t{0}; }
  EventMask Readiness(Context&, EventMask) override { return kReadable | kWritable; }
  Result<size_t> Write(Context&, IoSequence& from, int64_t*, int) override {
    const size_t size = from.remaining();
    from.Advance(size);
    return size;
  }
};

class NullDevice final : public MemoryDevice {
 public:
  using MemoryDevice::MemoryDevice;
  Result<size_t> Read(Context&, IoSequence&, int64_t*, int) override { return size_t{0}; }
};

// A private mapping is anonymous memory, a shared one a memory file of its own (Linux:
// shmem_zero_setup).
class ZeroMapping final : public Mappable {
 public:
  Result<HostBacking> Back(Context&, uint64_t offset, uint64_t length, const Use& use) override {
    if (!use.shared) return HostBacking{};
    auto memory = MakeRef<UniqueFd>(TRY(host::MemoryFile("zero")));
    TRY(host::Truncate(memory->borrow(), length));
    return HostBacking{memory->borrow(), memory, 0 - offset};
  }
  Identity MappingIdentity() const override { return {0, 0, "/dev/zero"}; }
};

class ZeroDevice final : public MemoryDevice {
 public:
  ZeroDevice(Path path, int flags, bool full) : MemoryDevice(std::move(path), flags), full_(full) {}
  Result<size_t> Read(Context&, IoSequence& to, int64_t*, int) override { return to.ZeroOut(to.remaining()); }
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override {
    if (full_) return Err(ENOSPC);
    return MemoryDevice::Write(context, from, offset, rwf);
  }
  Result<RefPtr<Mappable>> GetMappable(Context&) override {
    if (full_) return Err(ENODEV);
    return RefPtr<Mappable>(MakeRef<ZeroMapping>());
  }

 private:
  const bool full_;
};

class RandomDevice final : public MemoryDevice {
 public:
  RandomDevice(Path path, int flags, bool pollable) : MemoryDevice(std::move(path), flags), pollable_(pollable) {}
  bool pollable() override { return pollable_; }

  Result<size_t> Read(Context& context, IoSequence& to, int64_t*, int) override {
    constexpr size_t kChunk = 4096;
    char bytes[kChunk];
    size_t done = 0;
    while (!to.empty()) {
      const auto n = host::Random(bytes, std::min(to.remaining(), kChunk));
      if (!n.ok()) return done > 0 ? Result<size_t>(done) : n;
      const auto moved = to.CopyOut(bytes, *n);
      if (!moved.ok()) return done > 0 ? Result<size_t>(done) : moved;
      done += *moved;
      // A long read ends early for a signal, after at least one page (random(4)).
      if (*moved < *n || context.Interrupted()) break;
    }
    return done;
  }
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override {
    if (request != RNDGETENTCNT) return Err(EINVAL);  // Linux: random_ioctl
    TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), 256));
    return 0;
  }

 private:
  const bool pollable_;
};

Result<FileRef> OpenMemoryDevice(Context&, const Path& path, uint64_t rdev, int flags) {
  switch (minor(rdev)) {
    case kNull:
      return FileRef(MakeRef<NullDevice>(path, flags));
    case kZero:
      return FileRef(MakeRef<ZeroDevice>(path, flags, false));
    case kFull:
      return FileRef(MakeRef<ZeroDevice>(path, flags, true));
    case kRandom:
      return FileRef(MakeRef<RandomDevice>(path, flags, true));
    case kUrandom:
      return FileRef(MakeRef<RandomDevice>(path, flags, false));
    default:
      return Err(ENXIO);
  }
}

[[maybe_unused]] const bool registered = [] {
  for (const uint32_t m : {kNull, kZero, kFull, kRandom, kUrandom}) {
    RegisterDevice(S_IFCHR, kMemoryMajor, m, 1, &OpenMemoryDevice);
  }
  return true;
}();

}  // namespace
}  // namespace sandbox
