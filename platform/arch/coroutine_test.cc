#include "platform/arch/coroutine.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace sandbox::arch {
namespace {

struct Steps {
  Coroutine* coroutine;
  std::vector<int> seen;
  static void Run(void* self) {
    auto& steps = *static_cast<Steps*>(self);
    for (int i = 0; i < 3; ++i) {
      double kept = i * 1.5;
      steps.seen.push_back(i);
      steps.coroutine->Suspend();
      EXPECT_EQ(kept, i * 1.5);
    }
  }
};

TEST(CoroutineTest, GoesOnWhereItStopped) {
  if (!Coroutine::Supported()) return;
  auto coroutine = Coroutine::Take();
  ASSERT_NE(coroutine, nullptr);
  Steps steps{coroutine.get(), {}};
  coroutine->Prepare(&Steps::Run, &steps);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(coroutine->Resume());
    EXPECT_EQ(steps.seen.size(), static_cast<size_t>(i + 1));
  }
  EXPECT_TRUE(coroutine->Resume());
  Coroutine::Give(std::move(coroutine));
}

TEST(CoroutineTest, GoesOnOnAnotherThread) {
  if (!Coroutine::Supported()) return;
  auto coroutine = Coroutine::Take();
  Steps steps{coroutine.get(), {}};
  coroutine->Prepare(&Steps::Run, &steps);
  bool ended = false;
  while (!ended) std::thread([&] { ended = coroutine->Resume(); }).join();
  EXPECT_EQ(steps.seen, (std::vector<int>{0, 1, 2}));
  Coroutine::Give(std::move(coroutine));
}

TEST(CoroutineTest, StackIsUsedAgain) {
  if (!Coroutine::Supported()) return;
  auto first = Coroutine::Take();
  const Coroutine* address = first.get();
  Coroutine::Give(std::move(first));
  auto second = Coroutine::Take();
  EXPECT_EQ(second.get(), address);
}

}  // namespace
}  // namespace sandbox::arch
