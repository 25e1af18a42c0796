// The command line: parses global options, picks the subcommand, runs it.
#pragma once

namespace sandbox::cli {

int Main(int argc, char** argv);

}  // namespace sandbox::cli
