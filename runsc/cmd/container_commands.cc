#include "runsc/cmd/container_commands.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/io/whole_file.h"
#include "runsc/cli/error_log.h"
#include "runsc/control/message.h"
#include "runsc/spec/bundle.h"

namespace sandbox::cmd {

absl::StatusOr<Found> Find(const cli::GlobalOptions& options, const std::string& id, bool lock) {
  if (auto status = spec::CheckContainerId(id); !status.ok()) return status;
  auto dir = ContainerDir::Open(options.root, id, lock);
  if (!dir.ok()) return dir.status();
  auto state = dir->Load();
  if (!state.ok()) return state.status();
  return Found{*std::move(dir), *std::move(state)};
}

int Fail(const cli::GlobalOptions& options, const absl::Status& status) {
  cli::ReportError(options, status);
  return control::ExitCodeOf(status);
}

namespace {

absl::Status Reported(const cli::GlobalOptions& options, const absl::StatusOr<std::vector<std::string>>& warnings) {
  if (!warnings.ok()) return warnings.status();
  for (const std::string& warning : *warnings) cli::ReportWarning(options, warning);
  return absl::OkStatus();
}

}  // namespace

absl::Status Start(const cli::GlobalOptions& options, const ContainerDir& dir, ContainerState& state) {
  return Reported(options, StartContainer(dir, state));
}

absl::Status Delete(const cli::GlobalOptions& options, const std::string& id, bool force) {
  return Reported(options, DeleteContainer(options.root, id, force));
}

void AddCreateOptions(cli::Parser& parser, CreateOptions& options) {
  parser.Word("id", options.id, true, "Container id");
  parser.Option("-b,--bundle", options.bundle, "Folder with config.json");
  parser.Option("--pid-file", options.pid_file, "File that gets the pid of the container's process");
  parser.Option("--console-socket", options.console_socket, "Unix socket that gets the terminal's descriptor");
  parser.Option("--preserve-fds", options.preserve_fds, "Descriptors besides 0, 1 and 2 to pass on, from 3");
  parser.Option(
      "--overlay", options.overlay,
      "none: writes reach the bundle's root; memory: they are discarded; dir, or dir:PATH: they go to a folder "
      "below --root, or below PATH, that is removed with the container");
  // What runc has for its own way of making containers.
  parser.Ignored("--no-pivot", false, "Accepted; the container's root is not a mount of the host");
  parser.Ignored("--no-new-keyring", false, "Accepted; the host's keyrings are out of reach");
}

absl::StatusOr<int> ParseSignal(const std::string& text) {
  int number;
  if (absl::SimpleAtoi(text, &number)) {
    if (number >= 1 && number <= 64) return number;
    return absl::InvalidArgumentError("unknown signal \"" + text + "\"");
  }
  std::string name = text;
  std::transform(name.begin(), name.end(), name.begin(), ::toupper);
  if (name.rfind("SIG", 0) == 0) name = name.substr(3);
  for (number = 1; number < 32; ++number) {
    const char* known = ::sigabbrev_np(number);
    if (known != nullptr && name == known) return number;
  }
  int offset = 0;
  if (name.rfind("RTMIN+", 0) == 0 && absl::SimpleAtoi(name.substr(6), &offset) && offset >= 0 && offset <= 30)
    return 34 + offset;
  if (name.rfind("RTMAX-", 0) == 0 && absl::SimpleAtoi(name.substr(6), &offset) && offset >= 0 && offset <= 30)
    return 64 - offset;
  if (name == "RTMIN") return 34;
  if (name == "RTMAX") return 64;
  return absl::InvalidArgumentError("unknown signal \"" + text + "\"");
}

absl::StatusOr<int64_t> ParseBytes(const std::string& text) {
  constexpr std::string_view kUnits = "kmgtp";
  const auto bad = absl::InvalidArgumentError("invalid size: \"" + text + "\"");
  if (text == "-1") return -1;
  const size_t digits = text.find_first_not_of("0123456789.");
  std::string unit = digits == std::string::npos ? "" : text.substr(digits);
  std::transform(unit.begin(), unit.end(), unit.begin(), ::tolower);
  if (!unit.empty() && unit[0] == ' ') unit.erase(0, 1);
  if (!unit.empty() && unit.back() == 'b') unit.pop_back();
  if (!unit.empty() && unit.back() == 'i') unit.pop_back();
  double scale = 1;
  if (!unit.empty()) {
    const size_t place = kUnits.find(unit);
    if (unit.size() != 1 || place == std::string_view::npos) return bad;
    scale = static_cast<double>(uint64_t{1} << (10 * (place + 1)));
  }
  double number;
  if (!absl::SimpleAtod(text.substr(0, digits), &number) || number * scale >= 0x1p63) return bad;
  return static_cast<int64_t>(number * scale);
}

absl::StatusOr<std::string> ReadDocument(const std::string& path) {
  constexpr size_t kMaxDocument = 16 << 20;
  auto text = path == "-" ? ReadAll(BorrowedFd(STDIN_FILENO), kMaxDocument) : ReadAllOf(path.c_str(), kMaxDocument);
  if (text.ok()) return *std::move(text);
  return absl::NotFoundError(absl::StrCat("open ", path, ": ", strerror(text.error().value())));
}

}  // namespace sandbox::cmd
