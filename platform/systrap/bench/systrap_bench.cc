// Costs of the platform's primitives, without a kernel above it. Usage: systrap_bench [platform [scale [case]]]
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>

#include "platform/api/platform.h"
#include "platform/api/registry.h"
#include "platform/stub/stub.h"

namespace sandbox::platform {
namespace {

constexpr uint64_t kCode = 0x400000, kData = 0x600000, kStack = 0x800000;
constexpr uint64_t kShortCall = 300, kParkCall = 301, kFullCall = 302, kForkCall = 303, kThreadCall = 304,
                   kVforkCall = 305, kExitCall = 306, kMapCall = 307, kExecCall = 308, kWaitCall = 309,
                   kBlockCall = 310;

double NowNs() {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Processor time of this process and of the dead stubs: what a call costs on a machine that others use, too.
double CpuNs() {
  rusage self, children;
  ::getrusage(RUSAGE_SELF, &self);
  ::getrusage(RUSAGE_CHILDREN, &children);
  double sum = 0;
  for (const timeval& t : {self.ru_utime, self.ru_stime, children.ru_utime, children.ru_stime}) {
    sum += t.tv_sec * 1e9 + t.tv_usec * 1e3;
  }
  return sum;
}

struct Cost {
  double elapsed, cpu;
};

// A process tree with a wait call: as much of a kernel as fork and wait need.
class Task : public TrapHandler {
 public:
  std::unique_ptr<Thread> thread;
  Task* parent = nullptr;
  std::mutex mu;
  std::condition_variable cv;
  int dead_children = 0;
  bool done = false;
  Platform* platform = nullptr;
  std::function<void(Thread&)> load;  // fills a fresh process

  Served HandleTrap(Thread& t, const Trap& trap) override {
    Serve(t, trap);
    return Served::kDone;
  }

  void Serve(Thread& t, const Trap& trap) {
    if (trap.kind != Trap::Kind::kSyscall) {
      std::printf("unexpected trap %d signo %d addr %lx ip %lx\n", (int)trap.kind, trap.fault.signo,
                  trap.fault.address.value(), trap.ip.value());
      return Finish(t);
    }
    switch (trap.nr) {
      case kForkCall:
        return Fork(t, {});
      case kThreadCall:
        return Fork(t, {.share_memory = true, .thread = true});
      case kVforkCall:
        return Fork(t, {.share_memory = true});
      case kExitCall:
        return Finish(t);
      case kWaitCall: {
        std::unique_lock lock(mu);
        if (dead_children == 0) {
          t.BeginBlock();
          cv.wait(lock, [&] { return dead_children > 0; });
          t.EndBlock();
        }
        --dead_children;
        t.SetReturn(0);
        return;
      }
      case kBlockCall:
        t.BeginBlock();
        t.EndBlock();
        t.SetReturn(0);
        return;
      case kMapCall: {
        MemoryOp op;
        op.kind = MemoryOp::Kind::kMapAnonymous;
        op.range = {GuestAddr(0x10000000), GuestAddr(0x10010000)};
        op.prot = PROT_READ | PROT_WRITE;
        op.flags = MAP_PRIVATE;
        t.QueueMemoryOp(op);
        t.SetReturn(0);
        return;
      }
      case kExecCall: {
        auto fresh = platform->NewProcess(*this);
        load(**fresh);
        (*fresh)->regs().rip = kCode;
        (*fresh)->regs().rbx = t.regs().rbx - 1;
        t.Exit();
        thread = std::move(*fresh);
        thread->Start();
        return;
      }
      default:
        t.SetReturn(1);
        return;
    }
  }

  void Fork(Thread& t, const CloneOptions& options) {
    auto* child = new Task;
    child->parent = this;
    auto made = t.Clone(options, *child);
    if (!made.ok()) {
      std::printf("clone failed: %d\n", made.error().value());
      t.SetReturn(-made.error().value());
      delete child;
      return;
    }
    child->thread = std::move(*made);
    if (options.share_memory) child->thread->regs().rsp -= 0x1000;
    t.SetReturn(1);
    child->thread->Start();
  }

  void Finish(Thread& t) {
    t.Exit();
    Task* p = parent;
    if (p != nullptr) {
      std::unique_lock lock(p->mu);
      ++p->dead_children;
      p->cv.notify_all();
      lock.unlock();
      delete this;
      return;
    }
    std::unique_lock lock(mu);
    done = true;
    cv.notify_all();
  }
};

#define CODE(name, text)                                                            \
  asm(".pushsection .rodata\n" #name "_b:\n" text "\n" #name "_e:\n.popsection\n"); \
  extern "C" const char name##_b[], name##_e[];                                     \
  const std::string_view name(name##_b, name##_e - name##_b)

#define LOOP(nr) "1: mov $" #nr ", %eax\nsyscall\ndec %rbx\njnz 1b\nmov $306, %eax\nsyscall\n"

// What the trampoline of a rewritten call site does. The entry's address is in the data.
#define FAST_LOOP(nr)                                                         \
  "1: mov $" #nr                                                              \
  ", %eax\nlea 2f(%rip), %r11\njmp *0x600000\nsyscall\n2: dec %rbx\njnz 1b\n" \
  "mov $306, %eax\nsyscall\n"

CODE(code_short, LOOP(300));
CODE(code_fast, FAST_LOOP(300));
CODE(code_fast_map, FAST_LOOP(307));
CODE(code_fast_block, FAST_LOOP(310));
CODE(code_local, FAST_LOOP(39));
CODE(code_park, LOOP(301));
CODE(code_full, LOOP(302));
CODE(code_map, LOOP(307));
CODE(code_block, LOOP(310));
CODE(code_short_block, LOOP(311));
CODE(code_exec, "mov $308, %eax\ntest %rbx,%rbx\njnz 1f\nmov $306,%eax\n1: syscall\n");
#define FORK_LOOP(nr)                                                                   \
  "1: mov $" #nr                                                                        \
  ", %eax\nsyscall\ntest %eax,%eax\njz 2f\nmov $309, %eax\nsyscall\ndec %rbx\njnz 1b\n" \
  "2: mov $306, %eax\nsyscall\n"
CODE(code_fork, FORK_LOOP(303));
CODE(code_thread, FORK_LOOP(304));
CODE(code_vfork, FORK_LOOP(305));

void Load(Thread& t, std::string_view code) {
  const auto map = [&](uint64_t at, uint64_t size) {
    MemoryOp op;
    op.kind = MemoryOp::Kind::kMapAnonymous;
    op.range = {GuestAddr(at), GuestAddr(at + size)};
    op.prot = PROT_READ | PROT_WRITE | PROT_EXEC;
    op.flags = MAP_PRIVATE;
    t.QueueMemoryOp(op);
  };
  map(kCode, 0x1000);
  map(kData, 0x10000);
  map(kStack - 0x10000, 0x10000);
  if (!t.FlushMemoryOps().ok()) std::printf("map failed\n");
  if (!t.address_space()->Write(GuestAddr(kCode), code.data(), code.size()).ok()) std::printf("write failed\n");
  const uint64_t entry = stub::PlacedAddress(&stub::StubFastEntry);
  if (!t.address_space()->Write(GuestAddr(kData), &entry, sizeof(entry)).ok()) std::printf("write failed\n");
  t.SetLocalIdentity(LocalIdentity{.pid = 1, .tid = 1});
}

Cost Run(Platform& platform, std::string_view code, uint64_t count) {
  Task task;
  task.platform = &platform;
  task.load = [&](Thread& t) { Load(t, code); };
  auto made = platform.NewProcess(task);
  if (!made.ok()) {
    std::printf("NewProcess: %d\n", made.error().value());
    return {};
  }
  task.thread = std::move(*made);
  Load(*task.thread, code);
  task.thread->regs().rip = kCode;
  task.thread->regs().rsp = kStack;
  task.thread->regs().rbx = count;
  const double start = NowNs(), cpu = CpuNs();
  task.thread->Start();
  std::unique_lock lock(task.mu);
  if (!task.cv.wait_for(lock, std::chrono::seconds(60), [&] { return task.done; })) std::printf("HANG\n");
  const double elapsed = NowNs() - start;
  ::usleep(20000);  // the last stub is reaped, and so counted
  return {elapsed / count, (CpuNs() - cpu) / count};
}

Cost NativeFork(int count) {
  const double start = NowNs(), cpu = CpuNs();
  for (int i = 0; i < count; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    int status;
    (void)::waitpid(pid, &status, 0);
  }
  return {(NowNs() - start) / count, (CpuNs() - cpu) / count};
}

Cost NativeThread(int count) {
  const double start = NowNs(), cpu = CpuNs();
  for (int i = 0; i < count; ++i) std::thread([] {}).join();
  return {(NowNs() - start) / count, (CpuNs() - cpu) / count};
}

}  // namespace
}  // namespace sandbox::platform

int main(int argc, char** argv) {
  using namespace sandbox::platform;
  PlatformOptions options;
  options.lanes.fill(Lane::kShort);
  for (auto nr : {kFullCall, kForkCall, kThreadCall, kVforkCall, kExitCall, kMapCall, kExecCall}) {
    options.lanes[nr] = Lane::kFull;
  }
  for (auto nr : {kParkCall, kWaitCall, kBlockCall}) options.lanes[nr] = Lane::kMayBlock;
  auto made = CreatePlatform(argc > 1 ? argv[1] : "systrap", options);
  if (!made.ok()) return 1;
  Platform& p = **made;
  ::usleep(20000);
  const int scale = argc > 2 ? std::atoi(argv[2]) : 1;
  const auto show = [](const char* name, Cost cost) {
    std::printf("%-22s %9.2f us elapsed %9.2f us cpu\n", name, cost.elapsed / 1000, cost.cpu / 1000);
    std::fflush(stdout);
  };
  const char* const only = argc > 3 ? argv[3] : nullptr;
  const auto run = [&](const char* name, std::string_view code, int count) {
    if (only == nullptr || std::strcmp(only, name) == 0) show(name, Run(p, code, count * scale));
  };
  run("short call", code_short, 50000);
  run("fast call", code_fast, 200000);
  run("local call", code_local, 1000000);
  run("fast mmap of 64 KiB", code_fast_map, 50000);
  run("fast blocking call", code_fast_block, 20000);
  run("full call", code_full, 50000);
  run("mmap of 64 KiB", code_map, 20000);
  run("blocking call", code_block, 20000);
  run("fork+exit+wait", code_fork, 1000);
  if (only == nullptr) show("native fork+wait", NativeFork(1000 * scale));
  run("vfork+exit+wait", code_vfork, 1000);
  run("thread+exit+wait", code_thread, 1000);
  if (only == nullptr) show("native thread+join", NativeThread(1000 * scale));
  run("exec", code_exec, 1000);
  return 0;
}
