#include "platform/systrap/shared_page.h"

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace sandbox::platform::systrap {

Result<RefPtr<SharedPage>> SharedPage::Create(UniqueFd* fd) {
  *fd = UniqueFd(::memfd_create("thread", MFD_CLOEXEC));
  if (!fd->valid()) return LastErrno();
  // Touching a page past the end of the file would be a SIGBUS in the sentry, so the size never changes: the stub has
  // no call that could, and the sentry has no reason to.
  if (::ftruncate(fd->get(), stub::kSlotSharedSize) != 0) return LastErrno();
  void* memory = ::mmap(nullptr, stub::kSlotSharedSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd->get(), 0);
  if (memory == MAP_FAILED) return LastErrno();
  return MakeRef<SharedPage>(memory);
}

SharedPage::~SharedPage() { ::munmap(page_, stub::kSlotSharedSize); }

void Go(stub::ThreadPage* page) {
  __atomic_store_n(&page->go, 1, __ATOMIC_SEQ_CST);
  // Awake, it sees the word; about to sleep, the kernel does.
  if (__atomic_load_n(&page->sleeping, __ATOMIC_SEQ_CST) == 0) return;
  ::syscall(SYS_futex, &page->go, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

void FutexSetAndWake(uint32_t* word) {
  __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
  ::syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

bool FutexWaitSet(const uint32_t* word, int timeout_ms) {
  if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != 0) return true;
  const timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
  ::syscall(SYS_futex, word, FUTEX_WAIT, 0, &timeout, nullptr, 0);
  return __atomic_load_n(word, __ATOMIC_ACQUIRE) != 0;
}

}  // namespace sandbox::platform::systrap
