#include "runsc/cli/main.h"

int main(int argc, char** argv) { return sandbox::cli::Main(argc, argv); }
