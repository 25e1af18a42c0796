#include "runsc/container/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/io/whole_file.h"
#include "runsc/cgroup/cgroup.h"
#include "runsc/container/remove_tree.h"

namespace sandbox {
namespace {

constexpr char kState[] = "state.json";
constexpr char kNewState[] = "state.json.new";
constexpr char kSocket[] = "control.sock";
constexpr char kExit[] = "exit";
constexpr char kOverlay[] = "overlay";
constexpr char kDoesNotExist[] = "container does not exist";
constexpr int kBacklog = 128;
constexpr size_t kMaxState = 64 << 20;

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::Status MakeParents(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    if (::mkdir(path.substr(0, slash).c_str(), 0711) != 0 && errno != EEXIST)
      return Failed("mkdir " + path.substr(0, slash));
  }
  if (::mkdir(path.c_str(), 0711) != 0 && errno != EEXIST) return Failed("mkdir " + path);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAt(BorrowedFd dir, const char* name) {
  const UniqueFd fd(::openat(dir.get(), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return errno == ENOENT ? absl::NotFoundError(name) : Failed(name);
  auto text = ReadAll(fd.borrow(), kMaxState);
  if (text.ok()) return *std::move(text);
  return absl::InternalError(absl::StrCat(name, ": ", std::strerror(text.error().value())));
}

}  // namespace

absl::StatusOr<ContainerDir> ContainerDir::Create(const std::string& root, const std::string& id) {
  if (auto status = MakeParents(root); !status.ok()) return status;
  const std::string path = root + "/" + id;
  for (;;) {
    const bool made = ::mkdir(path.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return Failed("mkdir " + path);
    auto dir = Open(root, id, false);
    // A creator holds the lock from its first moment to its last; somebody who holds it now is using the container.
    absl::Status locked = dir.ok() ? dir->Lock(made) : dir.status();
    if (absl::IsNotFound(locked)) continue;  // deleted in between
    if (absl::IsUnavailable(locked)) return absl::AlreadyExistsError("container with given ID already exists: " + id);
    if (!locked.ok()) return locked;
    auto state = dir->Load();
    if (absl::IsNotFound(state.status())) return dir;  // ours, or one whose creator died before it wrote anything
    const bool lives = state.ok() && (IsAlive(state->container) || (state->sandbox.empty() && IsAlive(state->sentry)));
    if (made || !state.ok() || state->status != Status::kCreating || lives) {
      return absl::AlreadyExistsError("container with given ID already exists: " + id);
    }
    // What is left of a killed create goes; its processes are gone already.
    if (auto removed = cgroup::Cgroup::Existing(state->cgroups).Remove(); !removed.ok()) return removed;
    for (const std::string& folder : {dir->overlay_folder(), state->upper}) {
      auto removed = folder.empty() ? absl::OkStatus() : RemoveTree(folder);
      if (!removed.ok()) return removed;
    }
    return dir;
  }
}

absl::StatusOr<ContainerDir> ContainerDir::Open(const std::string& root, const std::string& id, bool lock) {
  const std::string path = root + "/" + id;
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) return errno == ENOENT ? absl::NotFoundError(kDoesNotExist) : Failed(path);
  ContainerDir dir(path, id, std::move(fd));
  if (lock) {
    if (auto status = dir.Lock(true); !status.ok()) return status;
  }
  return dir;
}

std::vector<std::string> ContainerDir::List(const std::string& root) {
  std::vector<std::string> ids;
  DIR* dir = ::opendir(root.c_str());
  if (dir == nullptr) return ids;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') ids.push_back(entry->d_name);
  }
  ::closedir(dir);
  std::sort(ids.begin(), ids.end());
  return ids;
}

absl::Status ContainerDir::Lock(bool wait) {
  int result;
  do {
    result = ::flock(dir_.get(), LOCK_EX | (wait ? 0 : LOCK_NB));
  } while (result != 0 && errno == EINTR);
  if (result != 0)
    return errno == EWOULDBLOCK ? absl::UnavailableError("the container is in use by another runsc") : Failed("flock");
  struct stat st;
  if (::fstat(dir_.get(), &st) != 0 || st.st_nlink == 0) return absl::NotFoundError(kDoesNotExist);
  return absl::OkStatus();
}

void ContainerDir::Unlock() { ::flock(dir_.get(), LOCK_UN); }

absl::StatusOr<ContainerState> ContainerDir::Load() const {
  auto text = ReadAt(dir_.borrow(), kState);
  if (absl::IsNotFound(text.status())) return absl::NotFoundError(kDoesNotExist);
  if (!text.ok()) return text.status();
  return ParseState(*text);
}

absl::Status ContainerDir::Save(const ContainerState& state) const {
  const std::string text = ToJson(state);
  const UniqueFd fd(::openat(dir_.get(), kNewState, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return Failed("writing the state");
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::renameat(dir_.get(), kNewState, dir_.get(), kState) != 0) {
    auto status = Failed("writing the state");
    ::unlinkat(dir_.get(), kNewState, 0);
    return status;
  }
  return absl::OkStatus();
}

absl::Status ContainerDir::Remove(const std::string& upper) {
  for (const std::string& folder : {overlay_folder(), upper}) {
    if (auto status = folder.empty() ? absl::OkStatus() : RemoveTree(folder); !status.ok()) return status;
  }
  // The state goes last but the folder: until then the container is there, and deleting it can be tried again.
  for (const char* name : {kSocket, kExit, kNewState, kState}) {
    if (::unlinkat(dir_.get(), name, 0) != 0 && errno != ENOENT) return Failed(path_ + "/" + name);
  }
  return ::rmdir(path_.c_str()) == 0 || errno == ENOENT ? absl::OkStatus() : Failed(path_);
}

std::string ContainerDir::overlay_folder() const { return path_ + "/" + kOverlay; }

// A name that fits a socket address however long --root is.
std::string ContainerDir::ProcPath(const char* name) const {
  return absl::StrCat("/proc/self/fd/", dir_.get(), "/", name);
}

absl::StatusOr<UniqueFd> ContainerDir::Listen() const {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = ProcPath(kSocket);
  name.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ::unlinkat(dir_.get(), kSocket, 0);
  if (!socket.valid() || ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return Failed("control socket");
  }
  return socket;
}

absl::StatusOr<UniqueFd> ContainerDir::Connect(const ContainerState& state) const {
  if (!state.sandbox.empty()) {
    auto pod = Open(path_.substr(0, path_.rfind('/')), state.sandbox, false);
    if (!pod.ok()) return absl::FailedPreconditionError("container not running: its sandbox is gone");
    return pod->ConnectHere();
  }
  return ConnectHere();
}

absl::StatusOr<UniqueFd> ContainerDir::ConnectHere() const {
  UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string name = ProcPath(kSocket);
  name.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (!socket.valid() || ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    // Nobody listens any more.
    return errno == ECONNREFUSED || errno == ENOENT ? absl::FailedPreconditionError("container not running")
                                                    : Failed("control socket");
  }
  return socket;
}

absl::StatusOr<UniqueFd> ContainerDir::MakeExitFile() const {
  UniqueFd fd(::openat(dir_.get(), kExit, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return Failed("exit file");
  return fd;
}

absl::StatusOr<int> ContainerDir::ReadExitCode() const {
  auto text = ReadAt(dir_.borrow(), kExit);
  int code;
  if (!text.ok() || !absl::SimpleAtoi(*text, &code))
    return absl::NotFoundError("the container's exit code is not known");
  return code;
}

}  // namespace sandbox
