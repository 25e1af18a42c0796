// Mounts by descriptors: fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2), move_mount(2), mount_setattr(2),
// statmount(2), listmount(2).
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "tests/util/guest.h"

namespace guest {
namespace {

constexpr int kStatmount = 457, kListmount = 458;
constexpr unsigned kSetFlag = 0, kSetString = 1, kCreate = 6, kReconfigure = 7;
constexpr unsigned kFromEmpty = 4, kToEmpty = 0x40, kSetGroup = 0x100;
constexpr unsigned kTreeClone = 1, kRecursive = 0x8000;

int Fsopen(const char* type, unsigned flags = 0) { return static_cast<int>(syscall(SYS_fsopen, type, flags)); }
int Fsconfig(int fd, unsigned command, const void* key, const void* value, int aux = 0) {
  return static_cast<int>(syscall(SYS_fsconfig, fd, command, key, value, aux));
}
int Fsmount(int fd, unsigned flags = 0, unsigned attributes = 0) {
  return static_cast<int>(syscall(SYS_fsmount, fd, flags, attributes));
}
int OpenTree(const std::string& path, unsigned flags) {
  return static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, path.c_str(), flags));
}
int MoveMount(int from, const std::string& to, unsigned flags = kFromEmpty) {
  return static_cast<int>(syscall(SYS_move_mount, from, "", AT_FDCWD, to.c_str(), flags));
}

struct Attributes {
  uint64_t set, clear, propagation, userns;
};
int Setattr(const std::string& path, Attributes attributes, unsigned flags = 0, size_t size = sizeof(Attributes)) {
  return static_cast<int>(syscall(SYS_mount_setattr, AT_FDCWD, path.c_str(), flags, &attributes, size));
}

class MountApiTest : public testing::Test {
 protected:
  void InNamespace(const std::function<void()>& body) {
    EXPECT_EQ(RunInChild([&] {
                if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
                  return 97;
                if (mkdir(m_.c_str(), 0755) != 0 || mount("none", m_.c_str(), "tmpfs", 0, nullptr) != 0) return 96;
                for (const char* name : {"a", "b"}) mkdir((m_ + "/" + name).c_str(), 0755);
                body();
                return 0;
              }),
              0);
  }
  std::string At(const std::string& name) const { return m_ + "/" + name; }
  unsigned long FlagsOf(const std::string& path) {
    struct statvfs vfs;
    EXPECT_OK(statvfs(path.c_str(), &vfs));
    return vfs.f_flag;
  }
  TempDir dir_;
  const std::string m_ = dir_ / "m";
};

TEST_F(MountApiTest, MakingATmpfs) {
  InNamespace([&] {
    const int fs = Fsopen("tmpfs", 1);
    ASSERT_GE(fs, 0);
    EXPECT_TRUE(fcntl(fs, F_GETFD) & FD_CLOEXEC);
    EXPECT_ERRNO(EINVAL, Fsmount(fs));  // not made yet
    ASSERT_OK(Fsconfig(fs, kSetString, "source", "mine"));
    EXPECT_ERRNO(EINVAL, Fsconfig(fs, kSetString, "source", "again"));
    ASSERT_OK(Fsconfig(fs, kSetString, "size", "64k"));
    ASSERT_OK(Fsconfig(fs, kSetString, "mode", "700"));
    ASSERT_OK(Fsconfig(fs, kCreate, nullptr, nullptr));
    EXPECT_ERRNO(EBUSY, Fsconfig(fs, kCreate, nullptr, nullptr));
    EXPECT_ERRNO(EBUSY, Fsconfig(fs, kSetString, "size", "8k"));
    const int tree = Fsmount(fs, 1, 0x2 | 0x8);  // MOUNT_ATTR_NOSUID, NOEXEC
    ASSERT_GE(tree, 0);
    EXPECT_ERRNO(EBUSY, Fsmount(fs));
    // It can be used before it is mounted.
    const int file = openat(tree, "early", O_CREAT | O_WRONLY, 0600);
    EXPECT_GE(file, 0);
    close(file);
    ASSERT_OK(MoveMount(tree, At("a")));
    EXPECT_OK(access(At("a/early").c_str(), F_OK));
    EXPECT_EQ(FlagsOf(At("a")) & (ST_NOSUID | ST_NOEXEC | ST_NODEV), ST_NOSUID | ST_NOEXEC);
    struct statvfs vfs;
    ASSERT_OK(statvfs(At("a").c_str(), &vfs));
    EXPECT_EQ(vfs.f_blocks * vfs.f_frsize, 64u << 10);
    EXPECT_NE(ReadFileText("/proc/self/mountinfo").find(" - tmpfs mine "), std::string::npos);
    // Then the same descriptor changes it.
    ASSERT_OK(Fsconfig(fs, kSetString, "size", "128k"));
    ASSERT_OK(Fsconfig(fs, kReconfigure, nullptr, nullptr));
    ASSERT_OK(statvfs(At("a").c_str(), &vfs));
    EXPECT_EQ(vfs.f_blocks * vfs.f_frsize, 128u << 10);
    close(tree);
    EXPECT_OK(access(At("a/early").c_str(), F_OK));
  });
}

TEST_F(MountApiTest, ArgumentsOfFsconfig) {
  InNamespace([&] {
    EXPECT_ERRNO(ENODEV, Fsopen("nosuchfs"));
    EXPECT_ERRNO(EINVAL, Fsopen("tmpfs", 2));
    EXPECT_ERRNO(EFAULT, Fsopen(static_cast<char*>(BadPointer())));
    const int fs = Fsopen("tmpfs");
    EXPECT_ERRNO(EINVAL, Fsconfig(-1, kSetFlag, "ro", nullptr));
    EXPECT_ERRNO(EBADF, Fsconfig(999, kSetFlag, "ro", nullptr));
    EXPECT_ERRNO(EINVAL, Fsconfig(0, kSetFlag, "ro", nullptr));
    EXPECT_ERRNO(EINVAL, Fsconfig(fs, kSetFlag, nullptr, nullptr));
    EXPECT_ERRNO(EINVAL, Fsconfig(fs, kSetFlag, "ro", "value"));
    EXPECT_ERRNO(EINVAL, Fsconfig(fs, kSetString, "size", nullptr));
    EXPECT_ERRNO(EINVAL, Fsconfig(fs, kSetString, "size", "1k", 1));
    EXPECT_ERRNO(EINVAL, Fsconfig(fs, kCreate, "key", nullptr));
    EXPECT_ERRNO(EOPNOTSUPP, Fsconfig(fs, 100, "key", nullptr));
    EXPECT_ERRNO(EFAULT, Fsconfig(fs, kSetFlag, BadPointer(), nullptr));
    EXPECT_ERRNO(EBUSY, Fsconfig(fs, kReconfigure, nullptr, nullptr));
    EXPECT_ERRNO(EINVAL, Fsmount(0));
    EXPECT_ERRNO(EINVAL, Fsmount(fs, 2));
    EXPECT_ERRNO(EINVAL, Fsmount(fs, 0, 0x400000));
  });
}

TEST_F(MountApiTest, TreesThatNobodyMountsGo) {
  InNamespace([&] {
    WriteFileText(At("a/f"), "text");
    const int tree = OpenTree(At("a"), kTreeClone | O_CLOEXEC);
    ASSERT_GE(tree, 0);
    struct stat st;
    EXPECT_OK(fstatat(tree, "f", &st, 0));
    EXPECT_ERRNO(EINVAL, OpenTree(At("a"), kRecursive));
    EXPECT_ERRNO(EINVAL, OpenTree(At("a"), 2));
    EXPECT_ERRNO(ENOENT, OpenTree(At("none"), kTreeClone));
    close(tree);
    // A plain one is O_PATH.
    const int plain = OpenTree(At("a"), 0);
    EXPECT_EQ(fcntl(plain, F_GETFL) & O_PATH, O_PATH);
    char byte;
    EXPECT_ERRNO(EBADF, read(plain, &byte, 1));
    close(plain);
  });
}

TEST_F(MountApiTest, ClonesAreMounted) {
  InNamespace([&] {
    ASSERT_OK(mount("none", At("a").c_str(), "tmpfs", 0, nullptr));
    ASSERT_OK(mkdir(At("a/sub").c_str(), 0755));
    ASSERT_OK(mount("none", At("a/sub").c_str(), "tmpfs", 0, nullptr));
    WriteFileText(At("a/sub/f"), "");
    const int alone = OpenTree(At("a"), kTreeClone), with_sub = OpenTree(At("a"), kTreeClone | kRecursive);
    EXPECT_ERRNO(ENOENT, faccessat(alone, "sub/f", F_OK, 0));
    EXPECT_OK(faccessat(with_sub, "sub/f", F_OK, 0));
    ASSERT_OK(MoveMount(with_sub, At("b")));
    EXPECT_OK(access(At("b/sub/f").c_str(), F_OK));
    EXPECT_ERRNO(EINVAL, MoveMount(alone, At("b"), 0x1000));
    EXPECT_ERRNO(ENOENT, MoveMount(alone, At("none")));
    // An attached mount moves by its name as well.
    ASSERT_OK(mkdir(At("c").c_str(), 0755));
    ASSERT_OK(syscall(SYS_move_mount, AT_FDCWD, At("b").c_str(), AT_FDCWD, At("c").c_str(), 0));
    EXPECT_OK(access(At("c/sub/f").c_str(), F_OK));
    EXPECT_ERRNO(EINVAL, syscall(SYS_move_mount, AT_FDCWD, At("b").c_str(), AT_FDCWD, At("a").c_str(), 0));
  });
}

TEST_F(MountApiTest, Attributes) {
  InNamespace([&] {
    ASSERT_OK(mount("none", At("a").c_str(), "tmpfs", 0, nullptr));
    ASSERT_OK(mkdir(At("a/sub").c_str(), 0755));
    ASSERT_OK(mount("none", At("a/sub").c_str(), "tmpfs", 0, nullptr));
    ASSERT_OK(Setattr(At("a"), {1 | 8, 0, 0, 0}));  // RDONLY, NOEXEC
    EXPECT_EQ(FlagsOf(At("a")) & (ST_RDONLY | ST_NOEXEC), ST_RDONLY | ST_NOEXEC);
    EXPECT_EQ(FlagsOf(At("a/sub")) & (ST_RDONLY | ST_NOEXEC), 0u);
    ASSERT_OK(Setattr(At("a"), {2, 1, 0, 0}, kRecursive));  // NOSUID for RDONLY
    EXPECT_EQ(FlagsOf(At("a")) & (ST_RDONLY | ST_NOEXEC | ST_NOSUID), ST_NOEXEC | ST_NOSUID);
    EXPECT_EQ(FlagsOf(At("a/sub")) & (ST_RDONLY | ST_NOSUID), ST_NOSUID);
    EXPECT_ERRNO(EINVAL, Setattr(At("a"), {0x10, 0, 0, 0}));  // NOATIME without clearing the others
    ASSERT_OK(Setattr(At("a"), {0x10, 0x70, 0, 0}));
    EXPECT_EQ(FlagsOf(At("a")) & (ST_NOATIME | ST_RELATIME), ST_NOATIME);
    EXPECT_ERRNO(EINVAL, Setattr(At("a"), {0, 0x10, 0, 0}));
    EXPECT_ERRNO(EINVAL, Setattr(At("a"), {0, 0, MS_SHARED | MS_SLAVE, 0}));
    EXPECT_ERRNO(EINVAL, Setattr(At("a"), {0, 0, 1, 0}));
    EXPECT_ERRNO(EINVAL, Setattr(At("a"), {uint64_t{1} << 40, 0, 0, 0}));
    EXPECT_ERRNO(EINVAL, Setattr(At("a"), {1, 0, 0, 0}, 0, 16));
    EXPECT_ERRNO(E2BIG, Setattr(At("a"), {1, 0, 0, 0}, 0, 5000));
    EXPECT_ERRNO(EINVAL, Setattr(At("a"), {1, 0, 0, 0}, 0x4));
    EXPECT_ERRNO(EINVAL, Setattr(At("b"), {1, 0, 0, 0}));  // no mount's root
    const int writer = open(At("a/sub/f").c_str(), O_CREAT | O_WRONLY, 0600);
    EXPECT_ERRNO(EBUSY, Setattr(At("a"), {1, 0, 0, 0}, kRecursive));
    EXPECT_EQ(FlagsOf(At("a")) & ST_RDONLY, 0u);  // all or none
    close(writer);
    ASSERT_OK(Setattr(At("a"), {0, 0, MS_SHARED, 0}));
    EXPECT_NE(ReadFileText("/proc/self/mountinfo").find(At("a") + " rw,nosuid,noexec,noatime shared:"),
              std::string::npos);
  });
}

TEST_F(MountApiTest, JoiningAGroup) {
  InNamespace([&] {
    ASSERT_OK(mount("none", At("a").c_str(), "tmpfs", 0, nullptr));
    ASSERT_OK(mkdir(At("a/x").c_str(), 0755));
    ASSERT_OK(mount(At("a").c_str(), At("b").c_str(), nullptr, MS_BIND, nullptr));
    const auto join = [&] {
      return syscall(SYS_move_mount, AT_FDCWD, At("a").c_str(), AT_FDCWD, At("b").c_str(), kSetGroup);
    };
    EXPECT_ERRNO(EINVAL, join());  // nobody to join
    ASSERT_OK(mount(nullptr, At("a").c_str(), nullptr, MS_SHARED, nullptr));
    ASSERT_OK(join());
    ASSERT_OK(mount("none", At("a/x").c_str(), "tmpfs", 0, nullptr));
    WriteFileText(At("a/x/f"), "");
    EXPECT_OK(access(At("b/x/f").c_str(), F_OK));
  });
}

TEST_F(MountApiTest, Picking) {
  InNamespace([&] {
    ASSERT_OK(mount("none", At("a").c_str(), "tmpfs", 0, "size=64k"));
    const int fs = static_cast<int>(syscall(SYS_fspick, AT_FDCWD, At("a").c_str(), 1));
    ASSERT_GE(fs, 0);
    ASSERT_OK(Fsconfig(fs, kSetString, "size", "128k"));
    ASSERT_OK(Fsconfig(fs, kReconfigure, nullptr, nullptr));
    struct statvfs vfs;
    ASSERT_OK(statvfs(At("a").c_str(), &vfs));
    EXPECT_EQ(vfs.f_blocks * vfs.f_frsize, 128u << 10);
    EXPECT_ERRNO(EINVAL, syscall(SYS_fspick, AT_FDCWD, At("b").c_str(), 0));
    EXPECT_ERRNO(EINVAL, syscall(SYS_fspick, AT_FDCWD, At("a").c_str(), 0x10));
    EXPECT_ERRNO(EBUSY, Fsmount(fs));
  });
}

struct IdRequest {
  uint32_t size = 24, spare = 0;
  uint64_t id = 0, param = 0;
};
struct Answer {
  uint32_t size, options;
  uint64_t mask;
  uint32_t device_major, device_minor;
  uint64_t magic;
  uint32_t fs_flags, fs_type;
  uint64_t id, parent_id;
  uint32_t old_id, old_parent_id;
  uint64_t attributes, propagation, peer_group, master, from;
  uint32_t root, point;
  uint64_t more[50];
  char strings[4096];
};

uint64_t UniqueId(const std::string& path) {
  struct statx st;
  EXPECT_OK(statx(AT_FDCWD, path.c_str(), 0, 0x4000, &st));
  EXPECT_TRUE(st.stx_mask & 0x4000);
  return st.stx_mnt_id;
}

TEST_F(MountApiTest, StatmountAndListmount) {
  InNamespace([&] {
    ASSERT_OK(mount("none", At("a").c_str(), "tmpfs", MS_NODEV, nullptr));
    ASSERT_OK(mount(nullptr, At("a").c_str(), nullptr, MS_SHARED, nullptr));
    IdRequest request{.id = UniqueId(At("a")), .param = 0x1 | 0x2 | 0x8 | 0x10 | 0x20};
    Answer answer;
    if (syscall(kStatmount, &request, &answer, sizeof(answer), 0) != 0 && errno == ENOSYS) return;
    ASSERT_OK(syscall(kStatmount, &request, &answer, sizeof(answer), 0));
    struct stat st;
    ASSERT_OK(stat(At("a").c_str(), &st));
    EXPECT_EQ(answer.mask, request.param);
    EXPECT_EQ(answer.id, request.id);
    EXPECT_EQ(answer.parent_id, UniqueId(m_));
    EXPECT_EQ(makedev(answer.device_major, answer.device_minor), st.st_dev);
    EXPECT_EQ(answer.attributes & 4, 4u);  // MOUNT_ATTR_NODEV
    EXPECT_EQ(answer.propagation, uint64_t{MS_SHARED});
    EXPECT_NE(answer.peer_group, 0u);
    EXPECT_EQ(answer.magic, 0x01021994u);
    EXPECT_STREQ(answer.strings + answer.root, "/");
    EXPECT_EQ(answer.strings + answer.point, At("a"));
    EXPECT_STREQ(answer.strings + answer.fs_type, "tmpfs");
    EXPECT_ERRNO(EOVERFLOW, syscall(kStatmount, &request, &answer, 512, 0));
    EXPECT_ERRNO(EINVAL, syscall(kStatmount, &request, &answer, sizeof(answer), 1));
    request.id = 5;
    EXPECT_ERRNO(EINVAL, syscall(kStatmount, &request, &answer, sizeof(answer), 0));
    request.id = uint64_t{1} << 50;
    EXPECT_ERRNO(ENOENT, syscall(kStatmount, &request, &answer, sizeof(answer), 0));
    request.size = 8;
    EXPECT_ERRNO(EINVAL, syscall(kStatmount, &request, &answer, sizeof(answer), 0));

    IdRequest list{.id = UniqueId(m_)};
    uint64_t ids[8] = {};
    EXPECT_EQ(syscall(kListmount, &list, ids, 8, 0), 1);
    EXPECT_EQ(ids[0], UniqueId(At("a")));
    list.param = ids[0];
    EXPECT_EQ(syscall(kListmount, &list, ids, 8, 0), 0);
    IdRequest all{.id = ~uint64_t{0}};
    std::vector<uint64_t> every(1000);
    const long count = syscall(kListmount, &all, every.data(), every.size(), 0);
    ASSERT_GT(count, 1);
    every.resize(count);
    EXPECT_TRUE(std::is_sorted(every.begin(), every.end()));
    EXPECT_NE(std::find(every.begin(), every.end(), UniqueId(At("a"))), every.end());
    EXPECT_ERRNO(EINVAL, syscall(kListmount, &all, ids, 8, 4));
  });
}

TEST_F(MountApiTest, NeedsPrivilege) {
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, Fsopen("tmpfs"));
              EXPECT_ERRNO(EPERM, OpenTree("/", kTreeClone));
              EXPECT_ERRNO(EPERM, MoveMount(0, "/"));
              EXPECT_ERRNO(EPERM, Setattr("/", {1, 0, 0, 0}));
              EXPECT_ERRNO(EPERM, syscall(SYS_fspick, AT_FDCWD, "/", 0));
              const int plain = OpenTree("/", 0);
              EXPECT_GE(plain, 0);
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace guest
