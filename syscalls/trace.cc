#include "syscalls/trace.h"

#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "sentry/kernel/task.h"
#include "sentry/vfs/mount.h"

namespace sandbox::syscalls {
namespace {

constexpr size_t kMaxText = 96;

void AppendQuoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) {
      out += StrPrintf("\\x%02x", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string ResultText(const Result<int64_t>& result) {
  if (result.ok()) {
    // Addresses are easier to read as such.
    if (*result > 0xffff'ffff) return StrPrintf("%#lx", static_cast<unsigned long>(*result));
    return std::to_string(*result);
  }
  const int error = result.error().value();
  switch (error) {
    case kErestartsys:
      return "? ERESTARTSYS (to be restarted if SA_RESTART is set)";
    case kErestartnointr:
      return "? ERESTARTNOINTR (to be restarted)";
    case kErestartnohand:
      return "? ERESTARTNOHAND (to be restarted if no handler)";
    case kErestartRestartblock:
      return "? ERESTART_RESTARTBLOCK (interrupted by signal)";
    default:
      break;
  }
  const char* name = strerrorname_np(error);
  const char* text = strerrordesc_np(error);
  return StrPrintf("-1 %s (%s)", name != nullptr ? name : "E?", text != nullptr ? text : "unknown");
}

}  // namespace

void TraceArg(Task&, std::string& out, uint64_t raw, bool is_signed, unsigned bytes) {
  if (bytes < sizeof(raw)) raw &= (uint64_t{1} << bytes * 8) - 1;
  if (is_signed) {
    const unsigned shift = 64 - bytes * 8;
    const int64_t value = static_cast<int64_t>(raw << shift) >> shift;
    // Small numbers are counts and enumerations, large ones are flags.
    out += value > -4096 && value < 65536 ? std::to_string(value) : StrPrintf("%#lx", static_cast<unsigned long>(raw));
  } else {
    out += raw < 65536 ? std::to_string(raw) : StrPrintf("%#lx", static_cast<unsigned long>(raw));
  }
}

void TraceFd(Task& task, std::string& out, Fd fd) {
  if (fd.number() == AT_FDCWD) {
    out += "AT_FDCWD";
    return;
  }
  out += std::to_string(fd.number());
  const auto file = task.fds().GetAny(fd);
  if (!file.ok()) return;
  const Path& path = (*file)->path();
  out += '<';
  out += path.empty() ? (*file)->AnonymousName() : PathToString(path, task.fs().root());
  out += '>';
}

void TraceString(Task& task, std::string& out, GuestAddr addr) {
  if (addr.IsNull()) {
    out += "NULL";
    return;
  }
  const auto text = task.memory().ReadString(addr, 4096, ENAMETOOLONG);
  if (!text.ok()) return TraceAddr(out, addr);
  AppendQuoted(out, std::string_view(*text).substr(0, kMaxText));
  if (text->size() > kMaxText) out += "...";
}

void TraceAddr(std::string& out, GuestAddr addr) {
  out += addr.IsNull() ? "NULL" : StrPrintf("%#lx", static_cast<unsigned long>(addr.value()));
}

Result<int64_t> DispatchTraced(Task& task, uint64_t nr, const Row* row, const RawArgs& args) {
  std::string line = StrPrintf("[%4d] ", task.tid());
  if (row == nullptr) {
    line +=
        StrPrintf("syscall_%lu(%#lx, %#lx, %#lx)", static_cast<unsigned long>(nr), static_cast<unsigned long>(args[0]),
                  static_cast<unsigned long>(args[1]), static_cast<unsigned long>(args[2]));
    LogLine(LogLevel::kDebug, line + " = -1 ENOSYS (no such call)");
    return Err(ENOSYS);
  }
  line += row->name;
  line += '(';
  row->trace(task, args, line);  // before the call: it may change or unmap what the arguments point to
  line += ')';
  const auto result = row->invoke(task, args);
  LogLine(LogLevel::kDebug, line + " = " + ResultText(result));
  return result;
}

}  // namespace sandbox::syscalls
