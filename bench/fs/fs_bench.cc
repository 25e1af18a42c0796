// What the file path costs inside the sentry (no guest, no trap): VFS, overlay, gofer client and a gofer process, each
// operation next to the host call it stands for. The round_trips counter says how many each iteration took.

#include <benchmark/benchmark.h>
#include <dirent.h>
#include <sys/wait.h>

#include "gofer/server/main.h"
#include "gofer/tests/world.h"

namespace sandbox {
namespace {

enum Kind { kNative, kGofer, kOverlay };

// One host directory and one gofer for the whole run; a tree of files to look at.
class Setup {
 public:
  Setup() {
    std::filesystem::create_directories(host_ / "a/b/c/d");
    host_.Write("a/b/c/d/file", std::string(4096, 'x'));
    std::filesystem::create_directories(host_ / "many");
    for (int i = 0; i < 1000; ++i) host_.Write("many/f" + std::to_string(i), "");
    auto pair = gofer::Channel::MakePair();
    CHECK(pair.ok());
    if (::fork() == 0) {
      pair->second.reset();
      gofer::GoferOptions options;
      options.trees.push_back({false, UniqueFd(::open(host_.path().c_str(), O_PATH | O_CLOEXEC))});
      options.connection = std::move(pair->first);
      ::_exit(gofer::GoferMain(std::move(options)));
    }
    pair->first.reset();
    auto client = GoferClient::Connect(std::move(pair->second));
    CHECK(client.ok());
    client_ = *client;
  }
  const HostDir& host() const { return host_; }
  GoferClient& client() { return *client_; }
  // A mount with nothing cached.
  std::unique_ptr<Calls> Fresh(Kind kind) {
    auto fs = GoferFs::Create(client_, 0, {});
    CHECK(fs.ok());
    if (kind == kGofer) return std::make_unique<Calls>(*fs);
    auto overlay = MakeOverlay(KernelContext(), TmpfsFileSystem::Create(), {*fs});
    CHECK(overlay.ok());
    return std::make_unique<Calls>(*overlay);
  }

 private:
  HostDir host_;
  RefPtr<GoferClient> client_;
};

Setup& World() {
  static auto* setup = new Setup;
  return *setup;
}

// Counts round trips over the measured loop.
class Trips {
 public:
  explicit Trips(benchmark::State& state) : state_(state), before_(World().client().round_trips()) {}
  ~Trips() {
    const auto trips = static_cast<double>(World().client().round_trips() - before_);
    state_.counters["round_trips"] = trips / static_cast<double>(state_.iterations());
  }

 private:
  benchmark::State& state_;
  const uint64_t before_;
};

void StatHit(benchmark::State& state, Kind kind) {
  const std::string native = World().host() / "a/b/c/d/file";
  auto calls = World().Fresh(kind);
  CHECK(calls->Exists("/a/b/c/d/file"));
  Trips trips(state);
  for (auto _ : state) {
    struct stat st;
    if (kind == kNative)
      benchmark::DoNotOptimize(::stat(native.c_str(), &st));
    else
      benchmark::DoNotOptimize(calls->Stat("/a/b/c/d/file"));
  }
}

void StatMissing(benchmark::State& state, Kind kind) {
  auto calls = World().Fresh(kind);
  int i = 0;
  Trips trips(state);
  for (auto _ : state) {
    const std::string name = "/many/none" + std::to_string(i++);
    struct stat st;
    if (kind == kNative)
      benchmark::DoNotOptimize(::stat((World().host().path() + name).c_str(), &st));
    else
      benchmark::DoNotOptimize(calls->Exists(name));
  }
}

void ColdWalk(benchmark::State& state, Kind kind) {
  Trips trips(state);
  for (auto _ : state) {
    state.PauseTiming();
    auto calls = World().Fresh(kind);
    state.ResumeTiming();
    benchmark::DoNotOptimize(calls->Stat("/a/b/c/d/file"));
  }
}

void OpenReadClose(benchmark::State& state, Kind kind) {
  const std::string native = World().host() / "a/b/c/d/file";
  auto calls = World().Fresh(kind);
  char buffer[4096];
  Trips trips(state);
  for (auto _ : state) {
    if (kind == kNative) {
      const int fd = ::open(native.c_str(), O_RDONLY);
      benchmark::DoNotOptimize(::read(fd, buffer, sizeof(buffer)));
      ::close(fd);
    } else {
      auto file = calls->Open("/a/b/c/d/file", O_RDONLY);
      auto to = IoSequence::Kernel(buffer, sizeof(buffer));
      benchmark::DoNotOptimize(ReadFile(calls->context(), **file, to));
    }
  }
}

void CreateWriteUnlink(benchmark::State& state, Kind kind) {
  auto calls = World().Fresh(kind);
  int i = 0;
  Trips trips(state);
  for (auto _ : state) {
    const std::string name = "/many/new" + std::to_string(i++);
    if (kind == kNative) {
      const std::string path = World().host().path() + name;
      const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644);
      benchmark::DoNotOptimize(::write(fd, "x", 1));
      ::close(fd);
      ::unlink(path.c_str());
    } else {
      CHECK(calls->WriteTo(name, "x", O_WRONLY | O_CREAT | O_EXCL).ok());
      CHECK(calls->Unlink(name).ok());
    }
  }
}

struct CountSink : DirSink {
  int count = 0;
  bool Emit(std::string_view, uint64_t, uint8_t, int64_t) override { return ++count, true; }
};

void ReadDir1000(benchmark::State& state, Kind kind) {
  auto calls = World().Fresh(kind);
  Trips trips(state);
  for (auto _ : state) {
    if (kind == kNative) {
      DIR* dir = ::opendir((World().host() / "many").c_str());
      while (::readdir(dir) != nullptr) {
      }
      ::closedir(dir);
    } else {
      CountSink sink;
      CHECK(ReadDirectory(calls->context(), **calls->Open("/many", O_RDONLY | O_DIRECTORY), sink).ok());
      CHECK(sink.count >= 1000);
    }
  }
}

// `ls -l` of a directory nobody has looked at.
void ListAndStat1000(benchmark::State& state, Kind kind) {
  Trips trips(state);
  for (auto _ : state) {
    state.PauseTiming();
    auto calls = World().Fresh(kind);
    state.ResumeTiming();
    if (kind == kNative) {
      DIR* dir = ::opendir((World().host() / "many").c_str());
      while (const dirent* entry = ::readdir(dir)) {
        struct stat st;
        ::fstatat(::dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
      }
      ::closedir(dir);
    } else {
      struct Names : DirSink {
        std::vector<std::string> names;
        bool Emit(std::string_view name, uint64_t, uint8_t, int64_t) override { return names.emplace_back(name), true; }
      } sink;
      CHECK(ReadDirectory(calls->context(), **calls->Open("/many", O_RDONLY | O_DIRECTORY), sink).ok());
      for (const std::string& name : sink.names) CHECK(calls->Stat("/many/" + name, false).ok());
    }
  }
}

void RoundTrip(benchmark::State& state) {
  const auto root = World().client().trees()[0].root;
  for (auto _ : state) benchmark::DoNotOptimize(World().client().GetAttr(root));
}
BENCHMARK(RoundTrip);

#define EACH(name)                          \
  BENCHMARK_CAPTURE(name, native, kNative); \
  BENCHMARK_CAPTURE(name, gofer, kGofer);   \
  BENCHMARK_CAPTURE(name, overlay, kOverlay)

EACH(StatHit);
EACH(StatMissing);
EACH(ColdWalk);
EACH(OpenReadClose);
EACH(CreateWriteUnlink);
EACH(ReadDir1000);
EACH(ListAndStat1000);

}  // namespace
}  // namespace sandbox

BENCHMARK_MAIN();
