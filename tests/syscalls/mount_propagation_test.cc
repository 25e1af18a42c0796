// Shared, slave, private and unbindable mounts, and what less privileged namespaces may not undo
// (mount_namespaces(7)). Each case works in a mount namespace of its own.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>
#include <vector>

#include "tests/util/guest.h"

namespace guest {
namespace {

class PropagationTest : public testing::Test {
 protected:
  // Runs `body` in a child with private mounts and a shared tmpfs on dir_/m with directories a, b, c in it.
  void InNamespace(const std::function<void()>& body) {
    EXPECT_EQ(RunInChild([&] {
                if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
                  return 97;
                if (mkdir(m_.c_str(), 0755) != 0 || mount("none", m_.c_str(), "tmpfs", 0, nullptr) != 0) return 96;
                for (const char* name : {"a", "b", "c"}) mkdir((m_ + "/" + name).c_str(), 0755);
                body();
                return 0;
              }),
              0);
  }
  std::string At(const std::string& name) const { return m_ + "/" + name; }
  void Tmpfs(const std::string& name) { ASSERT_OK(mount("none", At(name).c_str(), "tmpfs", 0, nullptr)) << name; }
  void Bind(const std::string& from, const std::string& to, unsigned long flags = 0) {
    ASSERT_OK(mount(At(from).c_str(), At(to).c_str(), nullptr, MS_BIND | flags, nullptr)) << to;
  }
  void Type(const std::string& name, unsigned long type) {
    ASSERT_OK(mount(nullptr, At(name).c_str(), nullptr, type, nullptr)) << name;
  }
  bool IsMount(const std::string& name) {
    struct stat here, above;
    if (stat(At(name).c_str(), &here) != 0) return false;
    EXPECT_OK(stat(At(name + "/..").c_str(), &above));
    return here.st_dev != above.st_dev;
  }
  // The optional fields of the last mountinfo line for it, joined by spaces.
  std::string Fields(const std::string& name) {
    std::istringstream lines(ReadFileText("/proc/self/mountinfo"));
    std::string line, found;
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::vector<std::string> all;
      for (std::string word; words >> word;) all.push_back(word);
      if (all.size() < 7 || all[4] != At(name)) continue;
      found.clear();
      for (size_t i = 6; i < all.size() && all[i] != "-"; ++i) found += (found.empty() ? "" : " ") + all[i];
    }
    return found;
  }
  static std::string Number(const std::string& fields, const std::string& tag) {
    const size_t at = fields.find(tag + ":");
    return at == std::string::npos ? ""
                                   : fields.substr(at + tag.size() + 1, fields.find(' ', at) - at - tag.size() - 1);
  }
  TempDir dir_;
  const std::string m_ = dir_ / "m";
};

TEST_F(PropagationTest, PeersSeeMountsAndUnmounts) {
  InNamespace([&] {
    Tmpfs("a");
    Type("a", MS_SHARED);
    ASSERT_OK(mkdir(At("a/x").c_str(), 0755));
    Bind("a", "b");
    EXPECT_NE(Number(Fields("a"), "shared"), "");
    EXPECT_EQ(Number(Fields("a"), "shared"), Number(Fields("b"), "shared"));
    Tmpfs("a/x");
    EXPECT_TRUE(IsMount("b/x"));
    EXPECT_EQ(Number(Fields("a/x"), "shared"), Number(Fields("b/x"), "shared"));
    WriteFileText(At("a/x/f"), "seen");
    EXPECT_EQ(ReadFileText(At("b/x/f")), "seen");
    ASSERT_OK(umount2(At("b/x").c_str(), 0));
    EXPECT_FALSE(IsMount("a/x"));
    EXPECT_FALSE(IsMount("b/x"));
  });
}

TEST_F(PropagationTest, SlavesHearButDoNotTell) {
  InNamespace([&] {
    Tmpfs("a");
    Type("a", MS_SHARED);
    for (const char* name : {"a/x", "a/y"}) ASSERT_OK(mkdir(At(name).c_str(), 0755));
    Bind("a", "b");
    Type("b", MS_SLAVE);
    EXPECT_EQ(Number(Fields("b"), "master"), Number(Fields("a"), "shared"));
    EXPECT_EQ(Number(Fields("b"), "shared"), "");
    Tmpfs("a/x");
    EXPECT_TRUE(IsMount("b/x"));
    EXPECT_EQ(Number(Fields("b/x"), "master"), Number(Fields("a/x"), "shared"));
    Tmpfs("b/y");
    EXPECT_FALSE(IsMount("a/y"));
    ASSERT_OK(umount2(At("b/x").c_str(), 0));
    EXPECT_TRUE(IsMount("a/x"));
    // Shared and slave at once.
    Type("b", MS_SHARED);
    EXPECT_NE(Number(Fields("b"), "shared"), "");
    EXPECT_NE(Number(Fields("b"), "shared"), Number(Fields("a"), "shared"));
    EXPECT_EQ(Number(Fields("b"), "master"), Number(Fields("a"), "shared"));
    Bind("b", "c");
    Tmpfs("a/y");
    EXPECT_TRUE(IsMount("c/y"));
    EXPECT_EQ(Number(Fields("c/y"), "master"), Number(Fields("a/y"), "shared"));
  });
}

TEST_F(PropagationTest, TheLastPeerHandsItsSlavesOn) {
  InNamespace([&] {
    Tmpfs("a");
    Type("a", MS_SHARED);
    ASSERT_OK(mkdir(At("a/x").c_str(), 0755));
    Bind("a", "b");
    Type("b", MS_SLAVE);
    Type("b", MS_SHARED);
    Bind("b", "c");
    Type("c", MS_SLAVE);
    EXPECT_EQ(Number(Fields("c"), "master"), Number(Fields("b"), "shared"));
    Type("b", MS_PRIVATE);
    EXPECT_EQ(Fields("b"), "");
    EXPECT_EQ(Number(Fields("c"), "master"), Number(Fields("a"), "shared"));
    Tmpfs("a/x");
    EXPECT_TRUE(IsMount("c/x"));
    EXPECT_FALSE(IsMount("b/x"));
  });
}

TEST_F(PropagationTest, UnbindableIsLeftOut) {
  InNamespace([&] {
    Tmpfs("a");
    ASSERT_OK(mkdir(At("a/x").c_str(), 0755));
    ASSERT_OK(mkdir(At("a/y").c_str(), 0755));
    Tmpfs("a/x");
    Tmpfs("a/y");
    Type("a/x", MS_UNBINDABLE);
    EXPECT_EQ(Fields("a/x"), "unbindable");
    EXPECT_ERRNO(EINVAL, mount(At("a/x").c_str(), At("b").c_str(), nullptr, MS_BIND, nullptr));
    Bind("a", "b", MS_REC);
    EXPECT_FALSE(IsMount("b/x"));
    EXPECT_TRUE(IsMount("b/y"));
  });
}

TEST_F(PropagationTest, PropagatedBelowWhatIsThere) {
  InNamespace([&] {
    Tmpfs("a");
    ASSERT_OK(mkdir(At("a/x").c_str(), 0755));
    Type("a", MS_SHARED);
    Bind("a", "b");
    Type("b", MS_SLAVE);
    Tmpfs("b/x");
    WriteFileText(At("b/x/own"), "");
    Tmpfs("a/x");
    WriteFileText(At("a/x/theirs"), "");
    EXPECT_OK(access(At("b/x/own").c_str(), F_OK));
    ASSERT_OK(umount2(At("b/x").c_str(), 0));
    EXPECT_OK(access(At("b/x/theirs").c_str(), F_OK));
    Tmpfs("b/x");
    WriteFileText(At("b/x/own"), "");
    ASSERT_OK(umount2(At("a/x").c_str(), 0));
    EXPECT_OK(access(At("b/x/own").c_str(), F_OK));
    ASSERT_OK(umount2(At("b/x").c_str(), 0));
    EXPECT_FALSE(IsMount("b/x"));
  });
}

TEST_F(PropagationTest, BindingATreeIntoItself) {
  InNamespace([&] {
    Tmpfs("a");
    Type("a", MS_SHARED);
    ASSERT_OK(mkdir(At("a/x").c_str(), 0755));
    Bind("a", "a/x");
    EXPECT_OK(access(At("a/x/x").c_str(), F_OK));
    EXPECT_EQ(Number(Fields("a"), "shared"), Number(Fields("a/x"), "shared"));
    EXPECT_ERRNO(ELOOP, mount(At("a").c_str(), At("a/x").c_str(), nullptr, MS_MOVE, nullptr));
  });
}

TEST_F(PropagationTest, MovesFollowTheRules) {
  InNamespace([&] {
    Tmpfs("a");
    Type("a", MS_SHARED);
    ASSERT_OK(mkdir(At("a/x").c_str(), 0755));
    Tmpfs("a/x");
    EXPECT_ERRNO(EINVAL, mount(At("a/x").c_str(), At("b").c_str(), nullptr, MS_MOVE, nullptr));  // shared parent
    Tmpfs("c");
    Type("c", MS_UNBINDABLE);
    EXPECT_ERRNO(EINVAL, mount(At("c").c_str(), At("a/x").c_str(), nullptr, MS_MOVE, nullptr));
    Type("c", MS_PRIVATE);
    Bind("a", "b");
    ASSERT_OK(umount2(At("a/x").c_str(), 0));
    ASSERT_OK(mount(At("c").c_str(), At("a/x").c_str(), nullptr, MS_MOVE, nullptr));
    EXPECT_TRUE(IsMount("b/x"));
    EXPECT_FALSE(IsMount("c"));
  });
}

TEST_F(PropagationTest, NamespacesArePeers) {
  InNamespace([&] {
    Tmpfs("a");
    Type("a", MS_SHARED);
    ASSERT_OK(mkdir(At("a/x").c_str(), 0755));
    int ready[2], done[2];
    ASSERT_OK(pipe(ready));
    ASSERT_OK(pipe(done));
    const pid_t child = fork();
    if (child == 0) {
      char byte;
      if (unshare(CLONE_NEWNS) != 0 || write(ready[1], "x", 1) != 1 || read(done[0], &byte, 1) != 1) _exit(1);
      if (!IsMount("a/x")) _exit(2);
      _exit(umount2(At("a/x").c_str(), 0) == 0 ? 0 : 3);
    }
    char byte;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    Tmpfs("a/x");
    ASSERT_EQ(write(done[1], "x", 1), 1);
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_FALSE(IsMount("a/x"));
  });
}

TEST_F(PropagationTest, PropagateFrom) {
  InNamespace([&] {
    // c is a slave of b, which is one of a; from within c's directory b cannot be seen.
    Tmpfs("a");
    Type("a", MS_SHARED);
    Bind("a", "b");
    Type("b", MS_SLAVE);
    Type("b", MS_SHARED);
    Bind("b", "c");
    Type("c", MS_SLAVE);
    const std::string top = Number(Fields("a"), "shared"), middle = Number(Fields("b"), "shared");
    EXPECT_EQ(Fields("c"), "master:" + middle);
    ASSERT_OK(umount2(At("b").c_str(), MNT_DETACH));
    EXPECT_EQ(Fields("c"), "master:" + top);
  });
}

TEST_F(PropagationTest, AUserNamespaceCannotUndo) {
  InNamespace([&] {
    Tmpfs("a");
    ASSERT_OK(mkdir(At("a/x").c_str(), 0777));
    Tmpfs("a/x");
    Type("a", MS_SHARED);
    ASSERT_OK(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV, nullptr));
    EXPECT_EQ(RunInChild([&] {
                if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return 95;
                EXPECT_ERRNO(EINVAL, umount2(At("a/x").c_str(), MNT_DETACH));
                EXPECT_ERRNO(EINVAL, mount(At("a/x").c_str(), At("b").c_str(), nullptr, MS_MOVE, nullptr));
                EXPECT_ERRNO(EINVAL, mount(At("a").c_str(), At("b").c_str(), nullptr, MS_BIND, nullptr));
                EXPECT_ERRNO(EPERM, mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr));
                EXPECT_OK(mount(nullptr, At("a").c_str(), nullptr,
                                MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_RDONLY, nullptr));
                // A shared mount has become a slave: what it mounts stays its own.
                EXPECT_NE(Number(Fields("a"), "master"), "");
                EXPECT_EQ(Number(Fields("a"), "shared"), "");
                EXPECT_OK(mount(At("a").c_str(), At("b").c_str(), nullptr, MS_BIND | MS_REC, nullptr));
                EXPECT_TRUE(IsMount("b/x"));
                EXPECT_ERRNO(EINVAL, umount2(At("b/x").c_str(), 0));
                EXPECT_OK(umount2(At("b").c_str(), MNT_DETACH));
                return 0;
              }),
              0);
  });
}

TEST_F(PropagationTest, ExpiryNeedsTwoCalls) {
  InNamespace([&] {
    Tmpfs("a");
    WriteFileText(At("a/f"), "");
    EXPECT_ERRNO(EINVAL, umount2(At("a").c_str(), MNT_EXPIRE | MNT_DETACH));
    EXPECT_ERRNO(EINVAL, umount2(At("a").c_str(), MNT_EXPIRE | MNT_FORCE));
    const int busy = open(At("a/f").c_str(), O_RDONLY);
    EXPECT_ERRNO(EBUSY, umount2(At("a").c_str(), MNT_EXPIRE));
    close(busy);
    EXPECT_ERRNO(EAGAIN, umount2(At("a").c_str(), MNT_EXPIRE));
    EXPECT_OK(access(At("a/f").c_str(), F_OK));
    EXPECT_ERRNO(EAGAIN, umount2(At("a").c_str(), MNT_EXPIRE));
    EXPECT_OK(umount2(At("a").c_str(), MNT_EXPIRE));
    EXPECT_FALSE(IsMount("a"));
  });
}

TEST_F(PropagationTest, RemountsOfTheWhole) {
  InNamespace([&] {
    Tmpfs("a");
    WriteFileText(At("a/f"), "");
    const int writer = open(At("a/f").c_str(), O_WRONLY);
    EXPECT_ERRNO(EBUSY, mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr));
    close(writer);
    ASSERT_OK(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr));
    EXPECT_ERRNO(EROFS, open(At("a/f").c_str(), O_WRONLY));
    ASSERT_OK(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT, "size=64k"));
    const std::string data(128 << 10, 'x');
    const int fd = open(At("a/f").c_str(), O_WRONLY);
    EXPECT_EQ(write(fd, data.data(), data.size()), 64 << 10);
    close(fd);
    EXPECT_ERRNO(EINVAL, mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT, "size=4k"));
    EXPECT_ERRNO(EINVAL, mount(nullptr, At("c").c_str(), nullptr, MS_REMOUNT, nullptr));  // no mount's root
  });
}

}  // namespace
}  // namespace guest
