#include "platform/ptrace/stub_filter.h"

#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cstddef>

#include "platform/ptrace/stub.h"

namespace sandbox::platform::ptrace {
namespace {

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, field))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define ALLOW_NR(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), ALLOW
// Calls whose first argument must have one value; the low half suffices, as descriptors are ints.
#define ALLOW_NR_FD(nr, fd)                                                                                           \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4), LOAD(args[0]), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, fd, 0, 1), ALLOW, \
      KILL

constexpr sock_filter kFilter[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    KILL,
    LOAD(nr),
    ALLOW_NR(__NR_mmap),
    ALLOW_NR(__NR_munmap),
    ALLOW_NR(__NR_mprotect),
    ALLOW_NR(__NR_mremap),
    ALLOW_NR(__NR_madvise),
    ALLOW_NR(__NR_membarrier),
    ALLOW_NR(__NR_rseq),
    ALLOW_NR(__NR_exit),
    ALLOW_NR(__NR_pause),
    ALLOW_NR(__NR_getrusage),
    ALLOW_NR(__NR_mincore),
    ALLOW_NR_FD(__NR_recvmsg, kStubSocketFd),
    // close: anything but the socket.
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_close, 0, 4),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kStubSocketFd, 0, 1),
    KILL,
    ALLOW,
    // clone: the child must be born a tracee.
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 5),
    LOAD(args[0]),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_PTRACE, 0, 3),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_UNTRACED | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID, 2, 0),
    ALLOW,
    KILL,
    KILL,
};

}  // namespace

std::span<const sock_filter> StubFilter() { return kFilter; }

}  // namespace sandbox::platform::ptrace
