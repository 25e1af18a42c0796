#include "platform/arch/coroutine.h"

#include <sys/mman.h>

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/guest_addr.h"
#include "base/mutex.h"

// Saves what the ABI says a callee keeps, changes stacks, and takes up what was saved there.
extern "C" void SandboxSwitchStack(void** save, void* to);
// Where a fresh stack begins: the coroutine is in r12.
extern "C" void SandboxCoroutineEntry();

asm(R"(
.text
.type SandboxSwitchStack, @function
SandboxSwitchStack:
  .cfi_startproc
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .cfi_endproc
.size SandboxSwitchStack, . - SandboxSwitchStack

.type SandboxCoroutineEntry, @function
SandboxCoroutineEntry:
  .cfi_startproc
  .cfi_undefined rip
  movq %r12, %rdi
  call SandboxRunCoroutine
  ud2
  .cfi_endproc
.size SandboxCoroutineEntry, . - SandboxCoroutineEntry
)");

namespace sandbox::arch {
namespace {

// Enough for a burst; more are unmapped.
constexpr size_t kMostCached = 16;

struct Cache {
  Mutex mu{LockRank::kLeaf};
  std::vector<std::unique_ptr<Coroutine>> free GUARDED_BY(mu);
};

Cache& Shared() {
  static Cache& cache = *new Cache;  // outlives every thread
  return cache;
}

}  // namespace

void RunCoroutine(Coroutine* self) { Coroutine::Main(self); }

bool Coroutine::Supported() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;
#else
  return true;
#endif
}

std::unique_ptr<Coroutine> Coroutine::Take() {
  {
    MutexLock lock(Shared().mu);
    if (!Shared().free.empty()) {
      auto cached = std::move(Shared().free.back());
      Shared().free.pop_back();
      return cached;
    }
  }
  void* memory = ::mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  CHECK(::mprotect(memory, kPageSize, PROT_NONE) == 0);
  return std::unique_ptr<Coroutine>(new Coroutine(static_cast<char*>(memory)));
}

void Coroutine::Give(std::unique_ptr<Coroutine> coroutine) {
  CHECK(coroutine->ended_);
  MutexLock lock(Shared().mu);
  if (Shared().free.size() < kMostCached) Shared().free.push_back(std::move(coroutine));
}

Coroutine::~Coroutine() { ::munmap(stack_, kStackSize); }

void Coroutine::Prepare(Body body, void* argument) {
  CHECK(ended_);
  body_ = body;
  argument_ = argument;
  ended_ = false;
  // As if SandboxSwitchStack had been called from the entry: six saved registers (r12 the fourth from below) and the
  // return address; the stack is aligned to 16 at the entry's own call.
  auto* top = reinterpret_cast<uint64_t*>(stack_ + kStackSize - 16);
  *--top = reinterpret_cast<uint64_t>(&SandboxCoroutineEntry);
  for (int i = 0; i < 6; ++i) *--top = i == 2 ? reinterpret_cast<uint64_t>(this) : 0;
  inner_ = top;
}

bool Coroutine::Resume() {
  CHECK(!ended_);
  SandboxSwitchStack(&outer_, inner_);
  return ended_;
}

void Coroutine::Suspend() { SandboxSwitchStack(&inner_, outer_); }

void Coroutine::Main(Coroutine* self) {
  self->body_(self->argument_);
  self->ended_ = true;
  self->Suspend();
}

}  // namespace sandbox::arch

extern "C" __attribute__((used)) void SandboxRunCoroutine(sandbox::arch::Coroutine* self) {
  sandbox::arch::RunCoroutine(self);
}
