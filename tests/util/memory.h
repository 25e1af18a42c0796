// Mappings for tests, and what touching memory raises.
#pragma once

#include <sys/mman.h>

#include <cstddef>

namespace guest {

inline constexpr size_t kPage = 4096;

// A mapping, anonymous unless a file is given, unmapped at the end.
class Mapping {
 public:
  explicit Mapping(size_t pages, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE | MAP_ANONYMOUS,
                   int fd = -1);
  ~Mapping() { munmap(start_, pages_ * kPage); }
  Mapping(const Mapping&) = delete;
  char* page(size_t index = 0) const { return start_ + index * kPage; }
  size_t size() const { return pages_ * kPage; }

 private:
  const size_t pages_;
  char* start_;
};

// The signal that reading or writing the byte raises, or 0.
int SignalOfRead(volatile char* at);
int SignalOfWrite(volatile char* at);

// For the macros, which compare numbers.
inline long Address(const void* at) { return reinterpret_cast<long>(at); }

// The field `name` of /proc/self/status in kB.
long StatusKilobytes(const char* name);

}  // namespace guest
