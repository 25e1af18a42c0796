#include "base/log.h"

#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <ctime>
#include <memory>
#include <mutex>
#include <vector>

namespace sandbox {
namespace {

std::atomic<LogLevel> threshold{LogLevel::kWarning};
std::atomic<bool> json_messages{false};
std::atomic<int> log_fd{2};

// Writes each line with one write(2) to a descriptor that stays usable after the process entered its empty root.
class FdSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FdSink(int fd) : fd_(fd) {}

 private:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    spdlog::memory_buf_t line;
    formatter_->format(msg, line);
    // A full or closed log must not stop the kernel; there is nowhere else to say so.
    (void)!::write(fd_, line.data(), line.size());
  }
  void flush_() override {}

  const int fd_;
};

std::shared_ptr<spdlog::logger>& Logger() {
  static auto logger = std::make_shared<spdlog::logger>("runsc", std::make_shared<FdSink>(2));
  return logger;
}

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) {
      out += StrPrintf("\\u%04x", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

void InitLog(const LogOptions& options) {
  // gmtime_r reads /etc/localtime on its first call; by then the filter may refuse openat.
  tzset();
  auto logger = std::make_shared<spdlog::logger>("runsc", std::make_shared<FdSink>(options.fd));
  const bool json = options.format == LogFormat::kJson;
  logger->set_pattern(
      json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","component":")" + options.component + R"(","msg":%v})"
           : "%H:%M:%S.%f %L " + options.component + " %v",
      spdlog::pattern_time_type::utc);
  logger->set_level(spdlog::level::trace);  // LogEnabled has filtered already
  Logger() = std::move(logger);
  json_messages.store(json);
  threshold.store(options.level);
  log_fd.store(options.fd);
}

int LogFd() { return log_fd.load(); }

bool LogEnabled(LogLevel level) { return level >= threshold.load(std::memory_order_relaxed); }

void LogLine(LogLevel level, std::string_view message) {
  const auto spd_level = static_cast<spdlog::level::level_enum>(level);
  const std::string text = json_messages.load() ? JsonString(message) : std::string(message);
  Logger()->log(spd_level, spdlog::string_view_t(text.data(), text.size()));
}

std::string StrPrintf(const char* format, ...) {
  va_list args;
  va_start(args, format);
  va_list again;
  va_copy(again, args);
  const int size = std::vsnprintf(nullptr, 0, format, args);
  va_end(args);
  std::string text(size > 0 ? size : 0, '\0');
  if (size > 0) std::vsnprintf(text.data(), text.size() + 1, format, again);
  va_end(again);
  return text;
}

}  // namespace sandbox
