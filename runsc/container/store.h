// The folder of --root: one folder a container, with state.json, the control socket and the exit code. The folder
// itself is what is locked (flock(2)): by create, start and delete for as long as they work, by nobody for reading.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/container/state.h"

namespace sandbox {

class ContainerDir {
 public:
  // Makes the folder of a new container and locks it. AlreadyExists: "container with given ID already exists". What a
  // killed create left behind is not in the way once nothing of it lives.
  static absl::StatusOr<ContainerDir> Create(const std::string& root, const std::string& id);
  // NotFound: "container does not exist". With `lock` waits for its turn.
  static absl::StatusOr<ContainerDir> Open(const std::string& root, const std::string& id, bool lock);
  static std::vector<std::string> List(const std::string& root);

  absl::StatusOr<ContainerState> Load() const;
  absl::Status Save(const ContainerState& state) const;
  // Waits for the lock; NotFound when the container was deleted meanwhile. With `wait` false: Unavailable at once.
  absl::Status Lock(bool wait);
  void Unlock();
  // Deletes the folder and what is in it. `upper`: the container's other folder (ContainerState), or empty.
  absl::Status Remove(const std::string& upper);

  // A socket that accepts control connections, bound in the folder.
  absl::StatusOr<UniqueFd> Listen() const;
  // A control connection to the sentry that has `state`'s container. FailedPrecondition: "container not running".
  absl::StatusOr<UniqueFd> Connect(const ContainerState& state) const;
  // The exit code, written by the container's process when it ends.
  absl::StatusOr<UniqueFd> MakeExitFile() const;
  absl::StatusOr<int> ReadExitCode() const;

  const std::string& id() const { return id_; }
  // Where an overlay keeps what the container writes, unless it is told another place.
  std::string overlay_folder() const;

 private:
  ContainerDir(std::string path, std::string id, UniqueFd dir)
      : path_(std::move(path)), id_(std::move(id)), dir_(std::move(dir)) {}
  std::string ProcPath(const char* name) const;
  absl::StatusOr<UniqueFd> ConnectHere() const;

  std::string path_, id_;
  UniqueFd dir_;
};

}  // namespace sandbox
