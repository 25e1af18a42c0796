// runsc install and uninstall: this binary as one of Docker's runtimes, in its daemon.json.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

using Json = nlohmann::ordered_json;  // an administrator's order of keys stays

absl::StatusOr<Json> ReadConfig(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) return Json::object();
  auto text = ReadDocument(path);
  if (!text.ok()) return text.status();
  if (text->find_first_not_of(" \t\r\n") == std::string::npos) return Json::object();
  Json config = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return absl::InvalidArgumentError(path + ": not a JSON object");
  if (config.contains("runtimes") && !config["runtimes"].is_object())
    return absl::InvalidArgumentError(path + ": runtimes: must be an object");
  return config;
}

absl::Status WriteConfig(const std::string& path, const Json& config) {
  const std::string text = config.dump(4) + "\n", temporary = path + ".runsc-new";
  struct stat old;
  const mode_t mode = ::stat(path.c_str(), &old) == 0 ? old.st_mode & 07777 : 0644;
  const UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(fd.get()) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0) {
    auto status = absl::InternalError(absl::StrCat("writing ", path, ": ", std::strerror(errno)));
    ::unlink(temporary.c_str());
    return status;
  }
  return absl::OkStatus();
}

class Install final : public cli::Command {
 public:
  explicit Install(bool install) : install_(install) {}
  const char* name() const override { return install_ ? "install" : "uninstall"; }
  const char* help() const override {
    return install_ ? "Add this binary to Docker's runtimes" : "Take this binary out of Docker's runtimes";
  }
  void Configure(cli::Parser& parser) override {
    parser.Option("--config-file,--config_file", config_file_, "Docker's daemon.json");
    parser.Option("--runtime", runtime_, "Name of the runtime");
    if (!install_) return;
    parser.Flag("--clobber", clobber_, "Replace a runtime of that name");
    parser.Words("arguments", arguments_, "Options that Docker passes on each call, after --: -- --platform=ptrace");
  }
  int Run(const cli::GlobalOptions& options) override {
    auto config = ReadConfig(config_file_);
    if (!config.ok()) return Fail(options, config.status());
    auto status = install_ ? Add(*config) : Take(*config);
    if (status.ok()) status = WriteConfig(config_file_, *config);
    if (!status.ok()) return Fail(options, status);
    std::printf("%s: runtime %s %s; restart or reload Docker's daemon\n", config_file_.c_str(), runtime_.c_str(),
                install_ ? "added" : "removed");
    return 0;
  }

 private:
  absl::Status Add(Json& config) const {
    char self[PATH_MAX];
    const ssize_t size = ::readlink("/proc/self/exe", self, sizeof(self));
    if (size <= 0) return absl::InternalError("where this binary is: " + std::string(std::strerror(errno)));
    if (config["runtimes"].contains(runtime_) && !clobber_) {
      return absl::AlreadyExistsError(config_file_ + ": there is a runtime " + runtime_ +
                                      " already (--clobber replaces it)");
    }
    Json entry = {{"path", std::string(self, static_cast<size_t>(size))}};
    if (!arguments_.empty()) entry["runtimeArgs"] = arguments_;
    config["runtimes"][runtime_] = std::move(entry);
    return absl::OkStatus();
  }

  absl::Status Take(Json& config) const {
    if (!config.contains("runtimes") || !config["runtimes"].contains(runtime_)) {
      return absl::NotFoundError(config_file_ + ": there is no runtime " + runtime_);
    }
    config["runtimes"].erase(runtime_);
    if (config["runtimes"].empty()) config.erase("runtimes");
    return absl::OkStatus();
  }

  const bool install_;
  std::string config_file_ = "/etc/docker/daemon.json";
  std::string runtime_ = "runsc";
  std::vector<std::string> arguments_;
  bool clobber_ = false;
};

const cli::CommandRegistration install(std::make_unique<Install>(true));
const cli::CommandRegistration uninstall(std::make_unique<Install>(false));

}  // namespace
}  // namespace sandbox::cmd
