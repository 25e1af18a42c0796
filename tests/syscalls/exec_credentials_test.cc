// What execve(2) makes of ids and capabilities: set-id files, file capabilities, ambient capabilities, no_new_privs,
// nosuid.
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>

#include "tests/util/guest.h"

namespace guest {
namespace {

constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }
constexpr uid_t kUser = 1000;

struct Shown {
  unsigned ruid, euid, suid, rgid, egid, sgid;
  unsigned long permitted, effective, ambient, secure;
};

class ExecCredentialsTest : public testing::Test {
 protected:
  ExecCredentialsTest() {
    std::filesystem::copy_file("tests/guest/show_credentials", program_);
    EXPECT_OK(chmod(program_.c_str(), 0755));
    bounding_ = 0;
    for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
      if (prctl(PR_CAPBSET_READ, capability) == 1) bounding_ |= Bit(capability);
    }
  }
  // Makes the program belong to these and have this mode.
  void Own(uid_t uid, gid_t gid, mode_t mode) {
    EXPECT_OK(chown(program_.c_str(), uid, gid));
    EXPECT_OK(chmod(program_.c_str(), mode));
  }
  // security.capability of the file (struct vfs_cap_data).
  void SetFileCapabilities(uint64_t permitted, uint64_t inheritable, bool effective) {
    vfs_cap_data data = {};
    data.magic_etc = VFS_CAP_REVISION_2 | (effective ? VFS_CAP_FLAGS_EFFECTIVE : 0);
    data.data[0] = {static_cast<uint32_t>(permitted), static_cast<uint32_t>(inheritable)};
    data.data[1] = {static_cast<uint32_t>(permitted >> 32), static_cast<uint32_t>(inheritable >> 32)};
    EXPECT_OK(setxattr(program_.c_str(), "security.capability", &data, sizeof(data), 0));
  }
  // What the program prints when a child executes it after `prepare`, with ids of `uid`. errno of a refused exec in
  // `error`.
  Shown Exec(
      uid_t uid, const std::function<void()>& prepare = [] {}) {
    int pipes[2];
    EXPECT_OK(pipe(pipes));
    const pid_t pid = fork();
    if (pid == 0) {
      prepare();
      if (uid != 0 && (setgroups(0, nullptr) != 0 || syscall(SYS_setresgid, uid, uid, uid) != 0 ||
                       syscall(SYS_setresuid, uid, uid, uid) != 0))
        _exit(250);
      after_ids_();
      dup2(pipes[1], STDOUT_FILENO);
      execl(program_.c_str(), "show_credentials", nullptr);
      _exit(errno);
    }
    close(pipes[1]);
    char text[256] = {};
    (void)!read(pipes[0], text, sizeof(text) - 1);
    close(pipes[0]);
    int status = -1;
    waitpid(pid, &status, 0);
    error_ = WEXITSTATUS(status);
    Shown s = {};
    if (error_ == 0) {
      EXPECT_EQ(std::sscanf(text, "%u %u %u %u %u %u %lx %lx %lx %lu", &s.ruid, &s.euid, &s.suid, &s.rgid, &s.egid,
                            &s.sgid, &s.permitted, &s.effective, &s.ambient, &s.secure),
                10)
          << text;
    }
    return s;
  }
  TempDir dir_;
  std::string program_ = dir_ / "show";
  uint64_t bounding_;
  std::function<void()> after_ids_ = [] {};
  int error_ = 0;
};

// The inheritable set becomes `set`; everything else stays.
void MakeInheritable(uint64_t set) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  EXPECT_OK(syscall(SYS_capget, &header, data));
  data[0].inheritable = static_cast<uint32_t>(set);
  data[1].inheritable = static_cast<uint32_t>(set >> 32);
  EXPECT_OK(syscall(SYS_capset, &header, data));
}

TEST_F(ExecCredentialsTest, PlainFilesChangeNothing) {
  Shown s = Exec(kUser);
  EXPECT_EQ(s.euid, kUser);
  EXPECT_EQ(s.permitted, 0u);
  EXPECT_EQ(s.secure, 0u);
  s = Exec(0);
  EXPECT_EQ(s.permitted, bounding_) << "root gets what is left in the bounding set";
  EXPECT_EQ(s.effective, bounding_);
  EXPECT_EQ(s.secure, 0u);
}

TEST_F(ExecCredentialsTest, SetUserIdToRoot) {
  Own(0, 0, 04755);
  const Shown s = Exec(kUser);
  EXPECT_EQ(s.ruid, kUser);
  EXPECT_EQ(s.euid, 0u);
  EXPECT_EQ(s.suid, 0u);
  EXPECT_EQ(s.permitted, bounding_);
  EXPECT_EQ(s.effective, bounding_);
  EXPECT_EQ(s.secure, 1u);
}

TEST_F(ExecCredentialsTest, SetUserIdToAnotherUser) {
  Own(1234, 0, 04755);
  Shown s = Exec(kUser);
  EXPECT_EQ(s.euid, 1234u);
  EXPECT_EQ(s.suid, 1234u);
  EXPECT_EQ(s.permitted, 0u);
  EXPECT_EQ(s.secure, 1u);
  s = Exec(0);
  EXPECT_EQ(s.euid, 1234u);
  EXPECT_EQ(s.permitted, bounding_) << "the real id is root's";
  EXPECT_EQ(s.effective, 0u);
  EXPECT_EQ(s.secure, 1u);
}

TEST_F(ExecCredentialsTest, SetGroupIdNeedsGroupExecute) {
  Own(0, 4321, 02755);
  Shown s = Exec(kUser);
  EXPECT_EQ(s.egid, 4321u);
  EXPECT_EQ(s.sgid, 4321u);
  EXPECT_EQ(s.rgid, kUser);
  EXPECT_EQ(s.secure, 1u);
  Own(0, 4321, 02745);
  s = Exec(kUser);
  EXPECT_EQ(s.egid, kUser);
  EXPECT_EQ(s.secure, 0u);
}

TEST_F(ExecCredentialsTest, NoNewPrivsRefusesThem) {
  after_ids_ = [] { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); };
  Own(0, 4321, 06755);
  Shown s = Exec(kUser);
  EXPECT_EQ(s.euid, kUser);
  EXPECT_EQ(s.egid, kUser);
  EXPECT_EQ(s.permitted, 0u);
  EXPECT_EQ(s.secure, 0u);
  Own(0, 0, 0755);
  SetFileCapabilities(Bit(CAP_KILL), 0, true);
  EXPECT_EQ(Exec(kUser).permitted, 0u);
}

TEST_F(ExecCredentialsTest, NoNewPrivsGivesRootNothingBack) {
  after_ids_ = [] {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct data[2] = {{1 << CAP_KILL, 1 << CAP_KILL, 0}, {}};
    EXPECT_OK(syscall(SYS_capset, &header, data));
  };
  const Shown s = Exec(0);
  EXPECT_EQ(s.permitted, Bit(CAP_KILL));
  EXPECT_EQ(s.effective, Bit(CAP_KILL));
}

TEST_F(ExecCredentialsTest, MountsWithoutSetIds) {
  TempDir mount_point;
  ASSERT_OK(mount("none", mount_point.path().c_str(), "tmpfs", MS_NOSUID, nullptr));
  std::filesystem::copy_file(program_, mount_point / "show");
  program_ = mount_point / "show";
  Own(0, 0, 06755);
  const Shown s = Exec(kUser);
  EXPECT_EQ(s.euid, kUser);
  EXPECT_EQ(s.egid, kUser);
  EXPECT_EQ(s.secure, 0u);
  EXPECT_OK(umount(mount_point.path().c_str()));
}

TEST_F(ExecCredentialsTest, AScriptsSetIdsAreIgnored) {
  WriteFileText(dir_ / "script", "#!" + program_ + "\n");
  program_ = dir_ / "script";
  Own(0, 0, 06755);
  const Shown s = Exec(kUser);
  EXPECT_EQ(s.euid, kUser);
  EXPECT_EQ(s.secure, 0u);
}

TEST_F(ExecCredentialsTest, FileCapabilities) {
  SetFileCapabilities(Bit(CAP_KILL) | Bit(CAP_CHOWN), 0, true);
  Shown s = Exec(kUser);
  EXPECT_EQ(s.euid, kUser);
  EXPECT_EQ(s.permitted, Bit(CAP_KILL) | Bit(CAP_CHOWN));
  EXPECT_EQ(s.effective, s.permitted);
  EXPECT_EQ(s.secure, 1u);
  SetFileCapabilities(Bit(CAP_KILL), 0, false);
  s = Exec(kUser);
  EXPECT_EQ(s.permitted, Bit(CAP_KILL));
  EXPECT_EQ(s.effective, 0u) << "the file's effective bit is off";
  SetFileCapabilities(0, Bit(CAP_KILL) | Bit(CAP_CHOWN), true);
  s = Exec(kUser, [] { MakeInheritable(Bit(CAP_KILL)); });
  EXPECT_EQ(s.permitted, Bit(CAP_KILL)) << "what file and process both pass on";
}

TEST_F(ExecCredentialsTest, FileCapabilitiesBeyondTheBoundingSetRefuse) {
  SetFileCapabilities(Bit(CAP_KILL), 0, true);
  (void)Exec(kUser, [] { prctl(PR_CAPBSET_DROP, CAP_KILL); });
  EXPECT_EQ(error_, EPERM);
  SetFileCapabilities(Bit(CAP_KILL), 0, false);
  EXPECT_EQ(Exec(kUser, [] { prctl(PR_CAPBSET_DROP, CAP_KILL); }).permitted, 0u);
  EXPECT_EQ(error_, 0);
}

TEST_F(ExecCredentialsTest, ANewOwnerDropsThem) {
  SetFileCapabilities(Bit(CAP_KILL), 0, true);
  EXPECT_OK(chown(program_.c_str(), 0, 0));
  EXPECT_ERRNO(ENODATA, getxattr(program_.c_str(), "security.capability", nullptr, 0));
}

TEST_F(ExecCredentialsTest, AmbientCapabilitiesSurvivePlainFilesOnly) {
  const auto raise = [] {
    MakeInheritable(Bit(CAP_KILL));
    EXPECT_OK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
    // Or leaving root would clear the set.
    EXPECT_OK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP));
  };
  Shown s = Exec(kUser, raise);
  EXPECT_EQ(s.permitted, Bit(CAP_KILL));
  EXPECT_EQ(s.effective, Bit(CAP_KILL));
  EXPECT_EQ(s.ambient, Bit(CAP_KILL));
  EXPECT_EQ(s.secure, 0u) << "nothing was gained";
  Own(1234, 0, 04755);
  s = Exec(kUser, raise);
  EXPECT_EQ(s.ambient, 0u);
  EXPECT_EQ(s.permitted, 0u);
}

TEST_F(ExecCredentialsTest, RootIsNothingSpecialWithNoroot) {
  const Shown s = Exec(0, [] { EXPECT_OK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT)); });
  EXPECT_EQ(s.euid, 0u);
  EXPECT_EQ(s.permitted, 0u);
}

TEST_F(ExecCredentialsTest, KeepCapsEndsWithExec) {
  const Shown s = Exec(kUser, [] { EXPECT_OK(prctl(PR_SET_KEEPCAPS, 1)); });
  EXPECT_EQ(s.permitted, 0u);
}

// Makes the caller a tracee; its parent becomes a tracer that lets everything pass, and ends as it does.
void BecomeTracee() {
  const pid_t pid = fork();
  if (pid == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(251);
    return;
  }
  for (;;) {
    int status = 0;
    if (waitpid(pid, &status, 0) != pid) _exit(252);
    if (WIFEXITED(status)) _exit(WEXITSTATUS(status));
    if (!WIFSTOPPED(status)) _exit(253);
    const int signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    ptrace(PTRACE_CONT, pid, nullptr, reinterpret_cast<void*>(static_cast<long>(signal)));
  }
}

TEST_F(ExecCredentialsTest, ATracerWithoutPrivilegeTakesItAway) {
  Own(0, 0, 04755);
  after_ids_ = BecomeTracee;
  const Shown shown = Exec(kUser);
  EXPECT_EQ(error_, 0);
  EXPECT_EQ(shown.ruid, kUser);
  EXPECT_EQ(shown.euid, kUser) << "set-user-id has no effect";
  EXPECT_EQ(shown.permitted, 0u);
  Own(0, 77, 02755);
  EXPECT_EQ(Exec(kUser).egid, kUser);
}

TEST_F(ExecCredentialsTest, ATracerWithPrivilegeDoesNot) {
  Own(0, 0, 04755);
  EXPECT_EQ(Exec(kUser, BecomeTracee).euid, 0u);
}

}  // namespace
}  // namespace guest
