// /proc/PID files: proc(5).
#include <elf.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "tests/util/guest.h"
#include "tests/util/memory.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

std::string Self(const std::string& name) { return "/proc/self/" + name; }
// The line of `text` that begins with `name` and a colon, without them and the white space.
std::string Field(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(name + ":", 0) != 0) continue;
    const size_t at = line.find_first_not_of(" \t", name.size() + 1);
    return at == std::string::npos ? "" : line.substr(at);
  }
  return "missing";
}
std::string Link(const std::string& path) {
  char text[4096];
  const ssize_t size = readlink(path.c_str(), text, sizeof(text));
  return size < 0 ? std::strerror(errno) : std::string(text, static_cast<size_t>(size));
}

TEST(ProcStatusTest, TellsIdsSignalsAndThreads) {
  EXPECT_EQ(RunInChild([] {
              const gid_t groups[] = {30, 10};
              EXPECT_OK(syscall(SYS_setgroups, 2, groups));
              EXPECT_OK(syscall(SYS_setresuid, 1, 2, 3));
              umask(027);
              signal(SIGUSR1, SIG_IGN);
              signal(SIGUSR2, [](int) {});
              sigset_t set;
              sigemptyset(&set);
              sigaddset(&set, SIGUSR2);
              sigprocmask(SIG_BLOCK, &set, nullptr);
              raise(SIGUSR2);
              prctl(PR_SET_NAME, "odd name");
              prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
              const std::string status = ReadFileText("/proc/" + std::to_string(getpid()) + "/status");
              EXPECT_EQ(Field(status, "Name"), "odd name");
              EXPECT_EQ(Field(status, "Umask"), "0027");
              EXPECT_EQ(Field(status, "State").front(), 'R');
              EXPECT_EQ(Field(status, "Tgid"), std::to_string(getpid()));
              EXPECT_EQ(Field(status, "Pid"), std::to_string(getpid()));
              EXPECT_EQ(Field(status, "PPid"), std::to_string(getppid()));
              EXPECT_EQ(Field(status, "TracerPid"), "0");
              EXPECT_EQ(Field(status, "Uid"), "1\t2\t3\t2");
              EXPECT_EQ(Field(status, "Groups"), "10 30 ");
              EXPECT_EQ(Field(status, "Threads"), "1");
              EXPECT_EQ(Field(status, "SigPnd"), "0000000000000800");
              EXPECT_EQ(Field(status, "ShdPnd"), "0000000000000000");
              EXPECT_EQ(Field(status, "SigBlk"), "0000000000000800");
              EXPECT_EQ(Field(status, "SigIgn").substr(12), "0200");
              EXPECT_EQ(Field(status, "SigCgt").substr(12), "0800");
              EXPECT_EQ(Field(status, "CapEff"), "0000000000000000");
              EXPECT_EQ(Field(status, "NoNewPrivs"), "1");
              return 0;
            }),
            0);
}

TEST(ProcStatTest, FieldsAreWhereProgramsLookForThem) {
  EXPECT_EQ(RunInChild([] {
              prctl(PR_SET_NAME, "a) R b");
              EXPECT_OK(setpriority(PRIO_PROCESS, 0, 5));
              const std::string stat = ReadFileText(Self("stat"));
              EXPECT_EQ(stat.rfind(std::to_string(getpid()) + " (a) R b) R ", 0), 0u) << stat;
              std::istringstream rest(stat.substr(stat.rfind(')') + 1));
              std::vector<std::string> fields;  // from the state, field 3, on
              for (std::string field; rest >> field;) fields.push_back(field);
              if (fields.size() != 50) return 1;
              EXPECT_EQ(fields[1], std::to_string(getppid()));
              EXPECT_EQ(fields[2], std::to_string(getpgrp()));
              EXPECT_EQ(fields[3], std::to_string(getsid(0)));
              EXPECT_EQ(fields[15], "25") << "priority";
              EXPECT_EQ(fields[16], "5") << "nice";
              EXPECT_EQ(fields[17], "1") << "threads";
              EXPECT_EQ(std::stoul(fields[20]) / 1024, static_cast<unsigned long>(StatusKilobytes("VmSize")));
              return 0;
            }),
            0);
}

TEST(ProcStatTest, StatesOfOthers) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  const std::string path = "/proc/" + std::to_string(child);
  AwaitState(child, "S");
  kill(child, SIGSTOP);
  AwaitState(child, "T");
  EXPECT_EQ(Field(ReadFileText(path + "/status"), "State"), "T (stopped)");
  kill(child, SIGKILL);
  AwaitState(child, "Z");
  EXPECT_EQ(Field(ReadFileText(path + "/status"), "State"), "Z (zombie)");
  EXPECT_EQ(ReadFileText(path + "/cmdline"), "");
  EXPECT_EQ(ReadFileText(path + "/maps"), "");
  EXPECT_EQ(Link(path + "/exe"), std::strerror(ENOENT));
  EXPECT_EQ(Link(path + "/cwd"), std::strerror(ENOENT));
  ScopedFd directory(open(path.c_str(), O_RDONLY));
  waitpid(child, nullptr, 0);
  EXPECT_ERRNO(ENOENT, open(path.c_str(), O_RDONLY));
  EXPECT_ERRNO(ESRCH, openat(directory.get(), "status", O_RDONLY) >= 0 ? 0 : -1) << "one that is gone";
}

TEST(ProcMapsTest, EachMappingHasALine) {
  TempDir dir;
  WriteFileText(dir / "a file", std::string(3 * kPage, 'x'));
  ScopedFd fd(open((dir / "a file").c_str(), O_RDWR));
  void* shared = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 2 * kPage);
  Mapping private_file(1, PROT_READ, MAP_PRIVATE, fd.get()), none(1, PROT_NONE), code(1, PROT_READ | PROT_EXEC);
  struct stat st;
  ASSERT_OK(fstat(fd.get(), &st));
  const auto line_of = [](const void* at) {
    char start[32];
    std::snprintf(start, sizeof(start), "%08lx-", Address(at));
    std::istringstream maps(ReadFileText(Self("maps")));
    for (std::string line; std::getline(maps, line);) {
      if (line.rfind(start, 0) == 0) return line.substr(line.find(' ') + 1);
    }
    return std::string("none");
  };
  char wanted[128];
  std::snprintf(wanted, sizeof(wanted), "rw-s 00002000 %02x:%02x %lu ", major(st.st_dev), minor(st.st_dev), st.st_ino);
  EXPECT_EQ(line_of(shared).rfind(wanted, 0), 0u) << line_of(shared) << " not " << wanted;
  EXPECT_NE(line_of(shared).find(" " + (dir / "a file")), std::string::npos) << line_of(shared);
  EXPECT_EQ(line_of(private_file.page()).substr(0, 13), "r--p 00000000");
  EXPECT_EQ(line_of(none.page()), "---p 00000000 00:00 0 ");
  EXPECT_EQ(line_of(code.page()), "r-xp 00000000 00:00 0 ");
  ASSERT_OK(unlink((dir / "a file").c_str()));
  EXPECT_NE(line_of(shared).find("a file (deleted)"), std::string::npos);
  const std::string smaps = ReadFileText(Self("smaps"));
  for (const char* field : {"Size", "Rss", "Pss", "Private_Dirty", "VmFlags"})
    EXPECT_NE(Field(smaps, field), "missing") << field;
  const std::string maps = ReadFileText(Self("maps"));
  for (const char* name : {"[stack]", "[vdso]"}) EXPECT_NE(maps.find(name), std::string::npos) << name;
  munmap(shared, kPage);
}

TEST(ProcMemTest, ReadsAndWritesAtAddresses) {
  ScopedFd fd(open("/proc/self/mem", O_RDWR));
  Mapping memory(2);
  char text[] = "text", got[8] = {};
  EXPECT_EQ(pread(fd.get(), got, 5, Address(text)), 5);
  EXPECT_STREQ(got, "text");
  EXPECT_EQ(pwrite(fd.get(), "T", 1, Address(text)), 1);
  EXPECT_STREQ(text, "Text");
  ASSERT_OK(munmap(memory.page(1), kPage));
  EXPECT_ERRNO(EIO, pread(fd.get(), got, 1, Address(memory.page(1))));
  EXPECT_EQ(pread(fd.get(), got, 8, Address(memory.page(1)) - 4), 4);
}

TEST(ProcFdTest, LinksAndInformation) {
  TempDir dir;
  ScopedFd file(open((dir / "f").c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600));
  ASSERT_EQ(write(file.get(), "12345", 5), 5);
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  struct stat st;
  ASSERT_OK(fstat(pipes[0], &st));
  ScopedFd event(eventfd(3, EFD_SEMAPHORE)), timer(timerfd_create(CLOCK_MONOTONIC, 0)), epoll(epoll_create1(0));
  const auto name = [](int fd) { return std::to_string(fd); };
  EXPECT_EQ(Link(Self("fd/" + name(file.get()))), dir / "f");
  EXPECT_EQ(Link(Self("fd/" + name(pipes[0]))), "pipe:[" + std::to_string(st.st_ino) + "]");
  EXPECT_EQ(Link(Self("fd/" + name(event.get()))), "anon_inode:[eventfd]");
  EXPECT_EQ(Link(Self("fd/" + name(epoll.get()))), "anon_inode:[eventpoll]");
  EXPECT_EQ(Link(Self("fd/9999")), std::strerror(ENOENT));
  const std::string info = ReadFileText(Self("fdinfo/" + name(file.get())));
  EXPECT_EQ(Field(info, "pos"), "5");
  EXPECT_EQ(Field(info, "flags"), "02102002");
  EXPECT_NE(Field(info, "mnt_id"), "missing");
  EXPECT_NE(Field(info, "ino"), "missing");
  EXPECT_EQ(std::stoi(Field(ReadFileText(Self("fdinfo/" + name(event.get()))), "eventfd-count"), nullptr, 16), 3);
  EXPECT_EQ(Field(ReadFileText(Self("fdinfo/" + name(timer.get()))), "clockid"), "1");
  epoll_event watched = {EPOLLIN, {}};
  ASSERT_OK(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, pipes[0], &watched));
  EXPECT_NE(ReadFileText(Self("fdinfo/" + name(epoll.get()))).find("tfd:"), std::string::npos);
  ASSERT_OK(lstat(Self("fd/" + name(pipes[0])).c_str(), &st));
  EXPECT_EQ(st.st_mode & 0777, 0500u) << "a link shows how the file is open";
  ASSERT_OK(unlink((dir / "f").c_str()));
  EXPECT_EQ(Link(Self("fd/" + name(file.get()))), (dir / "f") + " (deleted)");
  close(pipes[0]);
  close(pipes[1]);
}

TEST(ProcTaskTest, EachThreadIsThere) {
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  pid_t tid = 0;
  Helper thread([&] {
    tid = gettid();
    prctl(PR_SET_NAME, "helper");
    char byte;
    (void)!read(pipes[0], &byte, 1);
  });
  thread.AwaitSleepIn(SYS_read);
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
    names.insert(entry.path().filename());
  EXPECT_EQ(names, (std::set<std::string>{std::to_string(getpid()), std::to_string(tid)}));
  EXPECT_EQ(ReadFileText(Self("task/" + std::to_string(tid) + "/comm")), "helper\n");
  EXPECT_EQ(Field(ReadFileText(Self("status")), "Threads"), "2");
  EXPECT_EQ(Field(ReadFileText("/proc/" + std::to_string(tid) + "/status"), "Tgid"), std::to_string(getpid()));
  for (const auto& entry : std::filesystem::directory_iterator("/proc"))
    EXPECT_NE(entry.path().filename(), std::to_string(tid));
  WriteFileText(Self("task/" + std::to_string(tid) + "/comm"), "renamed by another");
  EXPECT_EQ(ReadFileText(Self("task/" + std::to_string(tid) + "/comm")), "renamed by anot\n");
  close(pipes[1]);
  thread.Join();
  close(pipes[0]);
}

TEST(ProcSelfTest, SmallFiles) {
  EXPECT_EQ(Link("/proc/self"), std::to_string(getpid()));
  EXPECT_EQ(Link("/proc/thread-self"), std::to_string(getpid()) + "/task/" + std::to_string(gettid()));
  EXPECT_EQ(Link("/proc/mounts"), "self/mounts");
  EXPECT_EQ(ReadFileText(Self("cmdline")).back(), '\0');
  EXPECT_EQ(Link(Self("root")), "/");
  char cwd[4096];
  EXPECT_EQ(Link(Self("cwd")), getcwd(cwd, sizeof(cwd)));
  const std::string limits = ReadFileText(Self("limits"));
  for (const char* name : {"Max open files", "Max stack size", "Max cpu time"})
    EXPECT_NE(limits.find(name), std::string::npos);
  const std::string auxv = ReadFileText(Self("auxv"));
  ASSERT_EQ(auxv.size() % sizeof(Elf64_auxv_t), 0u);
  bool page_size_seen = false;
  for (size_t at = 0; at < auxv.size(); at += sizeof(Elf64_auxv_t)) {
    Elf64_auxv_t entry;
    std::memcpy(&entry, auxv.data() + at, sizeof(entry));
    if (entry.a_type == AT_PAGESZ) page_size_seen = entry.a_un.a_val == getauxval(AT_PAGESZ);
  }
  EXPECT_TRUE(page_size_seen);
  std::istringstream statm(ReadFileText(Self("statm")));
  long pages[7];
  for (long& value : pages) EXPECT_TRUE(statm >> value);
  EXPECT_EQ(pages[0] * 4, StatusKilobytes("VmSize"));
  for (const char* name : {"rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes"}) {
    EXPECT_NE(Field(ReadFileText(Self("io")), name), "missing") << name;
  }
  EXPECT_NE(ReadFileText(Self("mountinfo")).find(" /proc "), std::string::npos);
  EXPECT_NE(ReadFileText(Self("mounts")).find("proc /proc proc "), std::string::npos);
}

TEST(ProcSelfTest, OomScoreMayOnlySinkWithPrivilege) {
  EXPECT_EQ(RunAsNobody([] {
              prctl(PR_SET_DUMPABLE, 1);  // or the file is root's
              ScopedFd fd(open("/proc/self/oom_score_adj", O_RDWR));
              EXPECT_GE(fd.get(), 0);
              EXPECT_EQ(write(fd.get(), "500", 3), 3);
              EXPECT_EQ(ReadFileText(Self("oom_score_adj")), "500\n");
              EXPECT_ERRNO(EACCES, pwrite(fd.get(), "-1", 2, 0));
              EXPECT_ERRNO(EINVAL, pwrite(fd.get(), "1001", 4, 0));
              EXPECT_ERRNO(EINVAL, pwrite(fd.get(), "x", 1, 0));
              return 0;
            }),
            0);
}

TEST(ProcAccessTest, OthersAreProtected) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  AwaitSleepIn(child, SYS_pause);
  const std::string path = "/proc/" + std::to_string(child);
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, open((path + "/environ").c_str(), O_RDONLY));
              EXPECT_ERRNO(EACCES, open((path + "/mem").c_str(), O_RDONLY));
              EXPECT_ERRNO(EACCES, open((path + "/fd").c_str(), O_RDONLY));
              EXPECT_ERRNO(EACCES,
                           static_cast<int>(readlink((path + "/exe").c_str(), std::string(10, ' ').data(), 10)));
              ScopedFd status(open((path + "/status").c_str(), O_RDONLY));
              EXPECT_GE(status.get(), 0) << "this one is everybody's";
              ScopedFd maps(open((path + "/maps").c_str(), O_RDONLY));
              EXPECT_LT(maps.get(), 0);
              return 0;
            }),
            0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST(ProcSystemTest, Files) {
  for (const char* name : {"cpuinfo",
                           "meminfo",
                           "stat",
                           "uptime",
                           "loadavg",
                           "version",
                           "filesystems",
                           "devices",
                           "swaps",
                           "sys/kernel/osrelease",
                           "sys/kernel/pid_max",
                           "sys/kernel/random/uuid",
                           "sys/kernel/random/boot_id",
                           "sys/vm/overcommit_memory",
                           "sys/vm/max_map_count",
                           "sys/fs/file-max",
                           "sys/fs/nr_open",
                           "sys/fs/pipe-max-size",
                           "sys/kernel/ngroups_max",
                           "sys/kernel/cap_last_cap",
                           "sys/net/core/somaxconn"}) {
    EXPECT_NE(ReadFileText(std::string("/proc/") + name), "") << name;
  }
  EXPECT_NE(ReadFileText("/proc/sys/kernel/random/uuid"), ReadFileText("/proc/sys/kernel/random/uuid"));
  EXPECT_EQ(ReadFileText("/proc/sys/kernel/random/boot_id"), ReadFileText("/proc/sys/kernel/random/boot_id"));
  EXPECT_ERRNO(ENOENT, open("/proc/none", O_RDONLY));
  EXPECT_ERRNO(ENOENT, open("/proc/self/none", O_CREAT | O_RDWR, 0600));
  EXPECT_LT(mkdir("/proc/none", 0755), 0);
  EXPECT_LT(unlink("/proc/version"), 0);
}

}  // namespace
}  // namespace guest
