// Random operations on a gofer tree and on an overlay, compared step by step with the same calls on a real directory.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <random>

#include "gofer/tests/world.h"

namespace sandbox {
namespace {

constexpr int kSteps = 3000;
constexpr auto kTimeLimit = std::chrono::seconds(10);

void Populate(const HostDir& host) {
  for (const char* dir : {"a", "a/a", "b", "b/c", "c"}) host.Mkdir(dir);
  for (const char* file : {"a/x", "a/a/y", "b/x", "b/c/z", "y"}) host.Write(file, std::string("data of ") + file);
  CHECK(::link((host / "y").c_str(), (host / "b/y").c_str()) == 0);
  // Links never lead up: the reference's root has a parent, the guest's has none.
  CHECK(::symlink("y", (host / "c/z").c_str()) == 0);
}

// The reference: errno, 0 for success.
class Native {
 public:
  Native() { Populate(host_); }
  int Run(std::function<int(const HostDir&)> call) { return call(host_) == 0 ? 0 : errno; }
  const HostDir& host() const { return host_; }

 private:
  HostDir host_;
};

template <typename T>
int ErrorOf(const Result<T>& result) {
  return result.ok() ? 0 : result.error().value();
}

// Everything a guest can see of a tree, except times, numbers of inodes and sizes of directories.
std::string Describe(Calls& calls, const std::string& path) {
  std::string text;
  for (const std::string& name : calls.List(path)) {
    const std::string full = (path == "/" ? "" : path) + "/" + name;
    const Attr attr = *calls.Stat(full, false);
    text += full + " " + std::to_string(attr.mode) + " " + std::to_string(attr.IsDir() ? 0 : attr.nlink);
    if (attr.IsRegular()) text += " " + std::to_string(attr.size) + " " + calls.ReadFrom(full);
    if (attr.IsSymlink()) text += " -> " + *calls.Find(full, false)->inode()->ReadLink(calls.context());
    text += "\n";
    if (attr.IsDir()) text += Describe(calls, full);
  }
  return text;
}

// The same of a host directory.
std::string DescribeHost(const HostDir& host, const std::string& path) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(host.path() + path))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names) {
    const std::string full = (path == "/" ? "" : path) + "/" + name;
    struct stat st;
    CHECK(::lstat((host.path() + full).c_str(), &st) == 0);
    text += full + " " + std::to_string(st.st_mode) + " " + std::to_string(S_ISDIR(st.st_mode) ? 0 : st.st_nlink);
    if (S_ISREG(st.st_mode)) text += " " + std::to_string(st.st_size) + " " + host.Read(full.substr(1));
    if (S_ISLNK(st.st_mode)) text += " -> " + std::filesystem::read_symlink(host.path() + full).string();
    text += "\n";
    if (S_ISDIR(st.st_mode)) text += DescribeHost(host, full);
  }
  return text;
}

class Random : public ::testing::TestWithParam<bool> {
 protected:
  void Step(Calls& calls, Native& native);
  std::string Pick() {
    static const char* const kNames[] = {"a", "b", "c", "x", "y", "z"};
    std::string path;
    const int depth = 1 + static_cast<int>(random_() % 3);
    for (int i = 0; i < depth; ++i) path += std::string("/") + kNames[random_() % std::size(kNames)];
    return path;
  }

  std::mt19937 random_{GetParam() ? 11u : 12u};
  std::string what_;
};

void Random::Step(Calls& calls, Native& native) {
  const std::string from = Pick(), to = Pick();
  int got = 0, want = 0;
  const auto both = [&](const char* name, int result, std::function<int(const HostDir&)> call) {
    what_ = std::string(name) + " " + from + " " + to;
    got = result;
    want = native.Run(std::move(call));
  };
  switch (random_() % 11) {
    case 0:
      both("mkdir", ErrorOf(calls.Mkdir(from)), [&](auto& h) { return ::mkdir((h.path() + from).c_str(), 0755); });
      break;
    case 1:
      both("rmdir", ErrorOf(calls.Rmdir(from)), [&](auto& h) { return ::rmdir((h.path() + from).c_str()); });
      break;
    case 2:
      both("unlink", ErrorOf(calls.Unlink(from)), [&](auto& h) { return ::unlink((h.path() + from).c_str()); });
      break;
    case 3:
      both("link", ErrorOf(calls.Link(from, to)),
           [&](auto& h) { return ::link((h.path() + from).c_str(), (h.path() + to).c_str()); });
      break;
    case 4:
      both("symlink", ErrorOf(calls.Symlink("y", from)),
           [&](auto& h) { return ::symlink("y", (h.path() + from).c_str()); });
      break;
    case 5:
    case 6: {
      const unsigned flags = random_() % 4 == 0 ? RENAME_EXCHANGE : random_() % 4 == 0 ? RENAME_NOREPLACE : 0;
      both("rename", ErrorOf(calls.Rename(from, to, flags)), [&](auto& h) {
        return ::renameat2(AT_FDCWD, (h.path() + from).c_str(), AT_FDCWD, (h.path() + to).c_str(), flags);
      });
      what_ += " " + std::to_string(flags);
      break;
    }
    case 7:
    case 8: {
      const int flags = O_WRONLY | (random_() % 2 ? O_CREAT : 0) | (random_() % 2 ? O_APPEND : O_TRUNC);
      const std::string text = "text" + std::to_string(random_() % 100);
      both("write", ErrorOf(calls.WriteTo(from, text, flags)), [&](auto& h) {
        const int fd = ::open((h.path() + from).c_str(), flags, 0644);
        if (fd < 0) return -1;
        const bool ok = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
        ::close(fd);
        return ok ? 0 : -1;
      });
      break;
    }
    case 9: {
      const uint32_t mode = 0600 | (random_() % 0100);
      auto found = calls.Find(from);
      both("chmod", found.ok() ? ErrorOf(ChangeMode(calls.context(), *found, mode)) : found.error().value(),
           [&](auto& h) { return ::chmod((h.path() + from).c_str(), mode); });
      break;
    }
    default: {
      auto found = calls.Find(from);
      const uint64_t size = random_() % 30;
      both("truncate", found.ok() ? ErrorOf(Truncate(calls.context(), *found, size)) : found.error().value(),
           [&](auto& h) { return ::truncate((h.path() + from).c_str(), static_cast<off_t>(size)); });
    }
  }
  ASSERT_EQ(got, want) << what_;
}

TEST_P(Random, BehavesAsTheHost) {
  const bool overlay = GetParam();
  GoferWorld world({.exclusive = true, .read_only = overlay});
  Populate(world.host);
  if (overlay) world.AddOverlay();
  Native native;
  const auto end = std::chrono::steady_clock::now() + kTimeLimit;
  for (int i = 0; i < kSteps && std::chrono::steady_clock::now() < end; ++i) {
    ASSERT_NO_FATAL_FAILURE(Step(*world.calls, native)) << i;
    if (i % 50 != 0) continue;
    ASSERT_EQ(Describe(*world.calls, "/"), DescribeHost(native.host(), "/")) << "after step " << i << ": " << what_;
  }
}

INSTANTIATE_TEST_SUITE_P(Trees, Random, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Overlay" : "Gofer"; });

}  // namespace
}  // namespace sandbox
