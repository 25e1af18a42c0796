#include "sentry/fs/pipe/pipe_file.h"

#include <sys/ioctl.h>

#include "sentry/vfs/inode.h"
#include "sentry/vfs/special.h"

namespace sandbox {

PipeFile::PipeFile(Path path, int flags, RefPtr<Pipe> pipe, uint64_t ino, uint32_t uid, uint32_t gid)
    : FileDescription(std::move(path), flags),
      pipe_(std::move(pipe)),
      ino_(ino),
      uid_(uid),
      gid_(gid),
      created_(FileTimeNow()) {
  pipe_->AddEnds(readable(), writable());
}

PipeFile::~PipeFile() { pipe_->DropEnds(readable(), writable()); }

Result<size_t> PipeFile::Read(Context&, IoSequence& to, int64_t*, int) {
  if (!readable()) return Err(EBADF);
  return pipe_->Read(to);
}

Result<size_t> PipeFile::Write(Context& context, IoSequence& from, int64_t*, int) {
  if (!writable()) return Err(EBADF);
  return pipe_->Write(context, from, (flags() & O_DIRECT) != 0);
}

EventMask PipeFile::Readiness(Context&, EventMask) {
  EventMask events = 0;
  if (readable()) {
    events |= pipe_->ReadEvents();
    if (!pipe_->HasWriters() && pipe_->writer_opens() != writers_seen_.load()) events |= kEventHup;
  }
  if (writable()) events |= pipe_->WriteEvents();
  return events;
}

Result<int64_t> PipeFile::Ioctl(Context& context, uint32_t request, uint64_t argument) {
  if (request != FIONREAD) return Err(ENOTTY);
  const int32_t queued = static_cast<int32_t>(pipe_->queued_bytes());
  TRY(OutPtr<int32_t>(GuestAddr(argument)).Write(context.memory(), queued));
  return 0;
}

Result<Attr> PipeFile::GetAttr(Context& context) {
  if (!path().empty()) return FileDescription::GetAttr(context);
  Attr attr;
  attr.ino = ino_;
  attr.mode = S_IFIFO | 0600;
  attr.uid = uid_;
  attr.gid = gid_;
  attr.atime = attr.mtime = attr.ctime = created_;
  return attr;
}

Result<FileRef> PipeFile::Reopen(Context&, int flags) {
  return FileRef(new PipeFile(Path{}, flags & (O_ACCMODE | O_NONBLOCK | O_DIRECT), pipe_, ino_, uid_, gid_));
}

std::string PipeFile::AnonymousName() const { return "pipe:[" + std::to_string(ino_) + "]"; }

Result<std::pair<FileRef, FileRef>> MakePipe(Context& context, int flags) {
  auto pipe = MakeRef<Pipe>();
  const uint64_t ino = NextAnonymousIno();
  const uint32_t uid = context.creds().fsuid, gid = context.creds().fsgid;
  const int status = flags & (O_NONBLOCK | O_DIRECT);
  FileRef reader(new PipeFile(Path{}, O_RDONLY | (status & O_NONBLOCK), pipe, ino, uid, gid));
  FileRef writer(new PipeFile(Path{}, O_WRONLY | status, pipe, ino, uid, gid));
  return std::pair(std::move(reader), std::move(writer));
}

Pipe* PipeOf(FileDescription& file) {
  auto* end = dynamic_cast<PipeFile*>(&file);
  return end != nullptr ? end->pipe().get() : nullptr;
}

}  // namespace sandbox
