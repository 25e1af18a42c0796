// getdents(2), getdents64(2).
#include <climits>
#include <cstring>
#include <vector>

#include "sentry/kernel/task.h"
#include "sentry/vfs/io.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

// Collects entries in the guest's layout; the guest's buffer is written when all locks are gone.
class DirentSink final : public DirSink {
 public:
  DirentSink(size_t capacity, bool wide) : capacity_(capacity), wide_(wide) {}

  bool Emit(std::string_view name, uint64_t ino, uint8_t type, int64_t next_offset) override {
    // struct linux_dirent64: ino, offset, reclen, type, name. struct linux_dirent: ino, offset, reclen, name, and the
    // type in the record's last byte.
    const size_t header = wide_ ? 19 : 18;
    const size_t length = (header + name.size() + (wide_ ? 1 : 2) + 7) & ~size_t{7};
    if (bytes_.size() + length > capacity_) {
      overflow_ = true;
      return false;
    }
    const size_t start = bytes_.size();
    bytes_.resize(start + length);
    char* record = bytes_.data() + start;
    const auto reclen = static_cast<uint16_t>(length);
    std::memcpy(record, &ino, 8);
    std::memcpy(record + 8, &next_offset, 8);
    std::memcpy(record + 16, &reclen, 2);
    std::memcpy(record + header, name.data(), name.size());
    record[wide_ ? 18 : length - 1] = static_cast<char>(type);
    return true;
  }

  const std::vector<char>& bytes() const { return bytes_; }
  bool overflow() const { return overflow_; }

 private:
  const size_t capacity_;
  const bool wide_;
  std::vector<char> bytes_;
  bool overflow_ = false;
};

Result<size_t> Getdents(Task& task, Fd fd, GuestAddr buffer, uint32_t count, bool wide) {
  const FileRef file = TRY(task.fds().Get(fd));
  constexpr size_t kMaxAtOnce = 256 * 1024;  // sentry memory; a short answer is always legal
  DirentSink sink(std::min<size_t>(count, kMaxAtOnce), wide);
  TRY(ReadDirectory(task, *file, sink));
  if (sink.bytes().empty()) {
    if (sink.overflow()) return Err(EINVAL);  // not even one entry fits
    return size_t{0};
  }
  TRY(task.memory().Write(buffer, sink.bytes().data(), sink.bytes().size()));
  return sink.bytes().size();
}

Result<size_t> SysGetdents64(Task& task, Fd fd, GuestAddr buffer, uint32_t count) {
  return Getdents(task, fd, buffer, count, true);
}
SYSCALL_ROW(getdents64, Lane::kShort, Support::kFull, SysGetdents64, "");

Result<size_t> SysGetdents(Task& task, Fd fd, GuestAddr buffer, uint32_t count) {
  return Getdents(task, fd, buffer, count, false);
}
SYSCALL_ROW(getdents, Lane::kShort, Support::kFull, SysGetdents, "");

}  // namespace
}  // namespace sandbox::syscalls
