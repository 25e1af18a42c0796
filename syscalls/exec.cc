// execve(2), execveat(2).
#include <fcntl.h>

#include <array>
#include <cstring>

#include "sentry/kernel/task.h"
#include "sentry/vfs/operations.h"
#include "syscalls/row.h"

namespace sandbox::syscalls {
namespace {

constexpr size_t kMaxArgStrlen = 32 * kPageSize;  // MAX_ARG_STRLEN
constexpr size_t kMaxStrings = 0x7fffffff;        // MAX_ARG_STRINGS
constexpr uint64_t kMinArgPages = 32;             // ARG_MAX is never less than this many pages

// What argv and envp may take together: a quarter of the stack limit, at most 3/4 of 8 MiB (Linux: bprm_stack_limits).
uint64_t ArgumentLimit(Task& task) {
  const uint64_t limit = std::min<uint64_t>(task.rlimit(RLIMIT_STACK) / 4, (uint64_t{8} << 20) / 4 * 3);
  return std::max(limit, kMinArgPages * kPageSize);
}

// Reads ahead to the end of the page: pointers stand in a row, and so do the strings of most programs.
class Reader {
 public:
  explicit Reader(GuestMemory& memory) : memory_(memory) {}

  Result<std::string> String(GuestAddr from) {
    std::string out;
    while (out.size() < kMaxArgStrlen) {
      const std::string_view bytes = TRY(Bytes(TRY(from.Add(out.size()))));
      const std::string_view part = bytes.substr(0, std::min(bytes.find('\0'), kMaxArgStrlen - out.size()));
      out += part;
      if (part.size() < bytes.size() && bytes[part.size()] == '\0') {
        return out.size() < kMaxArgStrlen ? Result<std::string>(std::move(out)) : Err(E2BIG);
      }
    }
    return Err(E2BIG);
  }

  Result<GuestAddr> Pointer(GuestAddr from) {
    uint64_t value;
    const std::string_view bytes = TRY(Bytes(from));
    if (bytes.size() < sizeof(value)) return GuestAddr(TRY(InPtr<uint64_t>(from).Read(memory_)));
    std::memcpy(&value, bytes.data(), sizeof(value));
    return GuestAddr(value);
  }

 private:
  // What is known from `at` on, at least a byte.
  Result<std::string_view> Bytes(GuestAddr at) {
    if (at.value() - start_ >= size_) {
      start_ = at.value();
      size_ = 0;
      size_ = TRY(memory_.ReadSome(at, buffer_.data(), kPageSize - (start_ & kPageMask)));
      if (size_ == 0) return Err(EFAULT);
    }
    const size_t offset = at.value() - start_;
    return std::string_view(buffer_.data() + offset, size_ - offset);
  }

  GuestMemory& memory_;
  uint64_t start_ = 0;
  size_t size_ = 0;
  std::array<char, kPageSize> buffer_;
};

// Reads a null-terminated array of strings; `budget` shrinks by what each costs.
Result<std::vector<std::string>> ReadStrings(Task& task, GuestAddr array, uint64_t* budget) {
  std::vector<std::string> out;
  if (array.IsNull()) return out;  // Linux takes null for an empty list
  Reader pointers(task.memory()), strings(task.memory());
  for (size_t i = 0; i < kMaxStrings; ++i) {
    const GuestAddr text = TRY(pointers.Pointer(TRY(array.Add(i * sizeof(uint64_t)))));
    if (text.IsNull()) return out;
    out.push_back(TRY(strings.String(text)));
    const uint64_t cost = out.back().size() + 1 + sizeof(uint64_t);
    if (cost > *budget) return Err(E2BIG);
    *budget -= cost;
  }
  return Err(E2BIG);
}

Result<void> Run(Task& task, Fd dirfd, const std::string& path, GuestAddr argv, GuestAddr envp, int flags) {
  WalkOptions options;
  options.follow_last = !(flags & AT_SYMLINK_NOFOLLOW);
  options.allow_empty = flags & AT_EMPTY_PATH;
  ExecArgs args;
  const WalkBase base = path.starts_with('/') ? task.WalkFromCwd() : TRY(task.WalkFrom(dirfd));
  args.file = TRY(OpenForExec(task, base, path, options));
  args.filename = path;
  if (dirfd.number() != AT_FDCWD && !path.starts_with('/')) {
    // The name a script's interpreter is given (Linux: bprm->fdpath).
    args.filename = "/dev/fd/" + std::to_string(dirfd.number()) + (path.empty() ? "" : "/" + path);
  }
  uint64_t budget = ArgumentLimit(task);
  args.argv = TRY(ReadStrings(task, argv, &budget));
  args.envv = TRY(ReadStrings(task, envp, &budget));
  if (args.argv.empty()) args.argv.emplace_back();  // as Linux since 5.18
  return task.Exec(std::move(args));
}

Result<void> SysExecve(Task& task, GuestStr path, GuestAddr argv, GuestAddr envp) {
  const std::string name = TRY(path.ReadPath(task.memory()));
  return Run(task, Fd(AT_FDCWD), name, argv, envp, 0);
}
SYSCALL_ROW(execve, Lane::kFull, Support::kFull, SysExecve, "");

Result<void> SysExecveat(Task& task, Fd dirfd, GuestStr path, GuestAddr argv, GuestAddr envp, int flags) {
  if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) return Err(EINVAL);
  const std::string name = TRY(path.ReadPath(task.memory()));
  if (name.empty() && !(flags & AT_EMPTY_PATH)) return Err(ENOENT);
  return Run(task, dirfd, name, argv, envp, flags);
}
SYSCALL_ROW(execveat, Lane::kFull, Support::kFull, SysExecveat, "");

}  // namespace
}  // namespace sandbox::syscalls
