// The gofer as it really runs: a process of its own, confined. Every operation must get through the filter.

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <thread>

#include "gofer/server/main.h"
#include "gofer/tests/world.h"

namespace sandbox {
namespace {

class ConfinedGofer : public ::testing::Test {
 protected:
  void SetUp() override {
    auto pair = gofer::Channel::MakePair();
    ASSERT_TRUE(pair.ok());
    pid_ = ::fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      pair->second.reset();
      gofer::GoferOptions options;
      options.trees.push_back({false, UniqueFd(::open(host_.path().c_str(), O_PATH | O_CLOEXEC))});
      options.connection = std::move(pair->first);
      ::_exit(gofer::GoferMain(std::move(options)));
    }
    pair->first.reset();
    auto client = GoferClient::Connect(std::move(pair->second));
    ASSERT_TRUE(client.ok());
    client_ = *client;
  }
  // Ends the gofer and returns its wait status.
  int Finish() {
    client_.reset();
    int status = -1;
    ::waitpid(pid_, &status, 0);
    return status;
  }

  HostDir host_;
  pid_t pid_ = -1;
  RefPtr<GoferClient> client_;
};

TEST_F(ConfinedGofer, ServesEveryOperation) {
  {
    auto fs = GoferFs::Create(client_, 0, {});
    ASSERT_TRUE(fs.ok());
    Calls calls(*fs);
    ASSERT_TRUE(calls.Mkdir("/d", 02775).ok());
    EXPECT_TRUE(calls.WriteTo("/d/f", "text").ok());
    EXPECT_EQ(calls.ReadFrom("/d/f"), "text");
    EXPECT_TRUE(calls.Symlink("f", "/d/s").ok());
    EXPECT_EQ(calls.ReadFrom("/d/s"), "text");
    EXPECT_TRUE(calls.Link("/d/f", "/d/l").ok());
    EXPECT_TRUE(calls.Rename("/d/l", "/m").ok());
    EXPECT_EQ(calls.List("/d").size(), 2u);
    const Path path = *calls.Find("/d/f");
    EXPECT_TRUE(ChangeMode(calls.context(), path, 0600).ok());
    EXPECT_TRUE(ChangeOwner(calls.context(), path, 1000, 1000).ok());
    EXPECT_EQ(calls.Stat("/d/f")->uid, 1000u);
    EXPECT_TRUE(ChangeTimes(calls.context(), path, {FileTime{1, 2}, false}, {FileTime{3, 4}, false}).ok());
    EXPECT_TRUE(Truncate(calls.context(), path, 2).ok());
    EXPECT_EQ(calls.ReadFrom("/d/f"), "te");
    (void)path.inode()->SetXattr(calls.context(), "user.a", "b", 0).ok();
    (void)path.inode()->GetXattr(calls.context(), "user.a").ok();
    (void)path.inode()->ListXattr(calls.context()).ok();
    (void)path.inode()->RemoveXattr(calls.context(), "user.a").ok();
    EXPECT_TRUE(MakeNode(calls.context(), calls.base(), "/fifo", S_IFIFO | 0644, 0, 0).ok());
    EXPECT_TRUE(MakeNode(calls.context(), calls.base(), "/sock", S_IFSOCK | 0644, 0, 0).ok());
    EXPECT_TRUE((*fs)->StatFs(calls.context()).ok());
    const FileRef dir = *calls.Open("/d", O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(dir->Sync(calls.context(), false).ok());
    (void)calls.Open("/", O_RDWR | O_TMPFILE, 0600).ok();
    EXPECT_TRUE(calls.Unlink("/m").ok());
    EXPECT_TRUE(calls.Unlink("/d/f").ok());
    EXPECT_TRUE(calls.Unlink("/d/s").ok());
    EXPECT_TRUE(calls.Rmdir("/d").ok());
  }
  const int status = Finish();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(ConfinedGofer, TasksDoNotQueueBehindEachOther) {
  {
    auto fs = GoferFs::Create(client_, 0, {});
    ASSERT_TRUE(fs.ok());
    Calls calls(*fs);
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&calls, t] {
        const std::string dir = "/t" + std::to_string(t);
        ASSERT_TRUE(calls.Mkdir(dir).ok());
        for (int i = 0; i < 100; ++i) {
          const std::string name = dir + "/" + std::to_string(i);
          ASSERT_TRUE(calls.WriteTo(name, name).ok());
          ASSERT_EQ(calls.ReadFrom(name), name);
          ASSERT_TRUE(calls.Rename(name, name + "r").ok());
          ASSERT_TRUE(calls.Unlink(name + "r").ok());
        }
        ASSERT_TRUE(calls.Rmdir(dir).ok());
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  const int status = Finish();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// The gofer's death is an I/O error for the guest, not the sentry's.
TEST_F(ConfinedGofer, ClientSurvivesADeadServer) {
  auto fs = GoferFs::Create(client_, 0, {});
  ASSERT_TRUE(fs.ok());
  Calls calls(*fs);
  ::kill(pid_, SIGKILL);
  int status;
  ::waitpid(pid_, &status, 0);
  EXPECT_TRUE(calls.Stat("/x").Is(EIO));
  EXPECT_TRUE(calls.Mkdir("/y").Is(EIO));
}

}  // namespace
}  // namespace sandbox
