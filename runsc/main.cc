// Entry point of every role of the runsc binary. Placeholder: prints usage until the command line lands.

#include <cstdio>

int main() {
  std::fputs("usage: runsc [--platform=systrap|ptrace] COMMAND [ARGS…]\n", stderr);
  return 1;
}
