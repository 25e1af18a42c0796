// get_mempolicy(2), set_mempolicy(2), mbind(2), set_mempolicy_home_node(2) for node 0.
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

#ifndef __NR_set_mempolicy_home_node
#define __NR_set_mempolicy_home_node 450
#endif

namespace guest {
namespace {

constexpr unsigned long kMaxNode = 1024;

struct Nodes {
  unsigned long words[kMaxNode / 64] = {};
};

long Get(int* mode, Nodes* nodes, const void* addr = nullptr, unsigned long flags = 0) {
  return syscall(SYS_get_mempolicy, mode, nodes == nullptr ? nullptr : nodes->words, kMaxNode, addr, flags);
}
long Set(int mode, unsigned long nodes) { return syscall(SYS_set_mempolicy, mode, &nodes, 64); }
long Bind(const void* at, size_t length, int mode, unsigned long nodes, unsigned flags = 0) {
  return syscall(SYS_mbind, at, length, mode, &nodes, 64, flags);
}

// A host without NUMA has none of this.
#define REQUIRE_NUMA() \
  if (Get(nullptr, nullptr) != 0 && errno == ENOSYS) GTEST_SKIP() << "no NUMA"

TEST(MempolicyTest, OfTheTask) {
  REQUIRE_NUMA();
  EXPECT_EQ(RunInChild([] {
              int mode = -1;
              Nodes nodes;
              if (Get(&mode, &nodes) != 0 || mode != MPOL_DEFAULT || nodes.words[0] != 0) return 1;
              if (Set(MPOL_BIND, 1) != 0 || Get(&mode, &nodes) != 0) return 2;
              if (mode != MPOL_BIND || nodes.words[0] != 1) return 3;
              if (RunInChild([&] { return Get(&mode, &nodes) == 0 && mode == MPOL_BIND ? 0 : 1; }) != 0) return 4;
              if (Set(MPOL_INTERLEAVE, 1) != 0) return 5;
              if (Get(&mode, nullptr, nullptr, MPOL_F_NODE) != 0 || mode != 0) return 6;
              if (Set(MPOL_PREFERRED, 0) != 0 || Get(&mode, &nodes) != 0) return 7;
              if (mode != MPOL_LOCAL || nodes.words[0] != 0) return 8;
              if (Set(MPOL_DEFAULT, 0) != 0 || Get(&mode, &nodes) != 0 || mode != MPOL_DEFAULT) return 9;
              return 0;
            }),
            0);
}

TEST(MempolicyTest, OfAMapping) {
  REQUIRE_NUMA();
  Mapping memory(3);
  memory.page(1)[0] = 'x';
  ASSERT_OK(Bind(memory.page(1), kPage, MPOL_PREFERRED, 1));
  int mode = -1;
  Nodes nodes;
  ASSERT_OK(Get(&mode, &nodes, memory.page(1), MPOL_F_ADDR));
  EXPECT_EQ(mode, MPOL_PREFERRED);
  EXPECT_EQ(nodes.words[0], 1u);
  ASSERT_OK(Get(&mode, &nodes, memory.page(2), MPOL_F_ADDR));
  EXPECT_EQ(mode, MPOL_DEFAULT);
  EXPECT_EQ(nodes.words[0], 0u);
  ASSERT_OK(Get(&mode, nullptr, memory.page(1), MPOL_F_ADDR | MPOL_F_NODE));
  EXPECT_EQ(mode, 0);
  ASSERT_OK(Bind(memory.page(), 3 * kPage, MPOL_DEFAULT, 0));
  ASSERT_OK(Get(&mode, &nodes, memory.page(1), MPOL_F_ADDR));
  EXPECT_EQ(mode, MPOL_DEFAULT);
}

TEST(MempolicyTest, Errors) {
  REQUIRE_NUMA();
  Mapping memory(3);
  EXPECT_ERRNO(EINVAL, Bind(memory.page() + 1, kPage, MPOL_BIND, 1));
  EXPECT_ERRNO(EINVAL, Bind(memory.page(), kPage, MPOL_BIND, 0));
  EXPECT_ERRNO(EINVAL, Bind(memory.page(), kPage, MPOL_DEFAULT, 1));
  EXPECT_ERRNO(EINVAL, Bind(memory.page(), kPage, 99, 1));
  EXPECT_ERRNO(EINVAL, Bind(memory.page(), kPage, MPOL_BIND, 1, 0x80));
  EXPECT_ERRNO(EINVAL, Bind(memory.page(), kPage, MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, 1));
  EXPECT_ERRNO(EFAULT, syscall(SYS_mbind, memory.page(), kPage, MPOL_BIND, BadPointer(), 64, 0));
  ASSERT_OK(munmap(memory.page(1), kPage));
  EXPECT_ERRNO(EFAULT, Bind(memory.page(), 3 * kPage, MPOL_BIND, 1));
  EXPECT_ERRNO(EINVAL, Set(MPOL_BIND, 0));
  EXPECT_ERRNO(EINVAL, Set(MPOL_LOCAL, 1));
  EXPECT_ERRNO(EINVAL, Get(nullptr, nullptr, memory.page(), 0));
  EXPECT_ERRNO(EFAULT, Get(nullptr, nullptr, memory.page(1), MPOL_F_ADDR));
  int mode;
  EXPECT_ERRNO(EINVAL, Get(&mode, nullptr, nullptr, MPOL_F_NODE)) << "no interleaving";
  EXPECT_ERRNO(EINVAL, Get(&mode, nullptr, nullptr, MPOL_F_MEMS_ALLOWED | MPOL_F_NODE));
  EXPECT_ERRNO(EINVAL, Get(&mode, nullptr, nullptr, 0x80));
}

TEST(MempolicyTest, HomeNode) {
  REQUIRE_NUMA();
  Mapping memory(2);
  const auto home = [&](unsigned long node, unsigned long flags) {
    return syscall(__NR_set_mempolicy_home_node, memory.page(), kPage, node, flags);
  };
  EXPECT_ERRNO(ENOENT, home(0, 0));
  ASSERT_OK(Bind(memory.page(), kPage, MPOL_BIND, 1));
  EXPECT_OK(home(0, 0));
  EXPECT_ERRNO(EINVAL, home(0, 1));
  EXPECT_ERRNO(EINVAL, home(4000, 0));
  ASSERT_OK(Bind(memory.page(), kPage, MPOL_INTERLEAVE, 1));
  EXPECT_ERRNO(EOPNOTSUPP, home(0, 0));
}

}  // namespace
}  // namespace guest
