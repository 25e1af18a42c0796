// Round trips of each platform's primitives, with no kernel above them. Times are wall clock, as both ends are busy.
//   bazel run --config=opt //bench/platform:platform_bench -- --benchmark_filter=ptrace
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "base/check.h"
#include "platform/api/registry.h"

namespace sandbox::platform {
namespace {

constexpr uint64_t kCode = 0x400000, kData = 0x600000, kFree = 0x10000000;
constexpr uint64_t kShortCall = 400, kBlockCall = 401, kFullCall = 402;

// mov %ebx,%eax; syscall; jmp back: calls for ever, with the number the test put into rbx.
constexpr uint8_t kLoop[] = {0x89, 0xd8, 0x0f, 0x05, 0xeb, 0xfa};
constexpr uint8_t kSpin[] = {0xeb, 0xfe};

std::map<std::string_view, std::unique_ptr<Platform>> platforms;

// Guest thread whose calls a lambda serves; it ends the thread when the benchmark is over.
class Guest final : public TrapHandler {
 public:
  std::unique_ptr<Thread> thread;
  std::function<void(Thread&)> serve;

  Served HandleTrap(Thread& self, const Trap&) override {
    if (serve) {
      serve(self);
    } else {
      self.Exit();
    }
    return Served::kDone;
  }
  // Gives the calling thread of the benchmark and the worker their turns.
  void Done() {
    std::lock_guard<std::mutex> lock(mu_);
    done_ = true;
    changed_.notify_one();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mu_);
    changed_.wait(lock, [&] { return done_; });
    done_ = false;
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool done_ = false;
};

std::unique_ptr<Thread> NewProcess(Platform& platform, Guest& guest, std::span<const uint8_t> code) {
  auto thread = std::move(*platform.NewProcess(guest));
  for (const uint64_t at : {kCode, kData}) {
    MemoryOp op;
    op.kind = MemoryOp::Kind::kMapAnonymous;
    op.range = {GuestAddr(at), GuestAddr(at + 256 * kPageSize)};
    op.prot = PROT_READ | PROT_WRITE | (at == kCode ? PROT_EXEC : 0);
    op.flags = MAP_PRIVATE;
    thread->QueueMemoryOp(op);
  }
  CHECK(thread->FlushMemoryOps().ok());
  CHECK(thread->address_space()->Write(GuestAddr(kCode), code.data(), code.size()).ok());
  thread->regs().rip = kCode;
  return thread;
}

// Runs `body` once per iteration inside the guest's call `nr`.
void InCalls(benchmark::State& state, std::string_view name, uint64_t nr, std::function<void(Thread&)> body) {
  Guest guest;
  guest.thread = NewProcess(*platforms.at(name), guest, kLoop);
  guest.thread->regs().rbx = nr;
  guest.serve = [&](Thread& self) {
    if (!state.KeepRunning()) {
      self.Exit();
      guest.Done();
      return;
    }
    body(self);
    self.SetReturn(0);
  };
  guest.thread->Start();
  guest.Wait();
}

void Interrupt(benchmark::State& state, std::string_view name) {
  Guest guest;
  bool last = false;
  guest.thread = NewProcess(*platforms.at(name), guest, kSpin);
  guest.serve = [&](Thread& self) {
    if (last) self.Exit();
    guest.Done();
  };
  guest.thread->Start();
  for (auto _ : state) {
    guest.thread->Interrupt();
    guest.Wait();
  }
  last = true;
  guest.thread->Interrupt();
  guest.Wait();
}

void Fresh(benchmark::State& state, std::string_view name) {
  for (auto _ : state) {
    Guest guest;
    guest.thread = std::move(*platforms.at(name)->NewProcess(guest));
    guest.thread->Exit();
  }
}

void CloneOnce(Thread& self, CloneOptions options) {
  Guest child;
  auto made = self.Clone(options, child);
  CHECK(made.ok());
  (*made)->Exit();
}

MemoryOp Map(bool map) {
  MemoryOp op;
  op.kind = map ? MemoryOp::Kind::kMapAnonymous : MemoryOp::Kind::kUnmap;
  op.range = {GuestAddr(kFree), GuestAddr(kFree + kPageSize)};
  op.prot = PROT_READ;
  op.flags = MAP_PRIVATE;
  return op;
}

void RegisterFor(std::string_view name) {
  auto add = [&](const std::string& what, std::function<void(benchmark::State&)> run) {
    benchmark::RegisterBenchmark((std::string(name) + "/" + what).c_str(), std::move(run))->UseRealTime();
  };
  auto add_call = [&](const std::string& what, uint64_t nr, std::function<void(Thread&)> body) {
    add(what, [=](benchmark::State& state) { InCalls(state, name, nr, body); });
  };
  add_call("call_short", kShortCall, [](Thread&) {});
  add_call("call_may_block", kBlockCall, [](Thread&) {});
  add_call("call_full", kFullCall, [](Thread&) {});
  for (const size_t size : {8, 4096, 65536, 1 << 20}) {
    auto buffer = std::make_shared<std::vector<char>>(size);
    add_call("read_" + std::to_string(size), kFullCall,
             [=](Thread& self) { CHECK(self.address_space()->Read(GuestAddr(kData), buffer->data(), size).ok()); });
    add_call("write_" + std::to_string(size), kFullCall,
             [=](Thread& self) { CHECK(self.address_space()->Write(GuestAddr(kData), buffer->data(), size).ok()); });
  }
  add_call("compare_exchange", kFullCall,
           [](Thread& self) { CHECK(self.address_space()->CompareExchange(GuestAddr(kData), 0, 0).ok()); });
  add_call("queued_map_unmap", kFullCall, [](Thread& self) {
    self.QueueMemoryOp(Map(true));
    self.QueueMemoryOp(Map(false));
  });
  add_call("flush_map_unmap", kFullCall, [](Thread& self) {
    self.QueueMemoryOp(Map(true));
    self.QueueMemoryOp(Map(false));
    CHECK(self.FlushMemoryOps().ok());
  });
  add_call("get_set_fpstate", kFullCall, [](Thread& self) { CHECK(self.SetFpState(*self.GetFpState()).ok()); });
  add_call("fork_exit", kFullCall, [](Thread& self) { CloneOnce(self, {}); });
  add_call("vfork_exit", kFullCall, [](Thread& self) { CloneOnce(self, {.share_memory = true}); });
  add_call("thread_exit", kFullCall, [](Thread& self) { CloneOnce(self, {.share_memory = true, .thread = true}); });
  add("interrupt", [=](benchmark::State& state) { Interrupt(state, name); });
  add("fresh_process_exit", [=](benchmark::State& state) { Fresh(state, name); });
}

}  // namespace
}  // namespace sandbox::platform

int main(int argc, char** argv) {
  using namespace sandbox::platform;
  PlatformOptions options;
  options.lanes.fill(Lane::kShort);
  options.lanes[kBlockCall] = Lane::kMayBlock;
  options.lanes[kFullCall] = Lane::kFull;
  for (const std::string_view name : RegisteredPlatforms()) {
    platforms[name] = std::move(*CreatePlatform(name, options));
    RegisterFor(name);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  platforms.clear();
  return 0;
}
