// A system call is declared once: a row, beside its handler. Dispatch, argument decoding, tracing and `runsc syscalls`
// are derived from the row and the handler's own types.
//
//   Result<Fd> SysEpollCreate1(Task& task, int flags);
//   SYSCALL_ROW(epoll_create1, Lane::kShort, Support::kFull, SysEpollCreate1, "");
//
// A handler validates flags, resolves objects, calls one subsystem operation and writes results. Its parameters after
// the Task are, in order, the call's arguments: integers (truncated as the C type says), Fd, GuestAddr, GuestPtr,
// GuestStr, InArray. It returns Result<void> (0), Result<Fd>, or Result<integer>.
#pragma once

#include <sys/syscall.h>

#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/core/guest_memory.h"
#include "sentry/vfs/fd_table.h"

namespace sandbox {

class Task;

namespace syscalls {

using platform::Lane;
using RawArgs = std::array<uint64_t, 6>;

enum class Support {
  kFull,         // as Linux
  kPartial,      // the note says what is missing
  kUnsupported,  // answers the errno Linux gives when the feature is configured out; the note says which
};

// The address of an array that the call reads at once, whose elements of `Unit` bytes argument `CountArg` counts.
template <int CountArg, int Unit = 1>
class InArray : public GuestAddr {
 public:
  using GuestAddr::GuestAddr;
};

// --- Decoding -------------------------------------------------------------------------------------------------------

template <typename T>
struct ArgDecoder {
  static_assert(std::is_integral_v<T> || std::is_enum_v<T>, "no decoding for this parameter type");
  static T Decode(uint64_t raw) { return static_cast<T>(raw); }
};
template <>
struct ArgDecoder<Fd> {
  static Fd Decode(uint64_t raw) { return Fd(static_cast<int32_t>(raw)); }
};
template <>
struct ArgDecoder<GuestAddr> {
  static GuestAddr Decode(uint64_t raw) { return GuestAddr(raw); }
};
template <>
struct ArgDecoder<GuestStr> {
  static GuestStr Decode(uint64_t raw) { return GuestStr(GuestAddr(raw)); }
};
template <typename T, Dir D>
struct ArgDecoder<GuestPtr<T, D>> {
  static GuestPtr<T, D> Decode(uint64_t raw) { return GuestPtr<T, D>(GuestAddr(raw)); }
};

template <int CountArg, int Unit>
struct ArgDecoder<InArray<CountArg, Unit>> {
  static InArray<CountArg, Unit> Decode(uint64_t raw) { return InArray<CountArg, Unit>(raw); }
};

// --- What the call reads of guest memory, for the platform (platform/api/call_input.h). -----------------------------

using platform::CallInput;

template <typename T>
struct ArgInput {
  static constexpr CallInput Of(uint8_t) { return {}; }
};
template <>
struct ArgInput<GuestStr> {
  static constexpr CallInput Of(uint8_t arg) { return {.kind = CallInput::Kind::kString, .argument = arg}; }
};
template <typename T>
struct ArgInput<InPtr<T>> {
  static constexpr CallInput Of(uint8_t arg) {
    if (sizeof(T) > UINT8_MAX) return {};
    return {.kind = CallInput::Kind::kFixed, .argument = arg, .unit = sizeof(T)};
  }
};
template <int CountArg, int Unit>
struct ArgInput<InArray<CountArg, Unit>> {
  static constexpr CallInput Of(uint8_t arg) {
    return {.kind = CallInput::Kind::kCounted, .argument = arg, .count_argument = CountArg, .unit = Unit};
  }
};

using CallInputs = std::array<CallInput, platform::kMaxCallInputs>;

// The first of them, in order.
template <typename... Args>
constexpr CallInputs InputsOf() {
  CallInputs inputs = {};
  size_t count = 0;
  [[maybe_unused]] uint8_t arg = 0;
  [[maybe_unused]] const auto add = [&](CallInput input) {
    if (input.kind != CallInput::Kind::kNone && count < inputs.size()) inputs[count++] = input;
  };
  (add(ArgInput<std::remove_cvref_t<Args>>::Of(arg++)), ...);
  return inputs;
}

// --- Tracing: appends one argument's text. Strings are read from the guest, so call it before the call runs. ---------

void TraceArg(Task& task, std::string& out, uint64_t raw, bool is_signed, unsigned bytes);
void TraceFd(Task& task, std::string& out, Fd fd);
void TraceString(Task& task, std::string& out, GuestAddr addr);
void TraceAddr(std::string& out, GuestAddr addr);

template <typename T>
void TraceOne(Task& task, std::string& out, uint64_t raw) {
  if constexpr (std::is_same_v<T, Fd>) {
    TraceFd(task, out, ArgDecoder<Fd>::Decode(raw));
  } else if constexpr (std::is_same_v<T, GuestStr>) {
    TraceString(task, out, GuestAddr(raw));
  } else if constexpr (std::is_integral_v<T>) {
    TraceArg(task, out, raw, std::is_signed_v<T>, sizeof(T));
  } else {
    TraceAddr(out, GuestAddr(raw));
  }
}

// --- Rows -----------------------------------------------------------------------------------------------------------

struct Row {
  const char* name;
  int nr;  // of the architecture this was compiled for
  Lane lane;
  Support support;
  const char* note;
  Result<int64_t> (*invoke)(Task& task, const RawArgs& args);
  void (*trace)(Task& task, const RawArgs& args, std::string& out);  // "a, b, c"
  CallInputs inputs;
};

template <auto Handler>
struct Adapter;

template <typename R, typename... Args, R (*Handler)(Task&, Args...)>
struct Adapter<Handler> {
  static_assert(sizeof...(Args) <= 6);
  static constexpr CallInputs kInputs = InputsOf<Args...>();

  static Result<int64_t> Invoke(Task& task, const RawArgs& raw) {
    return InvokeWith(task, raw, std::index_sequence_for<Args...>{});
  }
  static void Trace(Task& task, const RawArgs& raw, std::string& out) {
    TraceWith(task, raw, out, std::index_sequence_for<Args...>{});
  }

 private:
  template <size_t... I>
  static Result<int64_t> InvokeWith(Task& task, [[maybe_unused]] const RawArgs& raw, std::index_sequence<I...>) {
    auto result = Handler(task, ArgDecoder<std::remove_cvref_t<Args>>::Decode(raw[I])...);
    if (!result.ok()) return result.error();
    if constexpr (std::is_same_v<R, Result<void>>) {
      return int64_t{0};
    } else if constexpr (std::is_same_v<R, Result<Fd>>) {
      return int64_t{result.value().number()};
    } else if constexpr (std::is_same_v<R, Result<GuestAddr>>) {
      return static_cast<int64_t>(result.value().value());
    } else {
      return static_cast<int64_t>(result.value());
    }
  }
  template <size_t... I>
  static void TraceWith([[maybe_unused]] Task& task, [[maybe_unused]] const RawArgs& raw, std::string& out,
                        std::index_sequence<I...>) {
    ((I == 0 ? void() : void(out += ", "), TraceOne<std::remove_cvref_t<Args>>(task, out, raw[I])), ...);
  }
};

// Adds a row at start-up. Registering a number twice aborts.
class Registrar {
 public:
  explicit Registrar(const Row& row);
};

// The row of a number, or null.
const Row* FindRow(uint64_t nr);

}  // namespace syscalls
}  // namespace sandbox

#define SYSCALL_ROW(call, lane, support, handler, note)                                                   \
  [[maybe_unused]] static const ::sandbox::syscalls::Registrar registrar_##call(::sandbox::syscalls::Row{ \
      #call, __NR_##call, lane, support, note, &::sandbox::syscalls::Adapter<&handler>::Invoke,           \
      &::sandbox::syscalls::Adapter<&handler>::Trace, ::sandbox::syscalls::Adapter<&handler>::kInputs})
// A call answered with a fixed errno.
#define SYSCALL_UNSUPPORTED(call, err, note)                                                                           \
  static ::sandbox::Result<void> Unsupported_##call(::sandbox::Task&) { return ::sandbox::Err(err); }                  \
  SYSCALL_ROW(call, ::sandbox::platform::Lane::kShort, ::sandbox::syscalls::Support::kUnsupported, Unsupported_##call, \
              note)
