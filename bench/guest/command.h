// Timing of whole shell commands.
#pragma once

namespace sandbox::bench {

// NAME --repetitions=N [--before=SHELL] SHELL: runs `before` untimed and SHELL timed, N times, and
// prints a line of JSON in milliseconds. The command's output is dropped; a command that fails is
// an error line and exit status 1.
int TimeCommand(int argc, char** argv);

}  // namespace sandbox::bench
