// The platform's own pages inside every guest process: one page of code that the tracer points a stopped thread at to
// make it execute a system call or an atomic exchange, and one page of scratch memory.
//
// The code page is read-only and executable and the guest cannot change that (it never reaches a host system call),
// so a thread that is sent there executes exactly these instructions. The scratch page is writable by the guest:
// nothing in it is ever trusted, and nothing the tracer does depends on its contents.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/guest_addr.h"

namespace sandbox::platform::ptrace {

// Top of the 47-bit user address space, less the guard page that Linux keeps there.
inline constexpr uint64_t kTaskSize = 0x7ffffffff000;
// Everything from here up is the platform's; below it there is an unmapped guard gap up to the code page.
inline constexpr uint64_t kGuestEnd = 0x7ffffff00000;
inline constexpr uint64_t kGuestStart = 0x10000;  // Linux's default vm.mmap_min_addr
inline constexpr uint64_t kStubText = kGuestEnd + 0x10000;
inline constexpr uint64_t kStubScratch = kStubText + kPageSize;
inline constexpr uint64_t kStubEnd = kStubScratch + kPageSize;

// Entry points in the code page, and where each one's final int3 leaves rip.
inline constexpr uint64_t kSyscallEntry = kStubText;  // syscall; int3
inline constexpr uint64_t kSyscallDone = kStubText + 3;
inline constexpr uint64_t kExchangeEntry = kStubText + 16;  // lock cmpxchg %ecx,(%rdi); int3
inline constexpr uint64_t kExchangeDone = kStubText + 16 + 5;
inline constexpr uint64_t kParkEntry = kStubText + 32;  // 1: mov $__NR_pause,%eax; syscall; jmp 1b

inline constexpr uint8_t kStubCode[] = {
    0x0f, 0x05, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
    0xcc, 0xcc, 0xf0, 0x0f, 0xb1, 0x0f, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
    0xcc, 0xcc, 0xcc, 0xcc, 0xb8, 0x22, 0x00, 0x00, 0x00, 0x0f, 0x05, 0xeb, 0xf7,
};

// Layout of the scratch page: the msghdr of the injected recvmsg, then its buffers, then results of getrusage.
inline constexpr size_t kScratchMsghdr = 0;
inline constexpr size_t kScratchIovec = 128;
inline constexpr size_t kScratchByte = 192;
inline constexpr size_t kScratchControl = 256;
inline constexpr size_t kScratchControlSize = 256;
inline constexpr size_t kScratchRusage = 1024;

// Descriptors of a guest process. It owns no other, so the kernel's lowest-free rule makes the number of a received
// descriptor known without asking the (guest-writable) control buffer.
inline constexpr int kStubSocketFd = 0;
inline constexpr int kStubReceivedFd = 1;

}  // namespace sandbox::platform::ptrace
