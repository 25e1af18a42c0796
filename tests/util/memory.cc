#include "tests/util/memory.h"

#include <csetjmp>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "tests/util/guest.h"

namespace guest {
namespace {

sigjmp_buf fault_jump;
void OnFault(int signo) { siglongjmp(fault_jump, signo); }

int SignalOf(void (*touch)(volatile char*), volatile char* at) {
  struct sigaction action = {}, old_segv, old_bus;
  action.sa_handler = OnFault;
  sigaction(SIGSEGV, &action, &old_segv);
  sigaction(SIGBUS, &action, &old_bus);
  const int raised = sigsetjmp(fault_jump, 1);
  if (raised == 0) touch(at);
  sigaction(SIGSEGV, &old_segv, nullptr);
  sigaction(SIGBUS, &old_bus, nullptr);
  return raised;
}

}  // namespace

Mapping::Mapping(size_t pages, int prot, int flags, int fd)
    : pages_(pages), start_(static_cast<char*>(mmap(nullptr, pages * kPage, prot, flags, fd, 0))) {
  if (start_ == MAP_FAILED) std::abort();
}

int SignalOfRead(volatile char* at) {
  return SignalOf([](volatile char* byte) { (void)*byte; }, at);
}

int SignalOfWrite(volatile char* at) {
  return SignalOf([](volatile char* byte) { *byte = 1; }, at);
}

long StatusKilobytes(const char* name) {
  const std::string status = ReadFileText("/proc/self/status");
  const size_t at = status.find(std::string("\n") + name + ":");
  return at == std::string::npos ? -1 : std::strtol(status.c_str() + at + std::strlen(name) + 2, nullptr, 10);
}

}  // namespace guest
