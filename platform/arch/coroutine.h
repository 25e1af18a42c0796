// A function call on a stack of its own that can be left half-way and continued later, on any host thread (Linux: a
// task's kernel stack and switch_to). Code that runs on one must not keep the address of a thread-local variable (errno
// is one) across Suspend: what comes after it may run on another thread.
#pragma once

#include <cstddef>
#include <memory>

namespace sandbox::arch {

class Coroutine {
 public:
  using Body = void (*)(void* argument);
  static constexpr size_t kStackSize = 256 * 1024;

  // False where a tool that watches stacks (a sanitizer) cannot follow.
  static bool Supported();

  // One from the cache, or a new one; null when there is no memory.
  static std::unique_ptr<Coroutine> Take();
  // Back to the cache. Precondition: its body has ended, or never began.
  static void Give(std::unique_ptr<Coroutine> coroutine);

  ~Coroutine();
  Coroutine(const Coroutine&) = delete;

  // Sets what the next Resume starts with.
  void Prepare(Body body, void* argument);
  // Runs the body until it ends (true) or suspends itself (false).
  bool Resume();
  // Inside the body: back to the caller of Resume, until the next Resume.
  void Suspend();

 private:
  explicit Coroutine(char* stack) : stack_(stack) {}
  static void Main(Coroutine* self);
  friend void RunCoroutine(Coroutine* self);

  char* const stack_;      // lowest address; its first page is a guard
  void* inner_ = nullptr;  // stack pointer of the suspended body
  void* outer_ = nullptr;  // stack pointer of the caller of Resume
  Body body_ = nullptr;
  void* argument_ = nullptr;
  bool ended_ = true;
};

}  // namespace sandbox::arch
