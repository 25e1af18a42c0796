#include "gofer/tests/world.h"

#include <algorithm>

namespace sandbox {
namespace {

// Takes three entries a call, as a guest with a small buffer would.
class NameSink final : public DirSink {
 public:
  explicit NameSink(std::vector<std::string>& names) : names_(names) {}
  bool Emit(std::string_view name, uint64_t ino, uint8_t, int64_t) override {
    if (taken_ == 3) return false;
    ++taken_;
    CHECK(ino != 0);
    if (name != "." && name != "..") names_.emplace_back(name);
    return true;
  }
  int taken() const { return taken_; }

 private:
  std::vector<std::string>& names_;
  int taken_ = 0;
};

}  // namespace

std::vector<std::string> Calls::List(std::string_view path) {
  auto file = Open(path, O_RDONLY | O_DIRECTORY);
  if (!file.ok()) return {"!" + std::to_string(file.error().value())};
  std::vector<std::string> names;
  for (;;) {
    NameSink sink(names);
    const auto read = ReadDirectory(context(), **file, sink);
    if (!read.ok()) return {"!" + std::to_string(read.error().value())};
    if (sink.taken() == 0) break;
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace sandbox
