// Holds what we believe of Linux's binary interface against the headers of the machine that builds us. Nothing here
// runs. Two kinds of belief: our own structures of this folder equal the kernel's, field by field; and those structures
// of the C library that system calls read and write as they are equal the kernel's, too. (Not all do: the C library's
// struct sigaction, termios and siginfo_t go another way, which is one reason why we have our own.)
//
// x86-64. Another architecture brings its own asm/ headers, and this file tells what differs.

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/time_types.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <termios.h>
#include <utime.h>

#include <cstddef>
#include <cstdint>
#include <ctime>

#include "abi/fcntl.h"
#include "abi/futex.h"
#include "abi/mqueue.h"
#include "abi/resource.h"
#include "abi/sched.h"
#include "abi/sigcontext.h"
#include "abi/signal.h"
#include "abi/socket.h"
#include "abi/termbits.h"

// The kernel's headers that define what the C library defines as well go into a namespace. Members that are macros of
// the C library would be renamed in them.
#undef st_atime
#undef st_mtime
#undef st_ctime
#undef sa_handler
#undef sa_sigaction
#undef si_pid
#undef si_uid
#undef si_timerid
#undef si_overrun
#undef si_status
#undef si_utime
#undef si_stime
#undef si_value
#undef si_int
#undef si_ptr
#undef si_addr
#undef si_addr_lsb
#undef si_lower
#undef si_upper
#undef si_pkey
#undef si_band
#undef si_fd
#undef si_call_addr
#undef si_syscall
#undef si_arch
#undef sigev_notify_function
#undef sigev_notify_attributes
#undef ipc_perm
namespace uapi {
#include <asm-generic/fcntl.h>
#include <asm/ipcbuf.h>
#include <asm/poll.h>
#include <asm/sembuf.h>
#include <asm/shmbuf.h>
#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/stat.h>
#include <asm/statfs.h>
#include <asm/termbits.h>
#include <asm/ucontext.h>
#include <linux/eventpoll.h>
#include <linux/inotify.h>
#include <linux/mqueue.h>
#include <linux/resource.h>
#include <linux/sched/types.h>
#include <linux/sem.h>
#include <linux/signalfd.h>
#include <linux/times.h>
#include <linux/timex.h>
#include <linux/uio.h>
#include <linux/utime.h>
#include <linux/utsname.h>
}  // namespace uapi

namespace sandbox::abi {
namespace {

#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(theirs))
#define SAME_FIELD(ours, a, theirs, b)                     \
  static_assert(offsetof(ours, a) == offsetof(theirs, b)); \
  static_assert(sizeof(static_cast<ours*>(nullptr)->a) == sizeof(static_cast<theirs*>(nullptr)->b))

// --- Our own. ---

SAME_SIZE(OwnerEx, uapi::f_owner_ex);
SAME_FIELD(OwnerEx, type, uapi::f_owner_ex, type);
SAME_FIELD(OwnerEx, pid, uapi::f_owner_ex, pid);

SAME_SIZE(FutexWaitv, futex_waitv);
SAME_FIELD(FutexWaitv, value, futex_waitv, val);
SAME_FIELD(FutexWaitv, addr, futex_waitv, uaddr);
SAME_FIELD(FutexWaitv, flags, futex_waitv, flags);
SAME_FIELD(FutexWaitv, reserved, futex_waitv, __reserved);

SAME_SIZE(RobustListHead, robust_list_head);
SAME_FIELD(RobustListHead, next, robust_list_head, list);
SAME_FIELD(RobustListHead, futex_offset, robust_list_head, futex_offset);
SAME_FIELD(RobustListHead, pending, robust_list_head, list_op_pending);

SAME_SIZE(MqAttr, uapi::mq_attr);
SAME_FIELD(MqAttr, flags, uapi::mq_attr, mq_flags);
SAME_FIELD(MqAttr, max_messages, uapi::mq_attr, mq_maxmsg);
SAME_FIELD(MqAttr, message_size, uapi::mq_attr, mq_msgsize);
SAME_FIELD(MqAttr, messages, uapi::mq_attr, mq_curmsgs);

SAME_SIZE(Rlimit64, uapi::rlimit64);
SAME_FIELD(Rlimit64, soft, uapi::rlimit64, rlim_cur);
SAME_FIELD(Rlimit64, hard, uapi::rlimit64, rlim_max);
SAME_SIZE(Rlimit64, uapi::rlimit);
SAME_FIELD(Rlimit64, soft, uapi::rlimit, rlim_cur);

SAME_SIZE(SchedAttr, uapi::sched_attr);
SAME_FIELD(SchedAttr, size, uapi::sched_attr, size);
SAME_FIELD(SchedAttr, policy, uapi::sched_attr, sched_policy);
SAME_FIELD(SchedAttr, flags, uapi::sched_attr, sched_flags);
SAME_FIELD(SchedAttr, nice, uapi::sched_attr, sched_nice);
SAME_FIELD(SchedAttr, priority, uapi::sched_attr, sched_priority);
SAME_FIELD(SchedAttr, runtime, uapi::sched_attr, sched_runtime);
SAME_FIELD(SchedAttr, deadline, uapi::sched_attr, sched_deadline);
SAME_FIELD(SchedAttr, period, uapi::sched_attr, sched_period);
SAME_FIELD(SchedAttr, util_min, uapi::sched_attr, sched_util_min);
SAME_FIELD(SchedAttr, util_max, uapi::sched_attr, sched_util_max);
static_assert(kSchedAttrSizeVer0 == SCHED_ATTR_SIZE_VER0);

SAME_SIZE(SigInfo, uapi::siginfo_t);
SAME_FIELD(SigInfo, signo, uapi::siginfo_t, si_signo);
SAME_FIELD(SigInfo, error, uapi::siginfo_t, si_errno);
SAME_FIELD(SigInfo, code, uapi::siginfo_t, si_code);
SAME_FIELD(SigInfo, rt.pid, uapi::siginfo_t, _sifields._rt._pid);
SAME_FIELD(SigInfo, rt.uid, uapi::siginfo_t, _sifields._rt._uid);
SAME_FIELD(SigInfo, rt.value, uapi::siginfo_t, _sifields._rt._sigval);
SAME_FIELD(SigInfo, timer.timer, uapi::siginfo_t, _sifields._timer._tid);
SAME_FIELD(SigInfo, timer.overrun, uapi::siginfo_t, _sifields._timer._overrun);
SAME_FIELD(SigInfo, timer.value, uapi::siginfo_t, _sifields._timer._sigval);
SAME_FIELD(SigInfo, timer.private_data, uapi::siginfo_t, _sifields._timer._sys_private);
SAME_FIELD(SigInfo, child.pid, uapi::siginfo_t, _sifields._sigchld._pid);
SAME_FIELD(SigInfo, child.uid, uapi::siginfo_t, _sifields._sigchld._uid);
SAME_FIELD(SigInfo, child.status, uapi::siginfo_t, _sifields._sigchld._status);
SAME_FIELD(SigInfo, child.utime, uapi::siginfo_t, _sifields._sigchld._utime);
SAME_FIELD(SigInfo, child.stime, uapi::siginfo_t, _sifields._sigchld._stime);
SAME_FIELD(SigInfo, fault.address, uapi::siginfo_t, _sifields._sigfault._addr);
SAME_FIELD(SigInfo, fault.lsb, uapi::siginfo_t, _sifields._sigfault._addr_lsb);
SAME_FIELD(SigInfo, poll.band, uapi::siginfo_t, _sifields._sigpoll._band);
SAME_FIELD(SigInfo, poll.fd, uapi::siginfo_t, _sifields._sigpoll._fd);
SAME_FIELD(SigInfo, sys.call_address, uapi::siginfo_t, _sifields._sigsys._call_addr);
SAME_FIELD(SigInfo, sys.syscall, uapi::siginfo_t, _sifields._sigsys._syscall);
SAME_FIELD(SigInfo, sys.arch, uapi::siginfo_t, _sifields._sigsys._arch);

SAME_SIZE(SigAction, struct uapi::sigaction);
SAME_FIELD(SigAction, handler, struct uapi::sigaction, sa_handler);
SAME_FIELD(SigAction, flags, struct uapi::sigaction, sa_flags);
SAME_FIELD(SigAction, restorer, struct uapi::sigaction, sa_restorer);
SAME_FIELD(SigAction, mask, struct uapi::sigaction, sa_mask);
SAME_SIZE(SignalSet, uapi::sigset_t);

SAME_SIZE(SigStack, uapi::stack_t);
SAME_FIELD(SigStack, sp, uapi::stack_t, ss_sp);
SAME_FIELD(SigStack, flags, uapi::stack_t, ss_flags);
SAME_FIELD(SigStack, size, uapi::stack_t, ss_size);

SAME_SIZE(SigContext, struct uapi::sigcontext_64);
SAME_FIELD(SigContext, r8, uapi::sigcontext_64, r8);
SAME_FIELD(SigContext, r15, uapi::sigcontext_64, r15);
SAME_FIELD(SigContext, rdi, uapi::sigcontext_64, di);
SAME_FIELD(SigContext, rsi, uapi::sigcontext_64, si);
SAME_FIELD(SigContext, rbp, uapi::sigcontext_64, bp);
SAME_FIELD(SigContext, rbx, uapi::sigcontext_64, bx);
SAME_FIELD(SigContext, rdx, uapi::sigcontext_64, dx);
SAME_FIELD(SigContext, rax, uapi::sigcontext_64, ax);
SAME_FIELD(SigContext, rcx, uapi::sigcontext_64, cx);
SAME_FIELD(SigContext, rsp, uapi::sigcontext_64, sp);
SAME_FIELD(SigContext, rip, uapi::sigcontext_64, ip);
SAME_FIELD(SigContext, eflags, uapi::sigcontext_64, flags);
SAME_FIELD(SigContext, cs, uapi::sigcontext_64, cs);
SAME_FIELD(SigContext, gs, uapi::sigcontext_64, gs);
SAME_FIELD(SigContext, fs, uapi::sigcontext_64, fs);
SAME_FIELD(SigContext, ss, uapi::sigcontext_64, ss);
SAME_FIELD(SigContext, err, uapi::sigcontext_64, err);
SAME_FIELD(SigContext, trapno, uapi::sigcontext_64, trapno);
SAME_FIELD(SigContext, oldmask, uapi::sigcontext_64, oldmask);
SAME_FIELD(SigContext, cr2, uapi::sigcontext_64, cr2);
SAME_FIELD(SigContext, fpstate, uapi::sigcontext_64, fpstate);
SAME_FIELD(SigContext, reserved, uapi::sigcontext_64, reserved1);

SAME_SIZE(UContext, uapi::ucontext);
SAME_FIELD(UContext, flags, uapi::ucontext, uc_flags);
SAME_FIELD(UContext, link, uapi::ucontext, uc_link);
SAME_FIELD(UContext, stack, uapi::ucontext, uc_stack);
SAME_FIELD(UContext, context, uapi::ucontext, uc_mcontext);
SAME_FIELD(UContext, mask, uapi::ucontext, uc_sigmask);

// The kernel's own names of these are in no header for users, but the C library passes its structures through.
SAME_SIZE(UserMsghdr, msghdr);
SAME_FIELD(UserMsghdr, name, msghdr, msg_name);
SAME_FIELD(UserMsghdr, name_size, msghdr, msg_namelen);
SAME_FIELD(UserMsghdr, iov, msghdr, msg_iov);
SAME_FIELD(UserMsghdr, iov_count, msghdr, msg_iovlen);
SAME_FIELD(UserMsghdr, control, msghdr, msg_control);
SAME_FIELD(UserMsghdr, control_size, msghdr, msg_controllen);
SAME_FIELD(UserMsghdr, flags, msghdr, msg_flags);
SAME_SIZE(Mmsghdr, mmsghdr);
SAME_FIELD(Mmsghdr, header, mmsghdr, msg_hdr);
SAME_FIELD(Mmsghdr, length, mmsghdr, msg_len);

SAME_SIZE(Termios, struct uapi::termios);
SAME_FIELD(Termios, iflag, struct uapi::termios, c_iflag);
SAME_FIELD(Termios, oflag, struct uapi::termios, c_oflag);
SAME_FIELD(Termios, cflag, struct uapi::termios, c_cflag);
SAME_FIELD(Termios, lflag, struct uapi::termios, c_lflag);
SAME_FIELD(Termios, line, struct uapi::termios, c_line);
SAME_FIELD(Termios, cc, struct uapi::termios, c_cc);
SAME_SIZE(Termios2, uapi::termios2);
SAME_FIELD(Termios2, input_speed, uapi::termios2, c_ispeed);
SAME_FIELD(Termios2, output_speed, uapi::termios2, c_ospeed);

// --- The C library's, as handlers use them. (Its struct statx and struct sysinfo are the kernel's own.) ---

#define SAME_MEMBER(type, name) SAME_FIELD(struct ::type, name, struct uapi::type, name)

SAME_SIZE(struct ::stat, struct uapi::stat);
SAME_MEMBER(stat, st_dev);
SAME_MEMBER(stat, st_ino);
SAME_MEMBER(stat, st_nlink);
SAME_MEMBER(stat, st_mode);
SAME_MEMBER(stat, st_uid);
SAME_MEMBER(stat, st_gid);
SAME_MEMBER(stat, st_rdev);
SAME_MEMBER(stat, st_size);
SAME_MEMBER(stat, st_blksize);
SAME_MEMBER(stat, st_blocks);
static_assert(offsetof(struct ::stat, st_atim) == offsetof(struct uapi::stat, st_atime));
static_assert(offsetof(struct ::stat, st_mtim) == offsetof(struct uapi::stat, st_mtime));
static_assert(offsetof(struct ::stat, st_ctim) == offsetof(struct uapi::stat, st_ctime));

SAME_SIZE(struct ::statfs, struct uapi::statfs);
SAME_MEMBER(statfs, f_type);
SAME_MEMBER(statfs, f_bsize);
SAME_MEMBER(statfs, f_blocks);
SAME_MEMBER(statfs, f_bfree);
SAME_MEMBER(statfs, f_bavail);
SAME_MEMBER(statfs, f_files);
SAME_MEMBER(statfs, f_ffree);
SAME_MEMBER(statfs, f_fsid);
SAME_MEMBER(statfs, f_namelen);
SAME_MEMBER(statfs, f_frsize);
SAME_MEMBER(statfs, f_flags);

SAME_SIZE(timespec, __kernel_timespec);
SAME_FIELD(timespec, tv_sec, __kernel_timespec, tv_sec);
SAME_FIELD(timespec, tv_nsec, __kernel_timespec, tv_nsec);
SAME_SIZE(itimerspec, __kernel_itimerspec);
SAME_FIELD(itimerspec, it_value, __kernel_itimerspec, it_value);
SAME_SIZE(timeval, __kernel_old_timeval);
SAME_FIELD(timeval, tv_usec, __kernel_old_timeval, tv_usec);
SAME_SIZE(itimerval, __kernel_old_itimerval);
SAME_FIELD(itimerval, it_value, __kernel_old_itimerval, it_value);
SAME_SIZE(struct ::timezone, struct uapi::timezone);

SAME_SIZE(struct ::timex, struct uapi::timex);
SAME_MEMBER(timex, modes);
SAME_MEMBER(timex, offset);
SAME_MEMBER(timex, freq);
SAME_MEMBER(timex, status);
SAME_MEMBER(timex, time);
SAME_MEMBER(timex, tick);
SAME_MEMBER(timex, tai);
SAME_SIZE(struct ::tms, struct uapi::tms);
SAME_MEMBER(tms, tms_cstime);
SAME_SIZE(struct ::utimbuf, struct uapi::utimbuf);
SAME_MEMBER(utimbuf, modtime);

SAME_SIZE(struct ::rusage, struct uapi::rusage);
SAME_MEMBER(rusage, ru_utime);
SAME_MEMBER(rusage, ru_stime);
SAME_MEMBER(rusage, ru_maxrss);
SAME_MEMBER(rusage, ru_minflt);
SAME_MEMBER(rusage, ru_majflt);
SAME_MEMBER(rusage, ru_nvcsw);
SAME_MEMBER(rusage, ru_nivcsw);

SAME_SIZE(::utsname, uapi::new_utsname);
SAME_FIELD(::utsname, sysname, uapi::new_utsname, sysname);
SAME_FIELD(::utsname, machine, uapi::new_utsname, machine);
SAME_FIELD(::utsname, domainname, uapi::new_utsname, domainname);

SAME_SIZE(struct ::flock, struct uapi::flock);
SAME_MEMBER(flock, l_type);
SAME_MEMBER(flock, l_whence);
SAME_MEMBER(flock, l_start);
SAME_MEMBER(flock, l_len);
SAME_MEMBER(flock, l_pid);
SAME_SIZE(struct ::iovec, struct uapi::iovec);
SAME_MEMBER(iovec, iov_len);
SAME_SIZE(struct ::pollfd, struct uapi::pollfd);
SAME_MEMBER(pollfd, events);
SAME_MEMBER(pollfd, revents);
SAME_SIZE(struct ::epoll_event, struct uapi::epoll_event);
SAME_MEMBER(epoll_event, data);
SAME_SIZE(struct ::inotify_event, struct uapi::inotify_event);
SAME_MEMBER(inotify_event, len);
SAME_SIZE(struct ::signalfd_siginfo, struct uapi::signalfd_siginfo);
SAME_MEMBER(signalfd_siginfo, ssi_status);
SAME_MEMBER(signalfd_siginfo, ssi_addr);

SAME_SIZE(struct ::sembuf, struct uapi::sembuf);
SAME_MEMBER(sembuf, sem_op);
SAME_MEMBER(sembuf, sem_flg);
SAME_SIZE(struct ::semid_ds, struct uapi::semid64_ds);
SAME_FIELD(struct ::semid_ds, sem_otime, struct uapi::semid64_ds, sem_otime);
SAME_FIELD(struct ::semid_ds, sem_ctime, struct uapi::semid64_ds, sem_ctime);
SAME_FIELD(struct ::semid_ds, sem_nsems, struct uapi::semid64_ds, sem_nsems);
SAME_SIZE(struct ::seminfo, struct uapi::seminfo);
SAME_MEMBER(seminfo, semmsl);
SAME_MEMBER(seminfo, semusz);
SAME_SIZE(struct ::shmid_ds, struct uapi::shmid64_ds);
SAME_FIELD(struct ::shmid_ds, shm_segsz, struct uapi::shmid64_ds, shm_segsz);
SAME_FIELD(struct ::shmid_ds, shm_cpid, struct uapi::shmid64_ds, shm_cpid);
SAME_FIELD(struct ::shmid_ds, shm_nattch, struct uapi::shmid64_ds, shm_nattch);
SAME_SIZE(struct ::shminfo, struct uapi::shminfo64);
SAME_SIZE(struct ::sigevent, struct uapi::sigevent);
SAME_MEMBER(sigevent, sigev_value);
SAME_MEMBER(sigevent, sigev_signo);
SAME_MEMBER(sigevent, sigev_notify);

// Sizes that version an interface.
static_assert(sizeof(open_how) == 24);  // OPEN_HOW_SIZE_VER0
static_assert(sizeof(__user_cap_data_struct) * _LINUX_CAPABILITY_U32S_3 == 24);

}  // namespace
}  // namespace sandbox::abi
