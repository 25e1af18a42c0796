// The network namespace that a container's bundle names.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace sandbox::ns {

// While it lives, the calling process is in another network namespace, which what it forks inherits.
class NetworkNamespace {
 public:
  // `path` of an existing namespace; empty for a new one, whose loopback interface is brought up.
  static absl::StatusOr<NetworkNamespace> Enter(const std::string& path);
  NetworkNamespace(NetworkNamespace&&) = default;
  NetworkNamespace& operator=(NetworkNamespace&&) = delete;
  ~NetworkNamespace();

  // Back to where the process was, if it may: who is root of a user namespace alone cannot go back to the host's, and
  // stays.
  absl::Status Leave();
  // Another than where the process was: a bundle may name the host's own.
  bool other() const { return other_; }

 private:
  NetworkNamespace(UniqueFd old, bool other) : old_(std::move(old)), other_(other) {}
  UniqueFd old_;
  bool other_;
};

// "net/ipv4/ip_forward", for a name with either separator; with dots, a slash in the name stands for a dot (sysctl(8)).
std::string SysctlPath(std::string name);
// Writes a sysctl of the calling process's namespaces: "net.ipv4.ip_forward". InvalidArgument for a name that is none.
absl::Status WriteSysctl(const std::string& name, const std::string& value);

}  // namespace sandbox::ns
