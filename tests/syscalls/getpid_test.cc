// Process identity calls that answer without authority.

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

TEST(GetpidTest, AgreesWithTheRawCall) { EXPECT_EQ(getpid(), syscall(SYS_getpid)); }

TEST(GetpidTest, MainThreadIdIsTheProcessId) { EXPECT_EQ(getpid(), gettid()); }

}  // namespace
