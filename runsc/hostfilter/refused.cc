#include "runsc/hostfilter/refused.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace sandbox::hostfilter {
namespace {

const char* role_name = "";

// Async-signal context: write(2) and _exit only.
void OnRefused(int, siginfo_t* info, void*) {
  char digits[16];
  size_t n = 0;
  for (unsigned v = static_cast<unsigned>(info->si_syscall); n == 0 || v > 0; v /= 10) digits[n++] = '0' + v % 10;
  char text[128];
  size_t used = 0;
  const auto put = [&](const char* s) {
    while (*s != 0 && used < sizeof(text)) text[used++] = *s++;
  };
  put("runsc: ");
  put(role_name);
  put(": host system call ");
  while (n > 0 && used < sizeof(text)) text[used++] = digits[--n];
  put(" refused by the filter\n");
  (void)!::write(2, text, used);
  ::_exit(70);  // EX_SOFTWARE
}

}  // namespace

absl::Status ReportRefusedCalls(const char* role) {
  role_name = role;
  struct sigaction action = {};
  action.sa_sigaction = OnRefused;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) {
    return absl::InternalError(absl::StrCat("sigaction(SIGSYS): ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace sandbox::hostfilter
