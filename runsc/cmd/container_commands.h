// What the commands of a container's life share.
#pragma once

#include <cstdint>
#include <string>

#include "runsc/cli/command.h"
#include "runsc/container/container.h"

namespace sandbox::cmd {

// A container found by the id on the command line.
struct Found {
  ContainerDir dir;
  ContainerState state;
};
// NotFound: "container does not exist". With `lock` nobody else changes it meanwhile.
absl::StatusOr<Found> Find(const cli::GlobalOptions& options, const std::string& id, bool lock);

// Reports the error and returns the exit code it carries.
int Fail(const cli::GlobalOptions& options, const absl::Status& status);

// StartContainer and DeleteContainer, with their warnings in the log.
absl::Status Start(const cli::GlobalOptions& options, const ContainerDir& dir, ContainerState& state);
absl::Status Delete(const cli::GlobalOptions& options, const std::string& id, bool force);

// Options of create and run.
void AddCreateOptions(cli::Parser& parser, CreateOptions& options);

// SIGTERM, TERM or 15.
absl::StatusOr<int> ParseSignal(const std::string& text);

// A number of bytes, "100M" or "1.5GiB" (powers of 1024), or -1.
absl::StatusOr<int64_t> ParseBytes(const std::string& text);

// The whole of a file, or of standard input for "-".
absl::StatusOr<std::string> ReadDocument(const std::string& path);

}  // namespace sandbox::cmd
