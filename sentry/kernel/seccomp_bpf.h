// The classic BPF programs of seccomp(2): check and interpreter (Linux: net/core/filter.c
// bpf_check_classic, kernel/seccomp.c seccomp_check_filter). A program comes from the guest and
// runs in the sentry: what the check accepts ends after at most as many steps as it has
// instructions, since jumps only go forward.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"

namespace sandbox {

// struct seccomp_data of the uapi: what a filter sees of a call.
using SeccompData = seccomp_data;
static_assert(sizeof(SeccompData) == 64);

inline constexpr size_t kMaxSeccompInsns = BPF_MAXINSNS;

// EINVAL for an empty or too long program, an instruction seccomp does not know, a jump past the
// end, a load outside struct seccomp_data, scratch memory read before it is written, division by a
// constant 0, or a last instruction that is no return.
Result<void> CheckSeccompProgram(std::span<const sock_filter> program);

// The program's verdict, SECCOMP_RET_* with data. Precondition: the program passed the check.
uint32_t RunSeccompProgram(std::span<const sock_filter> program, const SeccompData& data);

// The verdict if it depends on nothing but call number and architecture, for caching.
std::optional<uint32_t> ConstantSeccompVerdict(std::span<const sock_filter> program, int nr, uint32_t arch);

}  // namespace sandbox
