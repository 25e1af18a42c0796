// Core dumps: core(5), prctl(2) PR_SET_DUMPABLE, /proc/pid/coredump_filter. Cases need the file name "core" in the
// working directory, which is what kernel.core_pattern says by default.
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/procfs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/memory.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

struct Note {
  std::string owner;
  uint32_t type;
  std::string data;
};

// A core file, taken apart.
struct Core {
  std::string bytes;
  Elf64_Ehdr header = {};
  std::vector<Elf64_Phdr> segments;
  std::vector<Note> notes;

  explicit Core(const std::string& path) : bytes(ReadFileText(path)) {
    if (bytes.size() < sizeof(header)) return;
    std::memcpy(&header, bytes.data(), sizeof(header));
    segments.resize(header.e_phnum);
    std::memcpy(segments.data(), bytes.data() + header.e_phoff, segments.size() * sizeof(Elf64_Phdr));
    for (const Elf64_Phdr& segment : segments) {
      if (segment.p_type == PT_NOTE) ReadNotes(bytes.substr(segment.p_offset, segment.p_filesz));
    }
  }
  void ReadNotes(const std::string& text) {
    for (size_t at = 0; at + sizeof(Elf64_Nhdr) <= text.size();) {
      Elf64_Nhdr note;
      std::memcpy(&note, text.data() + at, sizeof(note));
      at += sizeof(note);
      const size_t data = at + ((note.n_namesz + 3) & ~3u);
      notes.push_back({text.c_str() + at, note.n_type, text.substr(data, note.n_descsz)});
      at = data + ((note.n_descsz + 3) & ~3u);
    }
  }
  std::vector<Note> Of(uint32_t type) const {
    std::vector<Note> found;
    for (const Note& note : notes) {
      if (note.type == type) found.push_back(note);
    }
    return found;
  }
  const Elf64_Phdr* SegmentOf(const volatile void* at) const {
    const auto address = reinterpret_cast<uint64_t>(at);
    for (const Elf64_Phdr& s : segments) {
      if (s.p_type == PT_LOAD && address >= s.p_vaddr && address < s.p_vaddr + s.p_memsz) return &s;
    }
    return nullptr;
  }
  // Dumped contents at an address of the process; empty when they were not dumped.
  std::string At(const volatile void* at, size_t size) const {
    const Elf64_Phdr* const s = SegmentOf(at);
    if (s == nullptr) return {};
    const uint64_t offset = reinterpret_cast<uint64_t>(at) - s->p_vaddr;
    if (offset + size > s->p_filesz) return {};
    return bytes.substr(s->p_offset + offset, size);
  }
};

class CoreDumpTest : public testing::Test {
 protected:
  void SetUp() override {
    if (ReadFileText("/proc/sys/kernel/core_pattern") != "core\n") GTEST_SKIP() << "cores go elsewhere";
    rlimit limit;
    getrlimit(RLIMIT_CORE, &limit);
    if (limit.rlim_max < 64 << 20) GTEST_SKIP() << "no cores allowed";
    WriteFileText("/proc/self/coredump_filter", "0x33");  // it is inherited, and Java's machine changes its own
  }
  std::string path() const { return dir_ / "core"; }
  bool HasCore() const { return access(path().c_str(), F_OK) == 0; }

  // Runs `body`, which is to die, in a child in the folder; returns its wait status.
  int Die(const std::function<void()>& body, rlim_t limit = RLIM_INFINITY) {
    const pid_t pid = fork();
    if (pid == 0) {
      rlimit core;
      getrlimit(RLIMIT_CORE, &core);
      core.rlim_cur = std::min(limit, core.rlim_max);
      if (setrlimit(RLIMIT_CORE, &core) != 0 || chdir(std::string(dir_ / ".").c_str()) != 0) _exit(100);
      body();
      _exit(101);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    pid_ = pid;
    return status;
  }
  static void Abort() { syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGABRT); }

  TempDir dir_;
  pid_t pid_ = 0;
};

TEST_F(CoreDumpTest, OnlyWithinTheLimit) {
  for (const rlim_t limit : {rlim_t{0}, rlim_t{kPage - 1}}) {
    const int status = Die(Abort, limit);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    EXPECT_FALSE(WCOREDUMP(status)) << limit;
    EXPECT_FALSE(HasCore());
  }
  const int status = Die(Abort);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  EXPECT_TRUE(WCOREDUMP(status));
  struct stat st;
  ASSERT_OK(stat(path().c_str(), &st));
  EXPECT_EQ(st.st_mode & 07777, 0600u & ~022u);
}

TEST_F(CoreDumpTest, OnlyForSignalsThatDump) {
  for (const int signo : {SIGTERM, SIGKILL, SIGINT, SIGUSR1}) {
    EXPECT_FALSE(WCOREDUMP(Die([&] { raise(signo); })));
    EXPECT_FALSE(HasCore());
  }
  for (const int signo : {SIGQUIT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGXCPU, SIGXFSZ}) {
    const int status = Die([&] { raise(signo); });
    EXPECT_EQ(WTERMSIG(status), signo);
    EXPECT_TRUE(WCOREDUMP(status)) << signo;
    EXPECT_OK(unlink(path().c_str()));
  }
}

TEST_F(CoreDumpTest, SiginfoSaysSo) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (chdir(std::string(dir_ / ".").c_str()) != 0) _exit(1);
    rlimit core;
    getrlimit(RLIMIT_CORE, &core);
    core.rlim_cur = core.rlim_max;
    setrlimit(RLIMIT_CORE, &core);
    Abort();
  }
  siginfo_t info = {};
  ASSERT_OK(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED));
  EXPECT_EQ(info.si_code, CLD_DUMPED);
  EXPECT_EQ(info.si_status, SIGABRT);
}

volatile char secret[64];

TEST_F(CoreDumpTest, IsAnElfFileOfTheProcess) {
  char* untouched = nullptr;
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  const int status = Die([&] {
    std::strcpy(const_cast<char*>(secret), "the contents of a global");
    untouched =
        static_cast<char*>(mmap(nullptr, 64 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    untouched[3 * kPage] = 'x';
    (void)!write(pipes[1], &untouched, sizeof(untouched));
    *static_cast<volatile int*>(BadPointer()) = 1;
  });
  ASSERT_EQ(read(pipes[0], &untouched, sizeof(untouched)), static_cast<ssize_t>(sizeof(untouched)));
  ASSERT_TRUE(WCOREDUMP(status));
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
  const Core core(path());
  ASSERT_EQ(std::memcmp(core.header.e_ident, ELFMAG, SELFMAG), 0);
  EXPECT_EQ(core.header.e_type, ET_CORE);
  EXPECT_EQ(core.header.e_machine, EM_X86_64);
  ASSERT_FALSE(core.segments.empty());
  EXPECT_EQ(core.segments[0].p_type, uint32_t{PT_NOTE});
  EXPECT_EQ(core.At(secret, 24), "the contents of a global");
  EXPECT_EQ(core.At(untouched + 3 * kPage, 1), "x");
  EXPECT_EQ(core.At(untouched + 63 * kPage, 2), std::string(2, '\0'));

  ASSERT_EQ(core.Of(NT_PRSTATUS).size(), 1u);
  const Note note = core.Of(NT_PRSTATUS)[0];
  EXPECT_EQ(note.owner, "CORE");
  elf_prstatus thread;
  ASSERT_EQ(note.data.size(), sizeof(thread));
  std::memcpy(&thread, note.data.data(), sizeof(thread));
  EXPECT_EQ(thread.pr_cursig, SIGSEGV);
  EXPECT_EQ(thread.pr_pid, pid_);
  EXPECT_EQ(thread.pr_ppid, getpid());
  EXPECT_NE(core.SegmentOf(reinterpret_cast<void*>(thread.pr_reg[16])), nullptr) << "rip is in a mapping";
  EXPECT_FALSE(core.At(reinterpret_cast<void*>(thread.pr_reg[19]), 8).empty()) << "the stack is there";

  ASSERT_EQ(core.Of(NT_PRPSINFO).size(), 1u);
  elf_prpsinfo process;
  ASSERT_EQ(core.Of(NT_PRPSINFO)[0].data.size(), sizeof(process));
  std::memcpy(&process, core.Of(NT_PRPSINFO)[0].data.data(), sizeof(process));
  EXPECT_EQ(process.pr_pid, pid_);
  EXPECT_STREQ(process.pr_fname, std::string(program_invocation_short_name).substr(0, 15).c_str());

  ASSERT_EQ(core.Of(NT_SIGINFO).size(), 1u);
  siginfo_t info;
  std::memcpy(&info, core.Of(NT_SIGINFO)[0].data.data(), sizeof(info));
  EXPECT_EQ(info.si_signo, SIGSEGV);
  EXPECT_EQ(info.si_addr, BadPointer());
  EXPECT_EQ(core.Of(NT_AUXV).size(), 1u);
  ASSERT_EQ(core.Of(NT_FILE).size(), 1u);
  EXPECT_NE(core.Of(NT_FILE)[0].data.find(program_invocation_short_name), std::string::npos);
  ASSERT_EQ(core.Of(NT_PRFPREG).size(), 1u);
  EXPECT_EQ(core.Of(NT_PRFPREG)[0].data.size(), 512u);
  ASSERT_EQ(core.Of(NT_X86_XSTATE).size(), 1u);
  EXPECT_EQ(core.Of(NT_X86_XSTATE)[0].owner, "LINUX");
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(CoreDumpTest, EveryThreadIsInIt) {
  const int status = Die([&] {
    int unused[2];
    if (pipe(unused) != 0) _exit(1);
    std::vector<std::unique_ptr<Helper>> sleepers;
    for (int i = 0; i < 3; ++i) {
      sleepers.push_back(std::make_unique<Helper>([&] {
        char byte;
        (void)!read(unused[0], &byte, 1);
      }));
      sleepers.back()->AwaitSleepIn(SYS_read);
    }
    std::thread runner([] {
      volatile int turns = 0;
      for (;;) {
        const int turn = turns;
        turns = turn ^ 1;
      }
    });
    Abort();
  });
  ASSERT_TRUE(WCOREDUMP(status));
  const Core core(path());
  const auto threads = core.Of(NT_PRSTATUS);
  ASSERT_EQ(threads.size(), 5u);
  std::map<int, int> seen;
  int sleeping = 0;
  for (const Note& note : threads) {
    elf_prstatus thread;
    std::memcpy(&thread, note.data.data(), sizeof(thread));
    ++seen[thread.pr_pid];
    EXPECT_NE(core.SegmentOf(reinterpret_cast<void*>(thread.pr_reg[16])), nullptr);
    if (thread.pr_reg[15] == SYS_read) ++sleeping;  // orig_rax
  }
  EXPECT_EQ(seen.size(), 5u);
  EXPECT_EQ(sleeping, 3);
  EXPECT_EQ(core.Of(NT_PRFPREG).size(), 5u);
  elf_prstatus first;
  std::memcpy(&first, threads[0].data.data(), sizeof(first));
  EXPECT_EQ(first.pr_pid, pid_) << "the one that got the signal";
}

TEST_F(CoreDumpTest, NotOfAnUndumpableProcess) {
  const int status = Die([] {
    prctl(PR_SET_DUMPABLE, 0);
    Abort();
  });
  EXPECT_EQ(WTERMSIG(status), SIGABRT);
  EXPECT_FALSE(WCOREDUMP(status));
  EXPECT_FALSE(HasCore());
}

TEST_F(CoreDumpTest, TheFilterSaysWhichMappings) {
  WriteFileText(dir_ / "mapped", std::string(kPage, 'm'));
  char* at[4];
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  const auto run = [&](const char* filter) {
    const int status = Die([&] {
      const ScopedFd file(open((dir_ / "mapped").c_str(), O_RDWR));
      const int both = PROT_READ | PROT_WRITE;
      at[0] = static_cast<char*>(mmap(nullptr, kPage, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      at[1] = static_cast<char*>(mmap(nullptr, kPage, both, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
      at[2] = static_cast<char*>(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, file.get(), 0));
      at[3] = static_cast<char*>(mmap(nullptr, kPage, both, MAP_SHARED, file.get(), 0));
      at[0][0] = at[1][0] = 'a';
      (void)!write(pipes[1], at, sizeof(at));
      if (filter != nullptr) WriteFileText("/proc/self/coredump_filter", filter);
      Abort();
    });
    EXPECT_TRUE(WCOREDUMP(status));
    EXPECT_EQ(read(pipes[0], at, sizeof(at)), static_cast<ssize_t>(sizeof(at)));
    const Core core(path());
    std::string dumped;
    for (char* each : at) dumped += core.At(each, 1).empty() ? '-' : 'd';
    return dumped;
  };
  EXPECT_EQ(run(nullptr), "dd--") << "default";
  EXPECT_EQ(run("0x3f"), "dddd");
  EXPECT_EQ(run("1"), "d---");
  EXPECT_EQ(run("0"), "----");
  EXPECT_EQ(run("0xc"), "--dd");
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(CoreDumpTest, ReadingAndWritingTheFilter) {
  EXPECT_EQ(RunInChild([] {
              if (ReadFileText("/proc/self/coredump_filter") != "00000033\n") return 1;
              WriteFileText("/proc/self/coredump_filter", "0x1ff");
              if (ReadFileText("/proc/self/coredump_filter") != "000001ff\n") return 2;
              return RunInChild([] { return ReadFileText("/proc/self/coredump_filter") == "000001ff\n" ? 0 : 1; });
            }),
            0);
  const ScopedFd file(open("/proc/self/coredump_filter", O_WRONLY));
  EXPECT_ERRNO(EINVAL, write(file.get(), "x", 1));
}

TEST_F(CoreDumpTest, DontdumpAndTheLimit) {
  char* at = nullptr;
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  const auto body = [&] {
    at = static_cast<char*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    at[0] = 'x';
    madvise(at, kPage, MADV_DONTDUMP);
    (void)!write(pipes[1], &at, sizeof(at));
    Abort();
  };
  EXPECT_TRUE(WCOREDUMP(Die(body)));
  ASSERT_EQ(read(pipes[0], &at, sizeof(at)), static_cast<ssize_t>(sizeof(at)));
  const Core core(path());
  ASSERT_NE(core.SegmentOf(at), nullptr);
  EXPECT_EQ(core.SegmentOf(at)->p_filesz, 0u);
  const size_t whole = core.bytes.size();
  ASSERT_GT(whole, 8 * kPage);
  EXPECT_TRUE(WCOREDUMP(Die(body, 8 * kPage)));
  struct stat st;
  ASSERT_OK(stat(path().c_str(), &st));
  EXPECT_LT(st.st_size, static_cast<off_t>(whole)) << "the limit counts what is written, not the holes";
  close(pipes[0]);
  close(pipes[1]);
}

TEST_F(CoreDumpTest, OnlyIntoAFileOfItsOwn) {
  ASSERT_OK(symlink("elsewhere", path().c_str()));
  EXPECT_TRUE(WCOREDUMP(Die(Abort))) << "what was there is removed";
  EXPECT_NE(access((dir_ / "elsewhere").c_str(), F_OK), 0);
  WriteFileText(dir_ / "old", "old");
  ASSERT_OK(unlink(path().c_str()));
  ASSERT_OK(link((dir_ / "old").c_str(), path().c_str()));
  EXPECT_TRUE(WCOREDUMP(Die(Abort)));
  EXPECT_TRUE(ReadFileText(dir_ / "old") == "old");
  ASSERT_OK(unlink(path().c_str()));
  ASSERT_OK(mkdir(path().c_str(), 0700));
  EXPECT_FALSE(WCOREDUMP(Die(Abort)));
  EXPECT_OK(rmdir(path().c_str()));
}

}  // namespace
}  // namespace guest
