// Calls that a kernel may be configured without, and that answer as such a kernel does.
#include "syscalls/newer_calls.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

SYSCALL_UNSUPPORTED(bpf, ENOSYS, "as CONFIG_BPF_SYSCALL=n");
SYSCALL_UNSUPPORTED(perf_event_open, ENOSYS, "as CONFIG_PERF_EVENTS=n");
SYSCALL_UNSUPPORTED(userfaultfd, ENOSYS, "as CONFIG_USERFAULTFD=n");
SYSCALL_UNSUPPORTED(io_uring_setup, ENOSYS, "as CONFIG_IO_URING=n");
SYSCALL_UNSUPPORTED(io_uring_enter, ENOSYS, "as CONFIG_IO_URING=n");
SYSCALL_UNSUPPORTED(io_uring_register, ENOSYS, "as CONFIG_IO_URING=n");
SYSCALL_UNSUPPORTED(fanotify_init, ENOSYS, "as CONFIG_FANOTIFY=n");
SYSCALL_UNSUPPORTED(fanotify_mark, ENOSYS, "as CONFIG_FANOTIFY=n");
SYSCALL_UNSUPPORTED(landlock_create_ruleset, ENOSYS, "as CONFIG_SECURITY_LANDLOCK=n");
SYSCALL_UNSUPPORTED(landlock_add_rule, ENOSYS, "as CONFIG_SECURITY_LANDLOCK=n");
SYSCALL_UNSUPPORTED(landlock_restrict_self, ENOSYS, "as CONFIG_SECURITY_LANDLOCK=n");
SYSCALL_UNSUPPORTED(acct, ENOSYS, "as CONFIG_BSD_PROCESS_ACCT=n");
SYSCALL_UNSUPPORTED(kexec_load, ENOSYS, "as CONFIG_KEXEC=n");
SYSCALL_UNSUPPORTED(kexec_file_load, ENOSYS, "as CONFIG_KEXEC_FILE=n");
SYSCALL_UNSUPPORTED(init_module, ENOSYS, "as CONFIG_MODULES=n");
SYSCALL_UNSUPPORTED(finit_module, ENOSYS, "as CONFIG_MODULES=n");
SYSCALL_UNSUPPORTED(delete_module, ENOSYS, "as CONFIG_MODULES=n");
SYSCALL_UNSUPPORTED(modify_ldt, ENOSYS, "as CONFIG_MODIFY_LDT_SYSCALL=n");
SYSCALL_UNSUPPORTED(ioperm, ENOSYS, "as CONFIG_X86_IOPL_IOPERM=n");
SYSCALL_UNSUPPORTED(iopl, ENOSYS, "as CONFIG_X86_IOPL_IOPERM=n");
SYSCALL_UNSUPPORTED(map_shadow_stack, EOPNOTSUPP, "as on a processor without shadow stacks");
SYSCALL_UNSUPPORTED(lsm_get_self_attr, EOPNOTSUPP, "no security module has attributes");
SYSCALL_UNSUPPORTED(lsm_set_self_attr, EOPNOTSUPP, "no security module has attributes");
SYSCALL_UNSUPPORTED(reboot, EPERM, "a sandbox has no machine to restart");

}  // namespace
}  // namespace sandbox::syscalls
