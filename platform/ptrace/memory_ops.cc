#include "platform/ptrace/memory_ops.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <algorithm>

#include "platform/ptrace/stub.h"

namespace sandbox::platform::ptrace {
namespace {

using Kind = MemoryOp::Kind;

InjectedCall Call(uint64_t nr, std::array<uint64_t, 6> args) {
  InjectedCall call;
  call.entry = kSyscallEntry;
  call.nr = nr;
  call.args = args;
  return call;
}

// The host call of an operation; `fd` stands for the op's own.
InjectedCall Translate(const MemoryOp& op, int fd) {
  const uint64_t start = op.range.start.value();
  const uint64_t length = op.range.length();
  const auto prot = static_cast<uint64_t>(op.prot);
  const auto flags = static_cast<uint64_t>(op.flags);
  switch (op.kind) {
    case Kind::kMapAnonymous: {
      const uint64_t all = (flags & ~uint64_t{MAP_SHARED}) | MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
      return Call(SYS_mmap, {start, length, prot, all, ~uint64_t{0}, 0});
    }
    case Kind::kMapFile:
      return Call(SYS_mmap, {start, length, prot, flags | MAP_FIXED, static_cast<uint64_t>(fd), op.offset});
    case Kind::kUnmap:
      return Call(SYS_munmap, {start, length});
    case Kind::kProtect:
      return Call(SYS_mprotect, {start, length, prot});
    case Kind::kAdvise:
      return Call(SYS_madvise, {start, length, flags});
    case Kind::kMembarrier:
      return Call(SYS_membarrier, {flags, 0});
    case Kind::kRseq:
      return Call(SYS_rseq, {start, length, flags, op.offset});
    case Kind::kMove: {
      const bool moves = op.target.start != op.range.start;
      const uint64_t how = moves ? MREMAP_MAYMOVE | MREMAP_FIXED : 0;
      return Call(SYS_mremap, {start, length, op.target.length(), how, moves ? op.target.start.value() : 0});
    }
  }
  return Call(~uint64_t{0}, {});
}

// Puts the arguments of recvmsg into the scratch page. Another thread of the guest may change them at once; it then
// receives nothing, and its mapping fails.
bool PrepareReceive(pid_t tid) {
  struct {
    msghdr message = {};
    char pad1[kScratchIovec - sizeof(msghdr)];
    iovec iov = {};
  } block;
  static_assert(sizeof(block) == kScratchIovec + sizeof(iovec));
  block.message.msg_iov = reinterpret_cast<iovec*>(kStubScratch + kScratchIovec);
  block.message.msg_iovlen = 1;
  block.message.msg_control = reinterpret_cast<void*>(kStubScratch + kScratchControl);
  block.message.msg_controllen = kScratchControlSize;
  block.iov = {reinterpret_cast<void*>(kStubScratch + kScratchByte), 1};
  const iovec here = {&block, sizeof(block)};
  const iovec there = {reinterpret_cast<void*>(kStubScratch + kScratchMsghdr), sizeof(block)};
  return process_vm_writev(tid, &here, 1, &there, 1, 0) == sizeof(block);
}

// Operations before the first file mapping.
MemoryOpsOutcome RunPlain(Tracer& tracer, const RefPtr<Tracee>& tracee, std::span<const MemoryOp> ops) {
  Program program;
  for (const MemoryOp& op : ops) program.calls.push_back(Translate(op, -1));
  tracer.Run(tracee, program);
  for (size_t i = 0; i < ops.size(); ++i) {
    if (program.calls[i].failed()) return {i, program.calls[i].error()};
  }
  return {ops.size(), 0};
}

// Operations with at most kMaxDescriptors file mappings among them: receive the descriptors,
// execute, close the descriptors in one go.
MemoryOpsOutcome RunWithFiles(Tracer& tracer, DescriptorChannel& channel, const RefPtr<Tracee>& tracee,
                              std::span<const MemoryOp> ops) {
  std::vector<BorrowedFd> fds;
  Program program;
  program.calls.push_back(Call(SYS_recvmsg, {kStubSocketFd, kStubScratch + kScratchMsghdr, MSG_DONTWAIT}));
  for (const MemoryOp& op : ops) {
    int fd = -1;
    if (op.kind == Kind::kMapFile) {
      // Several mappings of one file in a row are the rule at exec.
      const auto same = std::find_if(fds.begin(), fds.end(), [&](BorrowedFd f) { return f.get() == op.fd.get(); });
      fd = kStubReceivedFd + static_cast<int>(same - fds.begin());
      if (same == fds.end()) fds.push_back(op.fd);
    }
    program.calls.push_back(Translate(op, fd));
  }
  Program cleanup;
  for (size_t i = 0; i < fds.size(); ++i) {
    cleanup.calls.push_back(Call(SYS_close, {static_cast<uint64_t>(kStubReceivedFd) + i}));
    cleanup.calls.back().keep_going = true;
  }

  MutexLock files(tracee->process->files_mu);
  {
    MutexLock lock(channel.mu());
    if (!PrepareReceive(tracee->tid)) return {0, ESRCH};
    if (auto sent = channel.Send(fds); !sent.ok()) return {0, sent.error().value()};
    Program receive;
    receive.calls.push_back(program.calls.front());
    tracer.Run(tracee, receive);
    if (receive.calls[0].failed() || receive.calls[0].result != 1) {
      channel.TakeBack();
      return {0, receive.calls[0].failed() ? receive.calls[0].error() : EIO};
    }
  }
  program.calls.erase(program.calls.begin());
  tracer.Run(tracee, program);
  tracer.Run(tracee, cleanup);
  for (size_t i = 0; i < ops.size(); ++i) {
    if (program.calls[i].failed()) return {i, program.calls[i].error()};
  }
  return {ops.size(), 0};
}

}  // namespace

MemoryOpsOutcome RunMemoryOps(Tracer& tracer, DescriptorChannel& channel, const RefPtr<Tracee>& tracee,
                              std::span<const MemoryOp> ops) {
  size_t begin = 0;
  while (begin < ops.size()) {
    // A stretch of up to kMaxDescriptors file mappings with whatever lies between them.
    size_t files = 0;
    size_t end = begin;
    while (end < ops.size() && (ops[end].kind != Kind::kMapFile || files < DescriptorChannel::kMaxDescriptors)) {
      files += ops[end].kind == Kind::kMapFile ? 1 : 0;
      ++end;
    }
    const auto stretch = ops.subspan(begin, end - begin);
    const MemoryOpsOutcome outcome =
        files == 0 ? RunPlain(tracer, tracee, stretch) : RunWithFiles(tracer, channel, tracee, stretch);
    if (outcome.error != 0) return {begin + outcome.done, outcome.error};
    begin = end;
  }
  return {begin, 0};
}

}  // namespace sandbox::platform::ptrace
