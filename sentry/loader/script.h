// The first line of a script (execve(2), "Interpreter scripts"; Linux: fs/binfmt_script.c).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace sandbox::loader {

// Linux reads this much of a file to find out what it is (BINPRM_BUF_SIZE).
inline constexpr size_t kProbeSize = 256;

struct ScriptLine {
  std::string interpreter;
  std::string argument;  // the rest of the line as one argument; empty = none
};

// `head`: the first bytes of the file, at most kProbeSize, starting with "#!". ENOEXEC when there is no interpreter, or
// when its name does not end within them.
Result<ScriptLine> ParseScriptLine(std::string_view head);

}  // namespace sandbox::loader
