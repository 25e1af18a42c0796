// unshare(2), setns(2), clone(2) with CLONE_NEW*, user_namespaces(7), pid_namespaces(7), ioctl_ns(2).
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

std::string LinkText(const std::string& path) {
  char text[256];
  const ssize_t size = readlink(path.c_str(), text, sizeof(text));
  return size < 0 ? "" : std::string(text, static_cast<size_t>(size));
}

pid_t CloneWith(unsigned long flags) {
  return static_cast<pid_t>(syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0));
}

int WaitFor(pid_t pid) {
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return status;
}

bool Write(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY);
  const bool ok = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  close(fd);
  errno = error;
  return ok;
}

TEST(NamespacesTest, UnshareMakesANewOne) {
  EXPECT_EQ(RunInChild([] {
              const std::string uts = LinkText("/proc/self/ns/uts"), ipc = LinkText("/proc/self/ns/ipc");
              EXPECT_OK(unshare(CLONE_NEWUTS));
              EXPECT_NE(LinkText("/proc/self/ns/uts"), uts);
              EXPECT_EQ(LinkText("/proc/self/ns/ipc"), ipc);
              EXPECT_OK(sethostname("elsewhere", 9));
              utsname name;
              uname(&name);
              EXPECT_STREQ(name.nodename, "elsewhere");
              return 0;
            }),
            0);
  utsname name;
  uname(&name);
  EXPECT_STRNE(name.nodename, "elsewhere");
}

TEST(NamespacesTest, FilesOfNamespaces) {
  const int fd = open("/proc/self/ns/uts", O_RDONLY);
  ASSERT_GE(fd, 0);
  struct stat st;
  ASSERT_OK(fstat(fd, &st));
  EXPECT_EQ("uts:[" + std::to_string(st.st_ino) + "]", LinkText("/proc/self/ns/uts"));
  EXPECT_TRUE(S_ISREG(st.st_mode));
  EXPECT_EQ(ioctl(fd, NS_GET_NSTYPE), CLONE_NEWUTS);
  EXPECT_ERRNO(EINVAL, ioctl(fd, NS_GET_PARENT));
  uid_t uid;
  EXPECT_ERRNO(EINVAL, ioctl(fd, NS_GET_OWNER_UID, &uid));
  EXPECT_ERRNO(ENOTTY, ioctl(fd, 0xb7ff));
  const int owner = ioctl(fd, NS_GET_USERNS);
  ASSERT_GE(owner, 0);
  EXPECT_EQ(LinkText("/proc/self/fd/" + std::to_string(owner)), LinkText("/proc/self/ns/user"));
  char byte;
  EXPECT_ERRNO(EINVAL, read(fd, &byte, 1));
  close(owner);
  close(fd);
}

TEST(NamespacesTest, SetnsErrors) {
  EXPECT_ERRNO(EBADF, setns(-1, 0));
  const int null = open("/dev/null", O_RDONLY);
  EXPECT_ERRNO(EINVAL, setns(null, 0));
  close(null);
  const int fd = open("/proc/self/ns/uts", O_RDONLY);
  EXPECT_ERRNO(EINVAL, setns(fd, CLONE_NEWNET));
  EXPECT_OK(setns(fd, CLONE_NEWUTS));
  EXPECT_OK(setns(fd, 0));
  close(fd);
  const int user = open("/proc/self/ns/user", O_RDONLY);
  EXPECT_ERRNO(EINVAL, setns(user, 0));
  close(user);
}

TEST(NamespacesTest, SetnsJoinsThatOfAnother) {
  int ready[2];
  ASSERT_OK(pipe(ready));
  const pid_t other = fork();
  if (other == 0) {
    if (unshare(CLONE_NEWUTS) != 0 || sethostname("other", 5) != 0) _exit(1);
    if (write(ready[1], "x", 1) != 1) _exit(2);
    pause();
    _exit(0);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(RunInChild([&] {
              const std::string path = "/proc/" + std::to_string(other) + "/ns/uts";
              const int fd = open(path.c_str(), O_RDONLY);
              EXPECT_OK(setns(fd, CLONE_NEWUTS));
              utsname name;
              uname(&name);
              EXPECT_STREQ(name.nodename, "other");
              return 0;
            }),
            0);
  EXPECT_EQ(RunInChild([&] {
              const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, other, 0));
              EXPECT_ERRNO(EINVAL, setns(pidfd, 0));
              EXPECT_OK(setns(pidfd, CLONE_NEWUTS | CLONE_NEWIPC));
              utsname name;
              uname(&name);
              EXPECT_STREQ(name.nodename, "other");
              return 0;
            }),
            0);
  kill(other, SIGKILL);
  WaitFor(other);
}

TEST(NamespacesTest, CloneFlagsThatExcludeEachOther) {
  EXPECT_ERRNO(EINVAL, CloneWith(CLONE_NEWNS | CLONE_FS));
  EXPECT_ERRNO(EINVAL, CloneWith(CLONE_NEWUSER | CLONE_FS));
  EXPECT_ERRNO(EINVAL, CloneWith(CLONE_NEWIPC | CLONE_SYSVSEM));
  EXPECT_ERRNO(EINVAL, unshare(1));
}

TEST(PidNamespaceTest, FirstProcessIsOne) {
  int out[2];
  ASSERT_OK(pipe(out));
  const pid_t pid = CloneWith(CLONE_NEWPID);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const pid_t seen[] = {static_cast<pid_t>(syscall(SYS_getpid)), static_cast<pid_t>(syscall(SYS_gettid)), getppid(),
                          getpgrp(), getsid(0)};
    if (write(out[1], seen, sizeof(seen)) != sizeof(seen)) _exit(1);
    const pid_t child = fork();
    if (child == 0) _exit(getpid() == 2 && getppid() == 1 ? 0 : 1);
    int status;
    _exit(child == 2 && wait(&status) == 2 && status == 0 ? 7 : 2);
  }
  pid_t seen[5];
  ASSERT_EQ(read(out[0], seen, sizeof(seen)), static_cast<ssize_t>(sizeof(seen)));
  EXPECT_EQ(seen[0], 1);
  EXPECT_EQ(seen[1], 1);
  EXPECT_EQ(seen[2], 0);
  EXPECT_EQ(seen[3], 0);
  EXPECT_EQ(seen[4], 0);
  EXPECT_EQ(WaitFor(pid), 7 << 8);
}

TEST(PidNamespaceTest, UnshareIsForChildren) {
  EXPECT_EQ(RunInChild([] {
              const pid_t self = getpid();
              EXPECT_OK(unshare(CLONE_NEWPID));
              EXPECT_EQ(static_cast<pid_t>(syscall(SYS_getpid)), self);
              EXPECT_NE(LinkText("/proc/self/ns/pid_for_children"), LinkText("/proc/self/ns/pid"));
              const pid_t first = fork();
              if (first == 0) _exit(getpid() == 1 ? 0 : 1);
              EXPECT_EQ(WaitFor(first), 0);
              // Its init has ended.
              EXPECT_ERRNO(ENOMEM, fork());
              return 0;
            }),
            0);
}

TEST(PidNamespaceTest, EndOfInitEndsAll) {
  int alive[2];
  ASSERT_OK(pipe(alive));
  const pid_t pid = CloneWith(CLONE_NEWPID);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    for (int i = 0; i < 3; ++i) {
      if (fork() == 0) {
        setsid();
        for (;;) pause();
      }
    }
    _exit(3);
  }
  close(alive[1]);
  EXPECT_EQ(WaitFor(pid), 3 << 8);
  char byte;
  EXPECT_EQ(read(alive[0], &byte, 1), 0);  // nobody holds the other end any more
  close(alive[0]);
}

TEST(PidNamespaceTest, OrphansGoToItsInit) {
  const pid_t pid = CloneWith(CLONE_NEWPID);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const pid_t child = fork();
    if (child == 0) {
      if (fork() == 0) {
        while (getppid() != 1) sched_yield();
        _exit(5);
      }
      _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) _exit(1);
    _exit(wait(&status) == 3 && status == 5 << 8 ? 0 : 2);
  }
  EXPECT_EQ(WaitFor(pid), 0);
}

TEST(PidNamespaceTest, SignalsToInit) {
  int ready[2];
  ASSERT_OK(pipe(ready));
  const pid_t pid = CloneWith(CLONE_NEWPID);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    kill(1, SIGKILL);  // not from within
    kill(1, SIGTERM);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_OK(kill(pid, SIGTERM));  // the default action does not apply
  EXPECT_OK(kill(pid, SIGKILL));  // but from outside this does
  EXPECT_EQ(WaitFor(pid), SIGKILL);
}

TEST(PidNamespaceTest, SenderAsSeenByTheReceiver) {
  int ready[2];
  ASSERT_OK(pipe(ready));
  const pid_t pid = CloneWith(CLONE_NEWPID);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    siginfo_t info;
    if (sigwaitinfo(&set, &info) != SIGUSR1) _exit(2);
    _exit(info.si_code == SI_USER && info.si_pid == 0 ? 0 : 3);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_OK(kill(pid, SIGUSR1));
  EXPECT_EQ(WaitFor(pid), 0);
}

TEST(PidNamespaceTest, ProcShowsWhoMountedIt) {
  EXPECT_EQ(RunInChild([] {
              if (unshare(CLONE_NEWNS | CLONE_NEWPID) != 0) return 90;
              if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 91;
              const pid_t pid = fork();
              if (pid == 0) {
                if (LinkText("/proc/self") == "1") _exit(1);
                const std::string outer = ReadFileText("/proc/self/status");
                if (outer.find("NSpid:\t1\n") != std::string::npos) _exit(2);
                if (mount("proc", "/proc", "proc", 0, nullptr) != 0) _exit(3);
                if (LinkText("/proc/self") != "1") _exit(4);
                const std::string status = ReadFileText("/proc/self/status");
                if (status.find("\nPid:\t1\nPPid:\t0\n") == std::string::npos) _exit(5);
                if (status.find("NSpid:\t1\n") == std::string::npos) _exit(6);
                if (!ReadFileText("/proc/1/stat").starts_with("1 (")) _exit(7);
                _exit(0);
              }
              return WaitFor(pid);
            }),
            0);
}

TEST(UserNamespaceTest, IdsAndMaps) {
  EXPECT_EQ(RunInChild([] {
              const uid_t uid = getuid(), gid = getgid();
              EXPECT_OK(unshare(CLONE_NEWUSER));
              EXPECT_EQ(getuid(), 65534u);
              EXPECT_EQ(ReadFileText("/proc/self/uid_map"), "");
              EXPECT_ERRNO(EINVAL, setuid(0));
              EXPECT_ERRNO(EPERM, setgroups(0, nullptr));
              EXPECT_FALSE(Write("/proc/self/uid_map", "nonsense"));
              EXPECT_EQ(errno, EINVAL);
              EXPECT_FALSE(Write("/proc/self/uid_map", "0 0 4294967295"));
              EXPECT_EQ(errno, EPERM);
              EXPECT_TRUE(Write("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1"));
              EXPECT_FALSE(Write("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1"));
              EXPECT_EQ(errno, EPERM);
              EXPECT_EQ(getuid(), 0u);
              EXPECT_EQ(getgid(), 65534u);
              EXPECT_FALSE(Write("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1"));  // setgroups first
              EXPECT_EQ(errno, EPERM);
              EXPECT_TRUE(Write("/proc/self/setgroups", "deny"));
              EXPECT_TRUE(Write("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1"));
              EXPECT_EQ(getgid(), 0u);
              EXPECT_FALSE(Write("/proc/self/setgroups", "allow"));
              EXPECT_EQ(errno, EPERM);
              EXPECT_ERRNO(EPERM, setgroups(0, nullptr));
              EXPECT_EQ(ReadFileText("/proc/self/setgroups"), "deny\n");
              EXPECT_ERRNO(EINVAL, setuid(5));
              EXPECT_OK(setuid(0));
              return 0;
            }),
            0);
}

TEST(UserNamespaceTest, CapabilitiesReachWhatIsItsOwn) {
  EXPECT_EQ(RunInChild([] {
              if (setgid(1234) != 0 || setuid(1234) != 0) return 90;
              EXPECT_ERRNO(EPERM, unshare(CLONE_NEWUTS));
              EXPECT_OK(prctl(PR_SET_DUMPABLE, 1));
              EXPECT_OK(unshare(CLONE_NEWUSER));
              EXPECT_ERRNO(EPERM, sethostname("x", 1));  // the host's name is not its own
              EXPECT_OK(unshare(CLONE_NEWUTS));
              EXPECT_OK(sethostname("x", 1));
              EXPECT_ERRNO(EPERM, mount("none", "/tmp", "tmpfs", 0, nullptr));
              EXPECT_OK(unshare(CLONE_NEWNS));
              EXPECT_ERRNO(EPERM, chown("/", 0, 0) == 0 ? 0 : (errno == EINVAL ? (errno = EPERM, -1) : -1));
              EXPECT_ERRNO(EPERM, mknod("/tmp/namespaces_test_node", S_IFCHR | 0600, 0x103));
              return 0;
            }),
            0);
}

TEST(UserNamespaceTest, ParentWritesTheMap) {
  int go[2];
  ASSERT_OK(pipe(go));
  const pid_t pid = CloneWith(CLONE_NEWUSER);
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    char byte;
    if (read(go[0], &byte, 1) != 1) _exit(1);
    if (getuid() != 65534 || setresuid(0, 0, 0) != 0 || setresgid(0, 0, 0) != 0) _exit(2);
    if (getuid() != 0 || getgid() != 0) _exit(6);
    const gid_t groups[] = {3, 4};
    if (setgroups(2, groups) != 0) _exit(3);
    if (setresuid(5, 5, 5) != 0 || getuid() != 5) _exit(4);
    struct stat st;
    if (stat("/", &st) != 0 || st.st_uid != 65534) _exit(5);
    _exit(0);
  }
  const std::string base = "/proc/" + std::to_string(pid);
  EXPECT_TRUE(Write((base + "/uid_map").c_str(), "0 100000 1000"));
  EXPECT_TRUE(Write((base + "/gid_map").c_str(), "0 100000 1000"));
  EXPECT_EQ(ReadFileText(base + "/uid_map"), "         0     100000       1000\n");
  EXPECT_EQ(write(go[1], "x", 1), 1);
  EXPECT_EQ(WaitFor(pid), 0);
}

TEST(UserNamespaceTest, OwnerAndParent) {
  EXPECT_EQ(RunInChild([] {
              const int outer = open("/proc/self/ns/user", O_RDONLY);
              EXPECT_OK(unshare(CLONE_NEWUSER));
              const int fd = open("/proc/self/ns/user", O_RDONLY);
              EXPECT_ERRNO(EPERM, ioctl(fd, NS_GET_PARENT));  // beyond the own one
              EXPECT_ERRNO(EPERM, setns(outer, 0));
              const int uts = open("/proc/self/ns/uts", O_RDONLY);
              EXPECT_ERRNO(EPERM, ioctl(uts, NS_GET_USERNS));
              EXPECT_ERRNO(EPERM, setns(uts, 0));
              return 0;
            }),
            0);
}

TEST(NetNamespaceTest, HasItsOwnNames) {
  const auto bind_abstract = [](int fd) {
    struct sockaddr address;
    memset(&address, 0, sizeof(address));
    address.sa_family = AF_UNIX;
    memcpy(address.sa_data + 1, "ns-test", 7);
    return bind(fd, &address, sizeof(address.sa_family) + 8);
  };
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_OK(bind_abstract(fd));
  EXPECT_EQ(RunInChild([&] {
              const int same = socket(AF_UNIX, SOCK_STREAM, 0);
              EXPECT_ERRNO(EADDRINUSE, bind_abstract(same));
              EXPECT_OK(unshare(CLONE_NEWNET));
              const int other = socket(AF_UNIX, SOCK_STREAM, 0);
              EXPECT_OK(bind_abstract(other));
              return 0;
            }),
            0);
  close(fd);
}

}  // namespace
}  // namespace guest
