#include "runsc/cli/title.h"

#include <algorithm>
#include <cstring>

namespace sandbox::cli {
namespace {

char* title_start = nullptr;
size_t title_size = 0;

}  // namespace

void RememberTitle(int argc, char** argv) {
  if (argc <= 0) return;
  // The kernel lays the strings out one behind the other; a caller of ours may not have.
  title_start = argv[0];
  char* end = argv[0];
  for (int i = 0; i < argc && argv[i] == end; ++i) end += std::strlen(argv[i]) + 1;
  title_size = static_cast<size_t>(end - title_start);
}

void SetTitle(const std::vector<std::string>& args) {
  std::string text;
  for (const std::string& arg : args) text.append(arg).push_back('\0');
  if (title_size == 0) return;
  text.resize(std::min(text.size(), title_size - 1));
  std::memset(title_start, 0, title_size);
  std::memcpy(title_start, text.data(), text.size());
}

}  // namespace sandbox::cli
