#include "sentry/loader/script.h"

namespace sandbox::loader {

Result<ScriptLine> ParseScriptLine(std::string_view head) {
  constexpr std::string_view kBlank = " \t";
  if (!head.starts_with("#!")) return Err(ENOEXEC);
  std::string_view line = head.substr(2);
  const size_t newline = line.find('\n');
  if (newline != std::string_view::npos) {
    line = line.substr(0, newline);
  } else if (head.size() >= kProbeSize) {
    // The line goes on beyond what was read: only a name that is surely complete may be used.
    const size_t name = line.find_first_not_of(kBlank);
    if (name == std::string_view::npos) return Err(ENOEXEC);
    if (line.find_first_of(std::string_view(" \t\0", 3), name) == std::string_view::npos) return Err(ENOEXEC);
  }
  // A NUL ends the line as it ends the strings made of it.
  line = line.substr(0, line.find('\0'));
  const size_t begin = line.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return Err(ENOEXEC);
  line = line.substr(begin, line.find_last_not_of(kBlank) + 1 - begin);

  ScriptLine script;
  const size_t name_end = line.find_first_of(kBlank);
  script.interpreter = std::string(line.substr(0, name_end));
  if (name_end != std::string_view::npos) {
    script.argument = std::string(line.substr(line.find_first_not_of(kBlank, name_end)));
  }
  return script;
}

}  // namespace sandbox::loader
