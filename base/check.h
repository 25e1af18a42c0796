// Assertions on our own invariants. They stay on in release builds and are never used on guest input.
#pragma once

namespace sandbox {

// Logs `what` with its place to standard error and aborts the process.
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);

}  // namespace sandbox

#define CHECK(cond)                                      \
  do {                                                   \
    if (!(cond)) [[unlikely]]                            \
      ::sandbox::CheckFailed(__FILE__, __LINE__, #cond); \
  } while (0)
