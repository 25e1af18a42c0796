// A subcommand: one file in runsc/cmd each, registered from there.
#pragma once

#include <memory>
#include <vector>

#include "runsc/cli/options.h"
#include "runsc/cli/parser.h"

namespace sandbox::cli {

class Command {
 public:
  virtual ~Command() = default;
  virtual const char* name() const = 0;
  virtual const char* help() const = 0;
  // Declares options on the subcommand's parser.
  virtual void Configure(Parser& parser) = 0;
  // Returns runsc's exit code. Errors go through ReportError.
  virtual int Run(const GlobalOptions& options) = 0;
};

// At namespace scope in the command's file.
class CommandRegistration {
 public:
  explicit CommandRegistration(std::unique_ptr<Command> command);
};

std::vector<Command*> AllCommands();

}  // namespace sandbox::cli
