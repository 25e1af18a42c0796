// Helpers for tests of system calls: plain Linux code that runs natively and in the sandbox alike.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>

#include <gtest/gtest.h>

namespace guest {

inline ::testing::AssertionResult FailsWith(const char* call, int wanted, long result) {
  if (result == -1 && errno == wanted) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << call << " gives " << result << " (" << std::strerror(errno) << "), not "
                                       << std::strerror(wanted);
}

// The call fails with -1 and this errno.
#define EXPECT_ERRNO(err, call) EXPECT_TRUE(::guest::FailsWith(#call, err, (errno = 0, static_cast<long>(call))))
// The call succeeds with 0, or with this value.
#define EXPECT_OK(call) EXPECT_EQ(static_cast<long>(call), 0) << #call << ": " << std::strerror(errno)
#define ASSERT_OK(call) ASSERT_EQ(static_cast<long>(call), 0) << #call << ": " << std::strerror(errno)

// A fresh directory, removed with its contents at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// An open descriptor, closed at the end.
class ScopedFd {
 public:
  explicit ScopedFd(int fd) : fd_(fd) {}
  ~ScopedFd();
  ScopedFd(const ScopedFd&) = delete;
  int get() const { return fd_; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  void reset(int fd = -1);

 private:
  int fd_;
};

// Pages whose tail is inaccessible: the last `good` bytes before the hole are at front().
class EdgeBuffer {
 public:
  explicit EdgeBuffer(size_t good);
  ~EdgeBuffer();
  EdgeBuffer(const EdgeBuffer&) = delete;
  char* front() const { return front_; }

 private:
  char* map_;
  char* front_;
};

// An address nothing is mapped at.
inline void* BadPointer() { return reinterpret_cast<void*>(16); }

void WriteFileText(const std::string& path, const std::string& text);
std::string ReadFileText(const std::string& path);

// Runs `body` in a forked child and returns its exit status; 128 + n when a signal killed it. A child whose gtest
// expectations failed exits with 99.
int RunInChild(const std::function<int()>& body);
// The same as an unprivileged user with no capabilities.
int RunAsNobody(const std::function<int()>& body);

// Sends SIGALRM, with a handler that does nothing, to this process again and again until destroyed, so that a blocking
// call is interrupted. `restart`: SA_RESTART.
class Interrupter {
 public:
  explicit Interrupter(bool restart = false);
  ~Interrupter();
  static int count();

 private:
  struct sigaction old_;
};

}  // namespace guest
