#include "sentry/loader/script.h"

#include <gtest/gtest.h>

#include <string>

namespace sandbox::loader {
namespace {

TEST(ScriptTest, NameAndOneArgument) {
  EXPECT_EQ(ParseScriptLine("#!/bin/sh\n")->interpreter, "/bin/sh");
  EXPECT_EQ(ParseScriptLine("#!/bin/sh\necho")->argument, "");
  const ScriptLine env = *ParseScriptLine("#! \t/usr/bin/env  python3 -u \t\nprint()");
  EXPECT_EQ(env.interpreter, "/usr/bin/env");
  EXPECT_EQ(env.argument, "python3 -u");
  EXPECT_EQ(ParseScriptLine("#!/bin/sh")->interpreter, "/bin/sh") << "the file may end without a newline";
}

TEST(ScriptTest, Refusals) {
  EXPECT_TRUE(ParseScriptLine("#!\n").Is(ENOEXEC));
  EXPECT_TRUE(ParseScriptLine("#!  \t \n/bin/sh").Is(ENOEXEC));
  EXPECT_TRUE(ParseScriptLine("echo").Is(ENOEXEC));
  const std::string cut = "#!/" + std::string(kProbeSize - 3, 'x');
  EXPECT_TRUE(ParseScriptLine(cut).Is(ENOEXEC)) << "the name may go on";
  const std::string argument = "#!/bin/sh " + std::string(kProbeSize - 10, 'y');
  EXPECT_EQ(ParseScriptLine(argument)->argument.size(), kProbeSize - 10) << "an argument may be cut";
}

}  // namespace
}  // namespace sandbox::loader
