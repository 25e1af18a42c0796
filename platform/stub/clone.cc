// Children: what the cloning thread prepares and how the new host thread finds its feet. And how a fresh stub does.
#include "platform/stub/call_data.h"
#include "platform/stub/frame.h"
#include "platform/stub/segment_bases.h"
#include "platform/stub/stub_syscall.h"

namespace sandbox::platform::stub {
namespace {

constexpr uint64_t kCloneVm = 0x100, kCloneThread = 0x10000;

// The child leaves towards StubChildMain with `child` as its argument. A `stack` of zero keeps the (copied) stack.
// `number`: where CLONE_PARENT_SETTID puts the child's.
STUB_INLINE long CloneRaw(uint64_t flags, uint64_t stack, SlotPrivate* child, int32_t* number) {
  long ret;
  register uint64_t r10 asm("r10") = 0;
  register uint64_t r8 asm("r8") = 0;
  register SlotPrivate* arg asm("r12") = child;
  asm volatile(
      "syscall\n"
      "test %%eax, %%eax\n"
      "jnz 1f\n"
      "xor %%ebp, %%ebp\n"
      "and $-16, %%rsp\n"
      "mov %%r12, %%rdi\n"
      "call StubChildMain\n"
      "ud2\n"
      "1:\n"
      : "=a"(ret)
      : "a"(kSysClone), "D"(flags), "S"(stack), "d"(number), "r"(r10), "r"(r8), "r"(arg)
      : "rcx", "r11", "memory");
  return ret;
}

STUB_INLINE void MapThreadPage(uint64_t slot, int fd) {
  const long r = Call6(kSysMmap, slot, kSlotSharedSize, kProtReadWrite, kMapShared | kMapFixed, fd, 0);
  if (r != static_cast<long>(slot)) Call3(kSysExitGroup, 1);
  // A child must never be able to rewrite what its parent tells the sentry.
  Call3(kSysMadvise, slot, kSlotSharedSize, kAdviceDontFork);
  Call3(kSysClose, static_cast<uint64_t>(fd));
}

// A child that shares memory gets a slot of its own: a copy of this trap's signal frame, so that it inherits the
// registers and the extended state.
STUB_INLINE uint64_t CopyFrame(uint64_t frame, uint64_t slot, uint64_t child_slot) {
  // From the frame's own start to the top of the alternate stack; the kernel put the extended state above it.
  CopyBytes(reinterpret_cast<void*>(frame - slot + child_slot), reinterpret_cast<void*>(frame),
            slot + kSlotSize - frame);
  auto* uc = reinterpret_cast<UContext*>(frame - slot + child_slot);
  uc->mcontext.fpstate = uc->mcontext.fpstate - slot + child_slot;
  // rt_sigreturn installs this as the child's alternate stack.
  uc->stack_sp = child_slot + kSlotAltStack;
  uc->stack_size = kSlotAltStackSize;
  uc->stack_flags = 0;
  return reinterpret_cast<uint64_t>(uc);
}

// Makes a slot the thread's own: what a signal frame would bring along. Control signals that come before find the
// slot from the stack that the thread is on.
STUB_INLINE void EnterSlot(uint64_t slot) {
  struct {
    uint64_t sp;
    int32_t flags, pad;
    uint64_t size;
  } stack;
  stack.sp = slot + kSlotAltStack;
  stack.flags = 0;
  stack.size = kSlotAltStackSize;
  WriteGsBase(slot);
  Call3(kSysSigaltstack, reinterpret_cast<uint64_t>(&stack), 0);
}

}  // namespace

long RunClone(ThreadPage* page, uint64_t frame) {
  const uint64_t slot = reinterpret_cast<uint64_t>(page);
  const uint64_t flags = page->clone_flags;
  const int fd = page->clone_fd;
  if (flags & kCloneVm) {
    const uint64_t child_slot = page->clone_slot;
    if (fd >= 0) {
      const long r =
          Call6(kSysMmap, child_slot, kSlotSize, kProtReadWrite, kMapPrivate | kMapAnonymous | kMapFixed, ~0ull, 0);
      if (r != static_cast<long>(child_slot)) {
        Call3(kSysClose, static_cast<uint64_t>(fd));
        return r;
      }
      MapThreadPage(child_slot, fd);
    }
    auto* child = reinterpret_cast<SlotPrivate*>(child_slot + kSlotPrivate);
    child->frame = frame == 0 ? 0 : CopyFrame(frame, slot, child_slot);
    child->token = page->clone_token;
    child->page_fd = -1;
    child->child = (flags & kCloneThread) != 0 ? SlotPrivate::Child::kThread : SlotPrivate::Child::kShares;
    // The new stack starts below the frame, out of the red zone's way.
    const uint64_t stack = frame == 0 ? child_slot + kSlotFastStackEnd : (child->frame - 256) & ~15ull;
    return CloneRaw(flags, stack, child, &page->clone_tid);
  }
  auto* child = reinterpret_cast<SlotPrivate*>(slot + kSlotPrivate);
  child->frame = frame;
  child->token = page->clone_token;
  child->page_fd = fd;
  child->child = SlotPrivate::Child::kFork;
  const long tid = CloneRaw(flags, 0, child, &page->clone_tid);
  Call3(kSysClose, static_cast<uint64_t>(fd));
  return tid;
}

// The answer in the page is carried out in the order in which the sentry gave it: what is mapped first is filled then.
void StartStub(ThreadPage* page, const int32_t* files) {
  const bool fast_lane = GetConfig()->bases_readable;
  if (fast_lane) WriteGsBase(reinterpret_cast<uint64_t>(page));
  const uint64_t mask = 0;
  Call4(kSysRtSigprocmask, /*SIG_SETMASK*/ 2, reinterpret_cast<uint64_t>(&mask), 0, sizeof(mask));
  const uint32_t count = page->op_count;
  for (uint32_t i = 0; i < count && i < kMaxOps; ++i) {
    Op& op = page->ops[i];
    if (op.kind == Op::Kind::kMap && op.fd >= 0) op.fd = files[op.fd];
  }
  page->frame = 0;
  page->exit_full = 0;
  long how = static_cast<long>(Answer::kProceed);
  if (RunOps(page)) {
    CopyOutputs(page);
  } else {
    how = Ring(Bell::kOpFailed);
  }
  __atomic_store_n(&page->filled, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&page->filled_wanted, __ATOMIC_SEQ_CST) != 0) SetAndWake(&page->filled);
  if (!fast_lane) {
    if (how == static_cast<long>(Answer::kWait)) AwaitGo(page);
    StubStartInsn();
  }
  CarryOutAnswers(page, 0, how);
  TakeResume(page);
  StubFastExit();
  __builtin_unreachable();
}

void StubChildMain(SlotPrivate* child) {
  const uint64_t slot = reinterpret_cast<uint64_t>(child) & ~(kSlotSize - 1);
  ThreadPage* page = reinterpret_cast<ThreadPage*>(slot);
  if (child->page_fd >= 0) MapThreadPage(slot, child->page_fd);
  // Cleared by clone. The parent in the host's eyes is the sentry. Of a process, the leader's is enough.
  const bool is_thread = child->child == SlotPrivate::Child::kThread;
  if (!is_thread) Call3(kSysPrctl, /*PR_SET_PDEATHSIG*/ 1, /*SIGKILL*/ 9);
  page->frame = child->frame;
  if (child->frame != 0) {
    page->fp_state = reinterpret_cast<UContext*>(child->frame)->mcontext.fpstate;
  } else if (child->child != SlotPrivate::Child::kFork) {
    EnterSlot(slot);
  }
  const long how = is_thread ? static_cast<long>(Answer::kWait) : Ring(Bell::kHello, child->token);
  if (child->frame != 0) ServeAnswers(page, child->frame, how);
  CarryOutAnswers(page, 0, how);
  TakeResume(page);
  StubFastExit();
  __builtin_unreachable();
}

}  // namespace sandbox::platform::stub
