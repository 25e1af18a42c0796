// The initial stack of a program: strings, auxiliary vector, envp, argv, argc (Linux: copy_strings and
// create_elf_tables; System V ABI, "Process Initialization").
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/guest_addr.h"
#include "base/result.h"

namespace sandbox::loader {

struct StackArgs {
  std::vector<std::string> argv, envv;
  std::string filename;  // AT_EXECFN
  bool randomize = true;
};

// Where things went. `bytes` are to be written at `sp`; they reach up to the top of the stack.
struct StackImage {
  GuestAddr sp;
  std::vector<uint8_t> bytes;
  GuestAddr arg_start, arg_end, env_start, env_end;
  std::vector<uint64_t> auxv;  // as written, AT_NULL pair included
};

// Bytes that argv, envv and the filename take, pointers included. E2BIG beyond the limit: a quarter of `stack_limit`,
// at most 6 MiB and at least 128 KiB in all, 128 KiB a string.
Result<uint64_t> CheckArgumentSize(const StackArgs& args, uint64_t stack_limit);

// Builds the image below `top`. `aux` are the entries before AT_RANDOM, in order;
// those from AT_RANDOM on are added here.
StackImage BuildStack(GuestAddr top, const StackArgs& args, const std::vector<std::pair<uint64_t, uint64_t>>& aux);

}  // namespace sandbox::loader
