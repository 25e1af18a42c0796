#include "base/image_pages.h"

#include <link.h>
#include <sys/mman.h>

#include <cstdint>

namespace sandbox {

void ForgetImagePages() {
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void*) {
        constexpr uintptr_t kPage = 4096;
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& segment = info->dlpi_phdr[i];
          // Writable segments are not the file's any more: relocated, or changed.
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
          const uintptr_t start = info->dlpi_addr + segment.p_vaddr;
          const uintptr_t end = (start + segment.p_memsz) & ~(kPage - 1);
          const uintptr_t first = (start + kPage - 1) & ~(kPage - 1);
          // A hint: what stays mapped is no harm.
          if (first < end) (void)::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
        }
        return 0;
      },
      nullptr);
}

}  // namespace sandbox
