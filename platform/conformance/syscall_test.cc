// Calls: numbers, arguments, results, and what a call leaves untouched.
#include "platform/conformance/harness.h"

namespace sandbox::platform {
namespace {

class Syscalls : public PlatformTest {};

GUEST_CODE(report_twice, R"(
  mov $11, %edi
)" CALL_REPORT R"(
  mov $22, %edi
)" CALL_REPORT CALL_EXIT);

TEST_P(Syscalls, AreSeenInOrder) {
  Task task;
  task.Run(NewProcess(task, report_twice));
  ASSERT_TRUE(task.WaitExit());
  EXPECT_EQ(task.reports(), (std::vector<uint64_t>{11, 22}));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(All, Syscalls, testing::ValuesIn(RegisteredPlatforms()));

}  // namespace sandbox::platform
