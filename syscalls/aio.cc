// io_setup(2), io_destroy(2), io_submit(2), io_cancel(2), io_getevents(2), io_pgetevents(2).
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <sys/mman.h>

#include "sentry/kernel/aio.h"
#include "sentry/kernel/task.h"
#include "sentry/time/clock.h"
#include "sentry/vfs/io.h"
#include "syscalls/row.h"
#include "syscalls/wait_time.h"

namespace sandbox::syscalls {
namespace {

constexpr uint32_t kKey = 0;  // KIOCB_KEY: written into each iocb, asked for by io_cancel

Result<RefPtr<AioContext>> FindContext(Task& task, uint64_t id) {
  auto context = AioTable::Get().Find(task.mm_ref(), GuestAddr(id));
  if (context == nullptr) return Err(EINVAL);
  return context;
}

Result<void> SysIoSetup(Task& task, uint32_t size, InOutPtr<uint64_t> out) {
  if (TRY(out.Read(task.memory())) != 0 || size == 0) return Err(EINVAL);
  if (size > 0x10000000u / sizeof(io_event)) return Err(EINVAL);
  if (size > AioTable::kMaxEvents) return Err(EAGAIN);
  // The page gives the context its name. The C library's wrapper finds no ring in it and asks the kernel.
  MapRequest request{.length = kPageSize, .prot = PROT_READ | PROT_WRITE, .flags = MAP_PRIVATE | MAP_ANONYMOUS};
  const GuestAddr page = TRY(task.mm().Map(task, task.thread(), request));
  auto result = AioTable::Get().Add(task.mm_ref(), page, size);
  if (result.ok()) {
    result = out.Write(task.memory(), page.value());
    if (!result.ok()) (void)AioTable::Get().Remove(task.mm_ref(), page);
  }
  if (!result.ok()) TRY(task.mm().Unmap(task, task.thread(), page, kPageSize));
  return result;
}
SYSCALL_ROW(io_setup, Lane::kFull, Support::kFull, SysIoSetup, "");

Result<void> SysIoDestroy(Task& task, uint64_t id) {
  const auto context = AioTable::Get().Remove(task.mm_ref(), GuestAddr(id));
  if (context == nullptr) return Err(EINVAL);
  context->Destroy();
  return task.mm().Unmap(task, task.thread(), GuestAddr(id), kPageSize);
}
SYSCALL_ROW(io_destroy, Lane::kFull, Support::kFull, SysIoDestroy, "");

// The bytes of a request: one buffer, or an array of them.
Result<IoSequence> Buffers(Task& task, const iocb& request, bool vector) {
  if (vector) return IoSequence::GuestIovecs(task.memory(), GuestAddr(request.aio_buf), request.aio_nbytes);
  return IoSequence::Guest(task.memory(), GuestAddr(request.aio_buf), request.aio_nbytes);
}

// What the event reports: a count, or a negative errno.
int64_t Outcome(const Result<size_t>& result) {
  if (result.ok()) return static_cast<int64_t>(*result);
  return result.Is(kErestartsys) ? -EINTR : -result.error().value();
}

Result<int64_t> Transfer(Task& task, const FileRef& file, const iocb& request) {
  const bool write = request.aio_lio_opcode == IOCB_CMD_PWRITE || request.aio_lio_opcode == IOCB_CMD_PWRITEV;
  const bool vector = request.aio_lio_opcode == IOCB_CMD_PREADV || request.aio_lio_opcode == IOCB_CMD_PWRITEV;
  constexpr int kFlags = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND;
  if (request.aio_rw_flags & ~kFlags) return Err(EOPNOTSUPP);
  if (write ? !file->writable() : !file->readable()) return Err(EBADF);
  auto bytes = TRY(Buffers(task, request, vector));
  if (request.aio_offset < 0) return Err(EINVAL);
  const int flags = request.aio_rw_flags;
  if (!file->seekable())
    return Outcome(write ? WriteFile(task, *file, bytes, flags) : ReadFile(task, *file, bytes, flags));
  const auto done = write ? WriteFileAt(task, *file, bytes, request.aio_offset, flags)
                          : ReadFileAt(task, *file, bytes, request.aio_offset, flags);
  if (done.ok() && write && (flags & (RWF_DSYNC | RWF_SYNC))) TRY(file->Sync(task, !(flags & RWF_SYNC)));
  return Outcome(done);
}

Result<int64_t> SyncFile(Task& task, const FileRef& file, const iocb& request) {
  if (request.aio_buf != 0 || request.aio_offset != 0 || request.aio_nbytes != 0 || request.aio_rw_flags != 0)
    return Err(EINVAL);
  const auto done = file->Sync(task, request.aio_lio_opcode == IOCB_CMD_FDSYNC);
  if (done.Is(EINVAL)) return Err(EINVAL);  // nothing to sync there
  return done.ok() ? int64_t{0} : int64_t{-done.error().value()};
}

Result<RefPtr<EventFd>> EventFdOf(Task& task, const iocb& request) {
  if (!(request.aio_flags & IOCB_FLAG_RESFD)) return RefPtr<EventFd>();
  const FileRef file = TRY(task.fds().Get(Fd(static_cast<int32_t>(request.aio_resfd))));
  auto eventfd = std::dynamic_pointer_cast<EventFd>(file);
  if (eventfd == nullptr) return Err(EINVAL);
  return eventfd;
}

// Runs or starts one request, whose slot is reserved.
Result<void> Start(Task& task, AioContext& context, uint64_t address, const iocb& request) {
  const FileRef file = TRY(task.fds().Get(Fd(static_cast<int32_t>(request.aio_fildes))));
  const auto tell = TRY(EventFdOf(task, request));
  TRY(OutPtr<uint32_t>(GuestAddr(address + offsetof(iocb, aio_key))).Write(task.memory(), kKey));
  io_event event{.data = request.aio_data, .obj = address, .res = 0, .res2 = 0};
  switch (request.aio_lio_opcode) {
    case IOCB_CMD_PREAD:
    case IOCB_CMD_PREADV:
    case IOCB_CMD_PWRITE:
    case IOCB_CMD_PWRITEV:
      event.res = TRY(Transfer(task, file, request));
      break;
    case IOCB_CMD_FSYNC:
    case IOCB_CMD_FDSYNC:
      event.res = TRY(SyncFile(task, file, request));
      break;
    case IOCB_CMD_POLL:
      if (request.aio_buf > UINT16_MAX || request.aio_offset != 0 || request.aio_nbytes != 0 ||
          request.aio_rw_flags != 0)
        return Err(EINVAL);
      context.Poll(task, file, static_cast<EventMask>(request.aio_buf), event, tell);
      return {};
    default:
      return Err(EINVAL);
  }
  task.memory().Settle();  // another thread may get the event before this call returns
  context.Finish(event, tell);
  return {};
}

Result<void> SubmitOne(Task& task, AioContext& context, GuestAddr pointer) {
  const uint64_t address = TRY(InPtr<uint64_t>(pointer).Read(task.memory()));
  const iocb request = TRY(InPtr<iocb>(GuestAddr(address)).Read(task.memory()));
  if (request.aio_reserved2 != 0 || static_cast<int64_t>(request.aio_nbytes) < 0) return Err(EINVAL);
  TRY(context.Reserve());
  auto started = Start(task, context, address, request);
  if (!started.ok()) context.Unreserve();
  return started;
}

Result<int64_t> SysIoSubmit(Task& task, uint64_t id, int64_t count, GuestAddr pointers) {
  if (count < 0) return Err(EINVAL);
  const auto context = TRY(FindContext(task, id));
  count = std::min<int64_t>(count, context->size());
  int64_t done = 0;
  for (; done < count; ++done) {
    const GuestAddr at = TRY(pointers.Add(static_cast<uint64_t>(done) * sizeof(uint64_t)));
    const auto submitted = SubmitOne(task, *context, at);
    if (submitted.ok()) continue;
    if (done == 0) return submitted.error();
    break;
  }
  return done;
}
SYSCALL_ROW(io_submit, Lane::kMayBlock, Support::kFull, SysIoSubmit, "");

Result<void> SysIoCancel(Task& task, uint64_t id, GuestAddr request, GuestAddr) {
  const uint32_t key = TRY(InPtr<uint32_t>(TRY(request.Add(offsetof(iocb, aio_key)))).Read(task.memory()));
  if (key != kKey) return Err(EINVAL);
  TRY(TRY(FindContext(task, id))->Cancel(request.value()));
  return Err(EINPROGRESS);  // the event of the cancelled request comes through io_getevents
}
SYSCALL_ROW(io_cancel, Lane::kShort, Support::kFull, SysIoCancel, "");

Result<int64_t> GetEvents(Task& task, uint64_t id, int64_t least, int64_t most, OutPtr<io_event> out,
                          const Deadline& deadline) {
  const auto context = TRY(FindContext(task, id));
  if (least < 0 || most < least) return Err(EINVAL);
  const auto limit = std::min<size_t>(static_cast<size_t>(most), context->size());
  const auto events = context->Wait(task, std::min<size_t>(static_cast<size_t>(least), limit), limit, deadline);
  if (events.Is(kErestartsys)) return Err(EINTR);
  if (!events.ok()) return events.error();
  TRY(out.WriteArray(task.memory(), *events));
  return static_cast<int64_t>(events->size());
}

Result<int64_t> SysIoGetevents(Task& task, uint64_t id, int64_t least, int64_t most, OutPtr<io_event> out,
                               GuestAddr timeout) {
  return GetEvents(task, id, least, most, out, TRY(ReadDeadline(task, timeout)));
}
SYSCALL_ROW(io_getevents, Lane::kMayBlock, Support::kFull, SysIoGetevents, "");

// struct __aio_sigset.
struct AioSigset {
  uint64_t mask;
  uint64_t size;
};

Result<int64_t> SysIoPgetevents(Task& task, uint64_t id, int64_t least, int64_t most, OutPtr<io_event> out,
                                GuestAddr timeout, InPtr<AioSigset> signals) {
  const Deadline deadline = TRY(ReadDeadline(task, timeout));
  if (!signals.IsNull()) {
    const AioSigset set = TRY(signals.Read(task.memory()));
    TRY(ApplyWaitMask(task, GuestAddr(set.mask), set.size));
  }
  return GetEvents(task, id, least, most, out, deadline);
}
SYSCALL_ROW(io_pgetevents, Lane::kMayBlock, Support::kFull, SysIoPgetevents, "");

}  // namespace
}  // namespace sandbox::syscalls
