// mount(2), umount2(2), pivot_root(2). Each case works in a mount namespace of its own.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace guest {
namespace {

class MountTest : public testing::Test {
 protected:
  // Runs `body` in a child with private mounts and a tmpfs on dir_/m.
  void InNamespace(const std::function<void()>& body) {
    EXPECT_EQ(RunInChild([&] {
                if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
                  return 97;
                if (mkdir(m_.c_str(), 0755) != 0 || mount("none", m_.c_str(), "tmpfs", 0, "size=1m,mode=700") != 0)
                  return 96;
                body();
                return 0;
              }),
              0);
  }
  TempDir dir_;
  const std::string m_ = dir_ / "m";
};

TEST_F(MountTest, TmpfsTakesItsOptions) {
  InNamespace([&] {
    struct stat st;
    ASSERT_OK(stat(m_.c_str(), &st));
    EXPECT_EQ(st.st_mode, S_IFDIR | 0700u);
    struct statvfs vfs;
    ASSERT_OK(statvfs(m_.c_str(), &vfs));
    EXPECT_EQ(vfs.f_blocks * vfs.f_frsize, 1u << 20);
    const int fd = open((m_ + "/f").c_str(), O_CREAT | O_RDWR, 0644);
    const std::string data(2 << 20, 'x');
    EXPECT_EQ(write(fd, data.data(), data.size()), 1 << 20);
    EXPECT_ERRNO(ENOSPC, write(fd, "x", 1));
    EXPECT_ERRNO(EINVAL, mount("none", m_.c_str(), "tmpfs", 0, "size=bogus"));
  });
}

TEST_F(MountTest, MountsHideAndComeOff) {
  InNamespace([&] {
    WriteFileText(m_ + "/lower", "");
    ASSERT_OK(mount("none", m_.c_str(), "tmpfs", 0, nullptr));
    EXPECT_ERRNO(ENOENT, access((m_ + "/lower").c_str(), F_OK));
    EXPECT_ERRNO(EBUSY, rmdir(m_.c_str()));
    ASSERT_OK(umount2(m_.c_str(), 0));
    EXPECT_OK(access((m_ + "/lower").c_str(), F_OK));
    const int busy = open((m_ + "/lower").c_str(), O_RDONLY);
    EXPECT_ERRNO(EBUSY, umount2(m_.c_str(), 0));
    EXPECT_OK(umount2(m_.c_str(), MNT_DETACH));
    struct stat st;
    EXPECT_OK(fstat(busy, &st));
    EXPECT_ERRNO(EINVAL, umount2(m_.c_str(), 0));
  });
}

TEST_F(MountTest, BindsOfFilesAndDirectories) {
  InNamespace([&] {
    const std::string a = m_ + "/a", b = m_ + "/b", f = m_ + "/f";
    ASSERT_OK(mkdir(a.c_str(), 0755));
    ASSERT_OK(mkdir(b.c_str(), 0755));
    WriteFileText(a + "/x", "content");
    WriteFileText(f, "");
    ASSERT_OK(mount(a.c_str(), b.c_str(), nullptr, MS_BIND, nullptr));
    EXPECT_EQ(ReadFileText(b + "/x"), "content");
    ASSERT_OK(mount((a + "/x").c_str(), f.c_str(), nullptr, MS_BIND, nullptr));
    EXPECT_EQ(ReadFileText(f), "content");
    EXPECT_ERRNO(EBUSY, unlink(f.c_str()));
    EXPECT_ERRNO(EXDEV, link((a + "/x").c_str(), (b + "/y").c_str()));
    EXPECT_ERRNO(ENOTDIR, mount(a.c_str(), f.c_str(), nullptr, MS_BIND, nullptr));
    ASSERT_OK(mount(nullptr, b.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr));
    EXPECT_ERRNO(EROFS, open((b + "/x").c_str(), O_WRONLY));
    EXPECT_ERRNO(EROFS, mkdir((b + "/d").c_str(), 0755));
    EXPECT_ERRNO(EROFS, unlink((b + "/x").c_str()));
    EXPECT_ERRNO(EROFS, chmod((b + "/x").c_str(), 0600));
    EXPECT_ERRNO(EROFS, access((b + "/x").c_str(), W_OK));
    EXPECT_ERRNO(EEXIST, mkdir((b + "/x").c_str(), 0755));
    EXPECT_OK(chmod((a + "/x").c_str(), 0600));
  });
}

TEST_F(MountTest, NoexecAndNodevAreEnforced) {
  InNamespace([&] {
    ASSERT_OK(mount(nullptr, m_.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NOEXEC | MS_NODEV, nullptr));
    const std::string script = m_ + "/script", device = m_ + "/null";
    WriteFileText(script, "#!/bin/sh\n");
    ASSERT_OK(chmod(script.c_str(), 0755));
    char* const argv[] = {nullptr};
    EXPECT_ERRNO(EACCES, execve(script.c_str(), argv, argv));
    EXPECT_ERRNO(EACCES, access(script.c_str(), X_OK));
    if (mknod(device.c_str(), S_IFCHR | 0666, 0x103) == 0) {
      EXPECT_ERRNO(EACCES, open(device.c_str(), O_RDWR));
    }
  });
}

TEST_F(MountTest, MovingAMount) {
  InNamespace([&] {
    const std::string a = m_ + "/a", b = m_ + "/b";
    ASSERT_OK(mkdir(a.c_str(), 0755));
    ASSERT_OK(mkdir(b.c_str(), 0755));
    ASSERT_OK(mount("none", a.c_str(), "tmpfs", 0, nullptr));
    WriteFileText(a + "/x", "");
    ASSERT_OK(mount(a.c_str(), b.c_str(), nullptr, MS_MOVE, nullptr));
    EXPECT_OK(access((b + "/x").c_str(), F_OK));
    EXPECT_ERRNO(ENOENT, access((a + "/x").c_str(), F_OK));
    EXPECT_ERRNO(EINVAL, mount(a.c_str(), b.c_str(), nullptr, MS_MOVE, nullptr));
  });
}

TEST_F(MountTest, PivotRootSwapsTheTree) {
  InNamespace([&] {
    ASSERT_OK(mkdir((m_ + "/old").c_str(), 0755));
    WriteFileText(m_ + "/mark", "");
    EXPECT_ERRNO(EINVAL, syscall(SYS_pivot_root, m_.c_str(), "/proc"));
    ASSERT_OK(chdir(m_.c_str()));
    ASSERT_OK(syscall(SYS_pivot_root, ".", "old"));
    EXPECT_OK(access("/mark", F_OK));
    EXPECT_OK(access(("/old" + dir_.path()).c_str(), F_OK));
    EXPECT_OK(umount2("/old", MNT_DETACH));
    EXPECT_ERRNO(ENOENT, access(("/old" + dir_.path()).c_str(), F_OK));
  });
}

TEST_F(MountTest, Errors) {
  InNamespace([&] {
    EXPECT_ERRNO(ENODEV, mount("none", m_.c_str(), "nosuchfs", 0, nullptr));
    EXPECT_ERRNO(ENOENT, mount("none", (m_ + "/none").c_str(), "tmpfs", 0, nullptr));
    EXPECT_ERRNO(EFAULT, mount("none", m_.c_str(), static_cast<char*>(BadPointer()), 0, nullptr));
    EXPECT_ERRNO(EINVAL, mount("none", m_.c_str(), nullptr, MS_SHARED | MS_PRIVATE, nullptr));
    EXPECT_ERRNO(EINVAL, umount2(m_.c_str(), 0x1000));
    EXPECT_ERRNO(ENOENT, umount2((m_ + "/none").c_str(), 0));
    ASSERT_OK(mkdir((m_ + "/d").c_str(), 0755));
    EXPECT_ERRNO(EINVAL, umount2((m_ + "/d").c_str(), 0));
  });
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EPERM, mount("none", "/tmp", "tmpfs", 0, nullptr));
              EXPECT_ERRNO(EPERM, umount2("/proc", 0));
              return 0;
            }),
            0);
}

}  // namespace
}  // namespace guest
