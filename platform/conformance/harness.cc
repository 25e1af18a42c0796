#include "platform/conformance/harness.h"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <map>
#include <thread>

#include "base/check.h"
#include "platform/stub/stub.h"

namespace sandbox::platform {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);

std::map<std::string_view, std::unique_ptr<Platform>>& Platforms() {
  static std::map<std::string_view, std::unique_ptr<Platform>> platforms;
  return platforms;
}

}  // namespace

Task::~Task() {
  if (thread_ == nullptr) return;
  EXPECT_TRUE(WaitExit()) << "thread never exited";
}

void Task::Adopt(std::unique_ptr<Thread> thread) { thread_ = std::move(thread); }

void Task::Run(std::unique_ptr<Thread> thread) {
  ASSERT_NE(thread, nullptr);
  Adopt(std::move(thread));
  thread_->Start();
}

void Task::Exit() {
  thread_->Exit();
  std::lock_guard<std::mutex> lock(mu_);
  exited_ = true;
  changed_.notify_all();
}

bool Task::exited() {
  std::lock_guard<std::mutex> lock(mu_);
  return exited_;
}

bool Task::WaitExit() {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kPatience, [&] { return exited_; });
}

bool Task::WaitReports(size_t count) {
  std::unique_lock<std::mutex> lock(mu_);
  return changed_.wait_for(lock, kPatience, [&] { return reports_.size() >= count; });
}

std::vector<uint64_t> Task::reports() {
  std::lock_guard<std::mutex> lock(mu_);
  return reports_;
}

std::vector<Trap> Task::traps() {
  std::lock_guard<std::mutex> lock(mu_);
  return traps_;
}

void Task::Report(uint64_t value) {
  std::lock_guard<std::mutex> lock(mu_);
  reports_.push_back(value);
  changed_.notify_all();
}

TrapHandler::Served Task::HandleDeferred(Thread& thread) {
  thread.EndBlock();
  thread.SetReturn(kDeferredResult);
  return Served::kDone;
}

TrapHandler::Served Task::HandleTrap(Thread& thread, const Trap& trap) {
  if (deferred && trap.kind == Trap::Kind::kSyscall && trap.nr == kCallBlock && thread.CanDefer()) {
    thread.BeginDefer();
    deferred(thread);
    return Served::kDeferred;
  }
  if (on_any) {
    on_any(*this, thread, trap);
    return Served::kDone;
  }
  if (trap.kind == Trap::Kind::kSyscall) {
    if (trap.nr == kCallExit) {
      Exit();
    } else if (trap.nr == kCallReport) {
      thread.SetReturn(0);
      Report(trap.args[0]);
    } else if (trap.nr >= kCallHook && trap.nr <= kCallBlock && hook) {
      hook(*this, thread, trap);
    } else {
      thread.SetReturn(-ENOSYS);
    }
    return Served::kDone;
  }
  {
    std::lock_guard<std::mutex> lock(mu_);
    traps_.push_back(trap);
  }
  if (hook) {
    hook(*this, thread, trap);
  } else {
    Exit();
  }
  return Served::kDone;
}

void CreateAllPlatforms() {
  for (const std::string_view name : RegisteredPlatforms()) {
    PlatformOptions options;
    options.lanes.fill(Lane::kShort);
    options.lanes[kCallExit] = Lane::kFull;
    options.lanes[kCallReport] = Lane::kMayBlock;
    options.lanes[kCallHook] = Lane::kFull;
    options.lanes[kCallBlock] = Lane::kMayBlock;
    options.inputs.inputs[kCallShort][0] = {CallInput::Kind::kFixed, 0, 0, 8};
    options.inputs.inputs[kCallShort][1] = {CallInput::Kind::kCounted, 1, 2, 16};
    options.inputs.inputs[kCallBlock][0] = {CallInput::Kind::kString, 0, 0, 0};
    auto platform = CreatePlatform(name, options);
    CHECK(platform.ok());
    Platforms()[name] = std::move(*platform);
  }
}

Platform& PlatformNamed(std::string_view name) { return *Platforms().at(name); }

namespace {

MemoryOp Op(MemoryOp::Kind kind, uint64_t at, uint64_t size) {
  MemoryOp op;
  op.kind = kind;
  op.range = {GuestAddr(at), GuestAddr(at + size)};
  return op;
}

}  // namespace

MemoryOp MapAnonymous(uint64_t at, uint64_t size, int prot) {
  MemoryOp op = Op(MemoryOp::Kind::kMapAnonymous, at, size);
  op.prot = prot;
  op.flags = MAP_PRIVATE;
  return op;
}

MemoryOp MapFile(uint64_t at, uint64_t size, int prot, int flags, int fd, uint64_t offset) {
  MemoryOp op = Op(MemoryOp::Kind::kMapFile, at, size);
  op.prot = prot;
  op.flags = flags;
  op.fd = BorrowedFd(fd);
  op.offset = offset;
  return op;
}

MemoryOp Unmap(uint64_t at, uint64_t size) { return Op(MemoryOp::Kind::kUnmap, at, size); }

MemoryOp Protect(uint64_t at, uint64_t size, int prot) {
  MemoryOp op = Op(MemoryOp::Kind::kProtect, at, size);
  op.prot = prot;
  return op;
}

void PlatformTest::AddCode(Thread& thread, int index, std::string_view code) {
  ASSERT_LE(code.size(), kPageSize);
  const uint64_t at = kCodeAddr + static_cast<uint64_t>(index) * kPageSize;
  thread.QueueMemoryOp(MapAnonymous(at, kPageSize, PROT_READ | PROT_WRITE));
  ASSERT_TRUE(thread.FlushMemoryOps().ok());
  const auto written = thread.address_space()->Write(GuestAddr(at), code.data(), code.size());
  ASSERT_TRUE(written.ok() && *written == code.size());
  thread.QueueMemoryOp(Protect(at, kPageSize, PROT_READ | PROT_EXEC));
  ASSERT_TRUE(thread.FlushMemoryOps().ok());
}

std::unique_ptr<Thread> PlatformTest::NewProcess(Task& task, std::string_view code) {
  auto made = platform().NewProcess(task);
  EXPECT_TRUE(made.ok());
  if (!made.ok()) return nullptr;
  std::unique_ptr<Thread> thread = std::move(*made);
  AddCode(*thread, 0, code);
  thread->QueueMemoryOp(MapAnonymous(kDataAddr, kDataSize, PROT_READ | PROT_WRITE));
  thread->QueueMemoryOp(MapAnonymous(kStackTop - 4 * kPageSize, 4 * kPageSize, PROT_READ | PROT_WRITE));
  EXPECT_TRUE(thread->FlushMemoryOps().ok());
  WriteWord(*thread, kFastEntryWord, stub::PlacedAddress(&stub::StubFastEntry));
  thread->regs().rip = kCodeAddr;
  thread->regs().rsp = kStackTop;
  return thread;
}

uint64_t ReadWord(Thread& thread, uint64_t at) {
  uint64_t value = 0;
  const auto got = thread.address_space()->Read(GuestAddr(at), &value, sizeof(value));
  EXPECT_TRUE(got.ok() && *got == sizeof(value)) << "reading guest memory at " << std::hex << at;
  return value;
}

void WriteWord(Thread& thread, uint64_t at, uint64_t value) {
  const auto got = thread.address_space()->Write(GuestAddr(at), &value, sizeof(value));
  EXPECT_TRUE(got.ok() && *got == sizeof(value)) << "writing guest memory at " << std::hex << at;
}

void AwaitHostState(int32_t host_tid, std::string_view states) {
  const std::string path = "/proc/" + std::to_string(host_tid) + "/stat";
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  char state = 0;
  while (std::chrono::steady_clock::now() < deadline) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    const size_t end = line.rfind(')');  // of the name, which may contain anything
    state = end != std::string::npos && end + 2 < line.size() ? line[end + 2] : 'X';
    if (states.find(state) != std::string_view::npos) return;
    std::this_thread::yield();
  }
  ADD_FAILURE() << "host thread " << host_tid << " is in state " << state << ", not in one of " << states;
}

UniqueFd MakeFile(int pages, uint8_t fill) {
  UniqueFd fd(memfd_create("conformance", MFD_CLOEXEC));
  EXPECT_TRUE(fd.valid());
  for (int i = 0; i < pages; ++i) {
    std::vector<uint8_t> page(kPageSize, static_cast<uint8_t>(fill + i));
    EXPECT_EQ(pwrite(fd.get(), page.data(), page.size(), i * static_cast<off_t>(kPageSize)), ssize_t{kPageSize});
  }
  return fd;
}

}  // namespace sandbox::platform

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  sandbox::platform::CreateAllPlatforms();
  return RUN_ALL_TESTS();
}
