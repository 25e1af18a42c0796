#include "runsc/container/remove_tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/unique_fd.h"

namespace sandbox {
namespace {

TEST(RemoveTree, DeepAndUnreadableAndLinked) {
  char base[] = "/tmp/remove-tree-XXXXXX";
  ASSERT_NE(::mkdtemp(base), nullptr);
  const std::string tree = std::string(base) + "/tree", outside = std::string(base) + "/outside";
  ASSERT_EQ(::mkdir(tree.c_str(), 0700), 0);
  ASSERT_EQ(::mkdir(outside.c_str(), 0700), 0);
  ASSERT_EQ(::symlink(outside.c_str(), (tree + "/link").c_str()), 0);
  ASSERT_EQ(::mkdir((tree + "/closed").c_str(), 0), 0);
  ASSERT_EQ(::mkdir((tree + "/.removed-0").c_str(), 0700), 0);
  // Deeper than descriptors and path names go.
  UniqueFd at(::open(tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(::mkdirat(at.get(), "deep", 0700), 0);
    at.reset(::openat(at.get(), "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(at.valid());
  }
  ASSERT_TRUE(UniqueFd(::openat(at.get(), "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0)).valid());
  at.reset();
  EXPECT_TRUE(RemoveTree(tree).ok());
  EXPECT_EQ(::access(tree.c_str(), F_OK), -1);
  EXPECT_EQ(::access(outside.c_str(), F_OK), 0);
  EXPECT_TRUE(RemoveTree(tree).ok());
  EXPECT_TRUE(RemoveTree(base).ok());
}

}  // namespace
}  // namespace sandbox
