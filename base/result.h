// Errno and Result<T>: how guest-facing code reports failure.
//
// A Result holds either a value or a Linux errno, so a handler reads like its manual page and nothing can forget
// to look at the error. Host-side code that talks to people (runsc) uses absl::Status instead.
#pragma once

#include <cerrno>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace sandbox {

// Kernel-internal restart codes (linux/include/linux/errno.h). They never reach the guest: the task's exit path turns
// them into EINTR or into a restarted call.
inline constexpr int kErestartsys = 512;           // restart if the handler has SA_RESTART
inline constexpr int kErestartnointr = 513;        // always restart
inline constexpr int kErestartnohand = 514;        // restart only if no handler ran
inline constexpr int kErestartRestartblock = 516;  // restart by sys_restart_syscall

// A Linux error number. Zero is not an error and is never stored in one.
class [[nodiscard]] Errno {
 public:
  constexpr explicit Errno(int value) : value_(value) {}
  constexpr int value() const { return value_; }
  friend constexpr bool operator==(Errno a, Errno b) = default;

 private:
  int value_;
};

// Errno of the host system call that just failed.
inline Errno LastErrno() { return Errno(errno); }

template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : value_(std::move(value)) {}   // NOLINT: implicit by design
  Result(Errno error) : error_(error.value()) {}  // NOLINT
  template <typename U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::remove_cvref_t<U>, T> &&
           !std::is_same_v<std::remove_cvref_t<U>, Errno> && !std::is_same_v<std::remove_cvref_t<U>, Result>)
      Result(U&& value)
      : value_(std::forward<U>(value)) {}  // NOLINT

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const = delete;  // say ok(): a Result<bool> would otherwise lie
  Errno error() const { return Errno(error_); }
  bool Is(int err) const { return !ok() && error_ == err; }

  T& value() & {
    CHECK(ok());
    return *value_;
  }
  const T& value() const& {
    CHECK(ok());
    return *value_;
  }
  T&& value() && {
    CHECK(ok());
    return std::move(*value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T value_or(T other) const { return ok() ? *value_ : std::move(other); }

 private:
  std::optional<T> value_;
  int error_ = 0;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Errno error) : error_(error.value()) {}  // NOLINT
  bool ok() const { return error_ == 0; }
  explicit operator bool() const = delete;
  Errno error() const { return Errno(error_); }
  bool Is(int err) const { return error_ == err; }
  void value() const { CHECK(ok()); }
  void operator*() const { value(); }

 private:
  int error_ = 0;
};

inline Result<void> Ok() { return {}; }

// `return Err(ENOENT);`
inline Errno Err(int value) { return Errno(value); }

// A host call's int return turned into a Result.
inline Result<int> HostResult(long ret) {
  if (ret < 0) return LastErrno();
  return static_cast<int>(ret);
}

}  // namespace sandbox

// Evaluates to the value of a Result, or returns its error from the calling function. Never in an expression that has
// made a non-trivial object before it (`Path{mount, TRY(f())}`): gcc does not destroy that object on the way out.
#define TRY(...)                        \
  ({                                    \
    auto try_result_ = (__VA_ARGS__);   \
    if (!try_result_.ok()) [[unlikely]] \
      return try_result_.error();       \
    std::move(try_result_).value();     \
  })
