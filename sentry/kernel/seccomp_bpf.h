// The classic BPF programs of seccomp(2) (Linux: kernel/seccomp.c seccomp_check_filter).
#pragma once

#include <linux/seccomp.h>

#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "sentry/core/classic_bpf.h"

namespace sandbox {

// struct seccomp_data of the uapi: what a filter sees of a call.
using SeccompData = seccomp_data;
static_assert(sizeof(SeccompData) == 64);

inline constexpr size_t kMaxSeccompInsns = BPF_MAXINSNS;

// EINVAL as CheckBpf, and for a load outside struct seccomp_data.
Result<void> CheckSeccompProgram(std::span<const sock_filter> program);

// The program's verdict, SECCOMP_RET_* with data. Precondition: the program passed the check.
uint32_t RunSeccompProgram(std::span<const sock_filter> program, const SeccompData& data);

// The verdict if it depends on nothing but call number and architecture, for caching.
std::optional<uint32_t> ConstantSeccompVerdict(std::span<const sock_filter> program, int nr, uint32_t arch);

}  // namespace sandbox
