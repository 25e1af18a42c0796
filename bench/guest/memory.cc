// Page faults and changes of the address space.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/guest/harness.h"

namespace sandbox::bench {
namespace {

constexpr size_t kPage = 4096;

char* Map(size_t size, int protection, int flags, int fd) {
  void* memory = ::mmap(nullptr, size, protection, flags, fd, 0);
  Must(memory != MAP_FAILED, "mmap");
  return static_cast<char*>(memory);
}

char* Anonymous(size_t size) { return Map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1); }

void Touch(char* memory, size_t size) {
  for (size_t i = 0; i < size; i += kPage) static_cast<volatile char*>(memory)[i] = 1;
}

char* faulting_page;

void Unprotect(int) { ::mprotect(faulting_page, kPage, PROT_READ | PROT_WRITE); }

}  // namespace

GUEST_BENCHMARK("memory", "touch_256m") {
  const size_t size = run.options().once ? 1 << 20 : 256 << 20;
  run.Loop([&] {
    char* memory = Anonymous(size);
    Touch(memory, size);
    ::munmap(memory, size);
  });
}

GUEST_BENCHMARK("memory", "touch_file_4m") {
  const int fd = ::open(run.data("file").c_str(), O_RDONLY);
  Must(fd >= 0, "open");
  const size_t size = 4 << 20;
  uint64_t sum = 0;
  run.Loop([&] {
    char* memory = Map(size, PROT_READ, MAP_PRIVATE, fd);
    for (size_t i = 0; i < size; i += kPage) sum += static_cast<volatile char*>(memory)[i];
    ::munmap(memory, size);
  });
  Must(sum != 0, "sum");
}

GUEST_BENCHMARK("memory", "mmap_touch_munmap") {
  run.Loop([] {
    char* memory = Anonymous(kPage);
    Touch(memory, kPage);
    Must(::munmap(memory, kPage) == 0, "munmap");
  });
}

GUEST_BENCHMARK("memory", "mprotect_pair") {
  char* memory = Anonymous(kPage);
  run.Loop([&] {
    Must(::mprotect(memory, kPage, PROT_READ) == 0, "mprotect");
    Must(::mprotect(memory, kPage, PROT_READ | PROT_WRITE) == 0, "mprotect");
    Touch(memory, kPage);
  });
}

GUEST_BENCHMARK("memory", "dontneed_touch") {
  char* memory = Anonymous(kPage);
  run.Loop([&] {
    Touch(memory, kPage);
    Must(::madvise(memory, kPage, MADV_DONTNEED) == 0, "madvise");
  });
}

GUEST_BENCHMARK("memory", "brk_grow_shrink") {
  char* top = static_cast<char*>(::sbrk(0));
  run.Loop([&] {
    Must(::brk(top + 16 * kPage) == 0, "brk");
    Touch(top, kPage);
    Must(::brk(top) == 0, "brk");
  });
}

// What garbage collectors and write barriers do: protect, fault, unprotect in the handler, go on.
GUEST_BENCHMARK("memory", "sigsegv_handler") {
  faulting_page = Anonymous(kPage);
  struct sigaction action = {};
  action.sa_handler = Unprotect;
  Must(::sigaction(SIGSEGV, &action, nullptr) == 0, "sigaction");
  run.Loop([] {
    Must(::mprotect(faulting_page, kPage, PROT_NONE) == 0, "mprotect");
    Touch(faulting_page, kPage);
  });
}

}  // namespace sandbox::bench
