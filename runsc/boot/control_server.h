// The sentry's answers to runsc: the boot connection, the stand-ins of containers, and control connections
// (control/message.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "runsc/boot/config.h"
#include "runsc/boot/container.h"
#include "runsc/boot/guest_container.h"
#include "runsc/control/message.h"
#include "sentry/kernel/kernel.h"

namespace sandbox::boot {

class ControlServer {
 public:
  // `kernel` and `config` outlive the server. Descriptors are those of config.h.
  ControlServer(Kernel& kernel, const BootConfig& config, HostStarted init);

  // Serves connections until the process ends: with the first container's init (Finish), with a boot connection that
  // closes before it said kDetach, or with the first container's stand-in, whose death is the container's. Blocks.
  [[noreturn]] void Serve();
  // Waits for the end of the first container's init, reports it, calls `before_exit` and ends the process.
  [[noreturn]] void Finish(const std::function<void()>& before_exit);

 private:
  using Connection = GuestContainer::Connection;
  using ContainerRef = std::shared_ptr<GuestContainer>;

  // On a thread of its own: a request may take as long as the file system it touches.
  void ServeConnection(const Connection& connection);
  // False when the connection is another's from now on.
  bool Answer(const Connection& connection, const control::Message& request, std::vector<UniqueFd> fds);
  absl::Status Do(const ContainerRef& container, const control::Message& request, std::string& text);
  // Null when there is none; the first one for an empty id.
  ContainerRef Find(const std::string& id);
  void RunExec(const Connection& connection, const ContainerRef& container, std::vector<UniqueFd> fds);
  // Makes a further container and stays with its creator until that lets go.
  void RunCreate(const Connection& connection, std::vector<UniqueFd> fds);
  absl::StatusOr<ContainerRef> Join(std::vector<UniqueFd> fds);
  absl::StatusOr<ContainerPlace> PlaceOf(const BootConfig& config, CgroupHost host);
  // On a thread of its own, until the stand-in is gone.
  void ServeStandIn(const ContainerRef& container);

  Kernel& kernel_;
  const BootConfig& config_;
  const ContainerRef first_;

  Mutex mu_{LockRank::kControl};
  std::map<std::string, ContainerRef> others_ GUARDED_BY(mu_);  // by id; null while it is being made
  int connections_ GUARDED_BY(mu_) = 0;
};

}  // namespace sandbox::boot
