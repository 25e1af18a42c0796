// The debug log: one line a message, text or JSON, to --debug-log or standard error. spdlog is behind it, kept out of
// this header so that including it is free. Levels below the configured one cost one load and a branch.
#pragma once

#include <string>
#include <string_view>

namespace sandbox {

enum class LogLevel : int { kTrace, kDebug, kInfo, kWarning, kError, kOff };
enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kWarning;
  LogFormat format = LogFormat::kText;
  int fd = 2;             // borrowed; written with one write(2) a line
  std::string component;  // "sentry", "gofer", "runsc"
};

void InitLog(const LogOptions& options);
int LogFd();  // the descriptor given to InitLog; 2 before
bool LogEnabled(LogLevel level);
// Writes one line. Callers format with fmt::format or the LOGF macro.
void LogLine(LogLevel level, std::string_view message);
std::string StrPrintf(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace sandbox

#define LOGF(level, ...)                                                                 \
  do {                                                                                   \
    if (::sandbox::LogEnabled(::sandbox::LogLevel::level)) [[unlikely]]                  \
      ::sandbox::LogLine(::sandbox::LogLevel::level, ::sandbox::StrPrintf(__VA_ARGS__)); \
  } while (0)
