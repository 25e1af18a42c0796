// A test kernel of a few lines over a platform: guest threads run snippets of machine code, their traps go to lambdas.
//
// Every test is run for each registered platform (TEST_P with a name), and links nothing of the sentry above
// platform/api. Snippets end with CallExit, or are ended by the test.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "platform/api/platform.h"
#include "platform/api/registry.h"

namespace sandbox::platform {

// Memory map of every test process.
inline constexpr uint64_t kCodeAddr = 0x400000;  // one snippet a page
inline constexpr uint64_t kDataAddr = 0x600000;  // 16 pages, read-write
inline constexpr uint64_t kDataSize = 16 * kPageSize;
inline constexpr uint64_t kFastEntryWord = kDataAddr + kDataSize - 8;  // the systrap stub's fast entry, for CALL
inline constexpr uint64_t kStackTop = 0x800000;                        // 4 pages below
inline constexpr uint64_t kFreeAddr = 0x10000000;                      // nothing here

// Call numbers of the test kernel. Above Linux's, so that no platform's stub answers them by itself.
inline constexpr uint64_t kCallExit = 400;    // ends the thread
inline constexpr uint64_t kCallReport = 401;  // appends arg 0 to Task::reports
inline constexpr uint64_t kCallHook = 402;    // Task::hook decides; arrives with registers
inline constexpr uint64_t kCallShort = 403;   // Task::hook decides; the lane for short calls
inline constexpr uint64_t kCallBlock = 404;   // Task::hook decides; the lane for calls that block

class Task;
using Hook = std::function<void(Task&, Thread&, const Trap&)>;

// One guest thread. Its thread object lives until the task does, or until Exit.
class Task final : public TrapHandler {
 public:
  Task() = default;
  ~Task() override;

  Served HandleTrap(Thread& thread, const Trap& trap) override;
  Served HandleDeferred(Thread& thread) override;

  // Called for kCallHook, kCallShort, kCallBlock and for every trap that is no call; the default records and exits for
  // the latter.
  Hook hook;
  // When set, kCallBlock is deferred where the platform can; called then, and has somebody call Proceed. The call
  // returns kDeferredResult.
  std::function<void(Thread&)> deferred;
  static constexpr int64_t kDeferredResult = 77;
  // When set, called for every trap instead of anything else.
  Hook on_any;

  // Takes the thread; Run starts it too.
  void Adopt(std::unique_ptr<Thread> thread);
  void Run(std::unique_ptr<Thread> thread);
  Thread& thread() { return *thread_; }

  // Ends the thread; for hooks.
  void Exit();
  bool exited();
  // False after a minute.
  bool WaitExit();
  bool WaitReports(size_t count);
  std::vector<uint64_t> reports();
  std::vector<Trap> traps();  // those that were not calls
  void Report(uint64_t value);

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::unique_ptr<Thread> thread_;
  std::vector<uint64_t> reports_;
  std::vector<Trap> traps_;
  bool exited_ = false;
};

// The platform under test; made once per name, before the test process has threads.
Platform& PlatformNamed(std::string_view name);
void CreateAllPlatforms();

class PlatformTest : public testing::TestWithParam<std::string_view> {
 protected:
  Platform& platform() { return PlatformNamed(GetParam()); }

  // A process with the standard map and `code` at kCodeAddr, ready to start there. Null on failure.
  std::unique_ptr<Thread> NewProcess(Task& task, std::string_view code);
  // Puts another snippet at a page of its own: kCodeAddr + index * page.
  void AddCode(Thread& thread, int index, std::string_view code);
};

MemoryOp MapAnonymous(uint64_t at, uint64_t size, int prot);
MemoryOp MapFile(uint64_t at, uint64_t size, int prot, int flags, int fd, uint64_t offset = 0);
MemoryOp Unmap(uint64_t at, uint64_t size);
MemoryOp Protect(uint64_t at, uint64_t size, int prot);

uint64_t ReadWord(Thread& thread, uint64_t at);
void WriteWord(Thread& thread, uint64_t at, uint64_t value);
// Waits until the state letter of a host thread, in /proc/TID/stat, is one of `states`; "X" stands for no thread, too.
void AwaitHostState(int32_t host_tid, std::string_view states);
// A memory file with `pages` pages, each filled with `fill` + its index.
UniqueFd MakeFile(int pages, uint8_t fill);

// Defines `const std::string_view name` holding the assembled text, which must be position independent.
#define GUEST_CODE(name, text)                                                                                 \
  asm(".pushsection .rodata\n.globl guest_" #name "_begin, guest_" #name "_end\nguest_" #name "_begin:\n" text \
      "\nguest_" #name "_end:\n.popsection\n");                                                                \
  extern "C" const char guest_##name##_begin[], guest_##name##_end[];                                          \
  const std::string_view name(guest_##name##_begin, guest_##name##_end - guest_##name##_begin)

// For use inside GUEST_CODE. With FAST_CALLS the same tests go through the fast lane: a call is what a trampoline does.
#ifdef FAST_CALLS
#define ENTER "lea 771f(%rip), %r11\njmp *0x60fff8\nsyscall\n771:\n"
#else
#define ENTER "syscall\n"
#endif
#define CALL(nr) "mov $" #nr ", %eax\n" ENTER
#define CALL_EXIT CALL(400)
#define CALL_REPORT CALL(401)
#define CALL_HOOK CALL(402)
#define CALL_SHORT CALL(403)
#define CALL_BLOCK CALL(404)

}  // namespace sandbox::platform
