#include "sentry/vfs/special.h"

#include <sys/sysmacros.h>

#include <atomic>
#include <vector>

#include "sentry/vfs/file.h"

namespace sandbox {
namespace {

struct DeviceRange {
  uint32_t type, major, first, count;
  DeviceOpener opener;
};

FifoOpener fifo_opener = nullptr;

// Written by static initialisers only; function-local because their order is open.
std::vector<DeviceRange>& Devices() {
  static std::vector<DeviceRange> devices;
  return devices;
}

}  // namespace

void SetFifoOpener(FifoOpener opener) { fifo_opener = opener; }

void RegisterDevice(uint32_t type, uint32_t major, uint32_t first_minor, uint32_t count, DeviceOpener opener) {
  Devices().push_back({type, major, first_minor, count, opener});
}

Result<FileRef> OpenSpecial(Context& context, const Path& path, const Attr& attr, int flags) {
  if (attr.type() == S_IFIFO && fifo_opener != nullptr) return fifo_opener(context, path, flags);
  if (attr.type() == S_IFCHR || attr.type() == S_IFBLK) {
    const uint32_t node_major = major(attr.rdev), node_minor = minor(attr.rdev);
    for (const DeviceRange& d : Devices()) {
      if (d.type == attr.type() && d.major == node_major && node_minor - d.first < d.count) {
        return d.opener(context, path, attr.rdev, flags);
      }
    }
  }
  return Err(ENXIO);
}

uint64_t NextAnonymousIno() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace sandbox
