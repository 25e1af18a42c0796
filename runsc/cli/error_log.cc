#include "runsc/cli/error_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "base/unique_fd.h"
#include "nlohmann/json.hpp"

namespace sandbox::cli {
namespace {

std::string Timestamp() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string LogRecord(const GlobalOptions& options, const char* level, const std::string& message) {
  const auto replace = nlohmann::json::error_handler_t::replace;
  if (options.log_format != "json") {
    return "time=\"" + Timestamp() + "\" level=" + level +
           " msg=" + nlohmann::json(message).dump(-1, ' ', false, replace) + "\n";
  }
  const nlohmann::ordered_json record = {{"level", level}, {"msg", message}, {"time", Timestamp()}};
  return record.dump(-1, ' ', false, replace) + "\n";
}

void Report(const GlobalOptions& options, const char* level, const std::string& message) {
  std::fprintf(stderr, "runsc: %s\n", message.c_str());
  if (options.log.empty()) return;
  UniqueFd log(::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  const std::string record = LogRecord(options, level, message);
  if (!log.valid() || ::write(log.get(), record.data(), record.size()) != static_cast<ssize_t>(record.size())) {
    std::fprintf(stderr, "runsc: writing %s: %s\n", options.log.c_str(), std::strerror(errno));
  }
}

}  // namespace

int ReportError(const GlobalOptions& options, const std::string& message) {
  Report(options, "error", message);
  return kExitFailure;
}

void ReportWarning(const GlobalOptions& options, const std::string& message) { Report(options, "warning", message); }

int ReportError(const GlobalOptions& options, const absl::Status& status) {
  return ReportError(options, std::string(status.message()));
}

}  // namespace sandbox::cli
