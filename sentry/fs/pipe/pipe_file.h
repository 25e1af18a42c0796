// The open ends of a pipe, pipe(2) and the opening of fifos (Linux: pipefifo_fops, fifo_open).
#pragma once

#include <utility>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/vfs/file.h"

namespace sandbox {

// One end, or both for a fifo opened O_RDWR. Holds the pipe open for its direction until it is destroyed.
class PipeFile final : public FileDescription {
 public:
  // `path` is empty for pipe(2). The end is counted on construction.
  PipeFile(Path path, int flags, RefPtr<Pipe> pipe);
  ~PipeFile() override;

  const RefPtr<Pipe>& pipe() const { return pipe_; }

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int rwf) override;
  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int rwf) override;
  EventMask Readiness(Context& context, EventMask interest) override;
  bool writes_all() const override { return true; }
  WaitQueue* wait_queue() override { return &pipe_->wait_queue(); }
  Result<int64_t> Ioctl(Context& context, uint32_t request, uint64_t argument) override;
  Result<Attr> GetAttr(Context& context) override;
  // /proc/self/fd/N of a pipe(2): another end of the same pipe, in any direction (Linux: fifo_open on pipefs).
  Result<FileRef> Reopen(Context& context, int flags) override;
  std::string AnonymousName() const override;

 private:
  const RefPtr<Pipe> pipe_;
  const uint64_t ino_;  // of an anonymous pipe, the same for both ends
  const uint32_t uid_, gid_;
  const FileTime created_;
  // Openings for writing seen when a reader opened a fifo without O_NONBLOCK's wait: no hang-up before a writer came.
  std::atomic<uint64_t> writers_seen_{0};

  friend Result<std::pair<FileRef, FileRef>> MakePipe(Context&, int);
  friend Result<FileRef> OpenFifo(Context&, const Path&, int);
  PipeFile(Path path, int flags, RefPtr<Pipe> pipe, uint64_t ino, uint32_t uid, uint32_t gid);
};

// pipe2(2): (read end, write end). `flags`: O_NONBLOCK, O_DIRECT.
Result<std::pair<FileRef, FileRef>> MakePipe(Context& context, int flags);

// open(2) of a fifo inode: waits for the other side unless O_NONBLOCK (ENXIO for a lone nonblocking writer).
// The pipe lives on the inode (Inode::attachment) while any end is open.
Result<FileRef> OpenFifo(Context& context, const Path& path, int flags);

// The pipe behind a file, or null (fcntl F_GETPIPE_SZ, splice).
Pipe* PipeOf(FileDescription& file);

}  // namespace sandbox
