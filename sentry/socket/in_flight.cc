#include "sentry/socket/in_flight.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <unordered_map>

#include "sentry/core/deferred.h"
#include "sentry/socket/receive_queue.h"
#include "sentry/socket/socket.h"

namespace sandbox {
namespace {

struct Registry {
  Mutex mu{LockRank::kFile};                                   // before the locks of sockets
  std::unordered_map<Socket*, size_t> sockets GUARDED_BY(mu);  // how often each is in flight
  std::unordered_map<uint32_t, size_t> per_user GUARDED_BY(mu);
  std::atomic<bool> any_socket{false};
  std::atomic<bool> collecting{false};
};
Registry& Get() {
  static auto* const registry = new Registry;  // sockets may outlive every other object
  return *registry;
}

// Only these hold messages with files.
Socket* UnixSocketOf(const FileRef& file) {
  auto* const socket = dynamic_cast<Socket*>(file.get());
  return socket != nullptr && socket->family() == AF_UNIX ? socket : nullptr;
}

using Counts = std::unordered_map<Socket*, size_t>;

// Calls f(socket) for each unix socket that is in flight in a queue of `holder`.
template <typename F>
void ForEachHeld(Socket& holder, F f) {
  holder.VisitQueues([&](ReceiveQueue& queue) {
    for (const FileRef& file : queue.FilesInFlight()) {
      if (Socket* const held = UnixSocketOf(file)) f(held);
    }
  });
}

// Those of `candidates`, sockets with no reference but from messages, that no other socket's messages lead to.
std::vector<Socket*> Unreachable(Counts candidates) {
  Counts outside = candidates;
  for (const auto& [holder, count] : candidates) {
    ForEachHeld(*holder, [&](Socket* held) {
      const auto it = outside.find(held);
      if (it != outside.end() && it->second > 0) --it->second;
    });
  }
  std::vector<Socket*> reached;
  for (const auto& [socket, count] : outside) {
    if (count > 0) reached.push_back(socket);
  }
  for (Socket* const socket : reached) candidates.erase(socket);
  while (!reached.empty()) {
    Socket* const holder = reached.back();
    reached.pop_back();
    ForEachHeld(*holder, [&](Socket* held) {
      if (candidates.erase(held) != 0) reached.push_back(held);
    });
  }
  std::vector<Socket*> garbage;
  for (const auto& [socket, count] : candidates) garbage.push_back(socket);
  return garbage;
}

// While the lock is held nothing enters or leaves a message. A message that is between two queues, or a file whose
// reference is copied by MSG_PEEK, only makes a socket look reachable: who could do either has a way to it.
void Collect() {
  Registry& registry = Get();
  registry.collecting.store(false);
  std::vector<InFlightFiles> dropped;  // closed after the lock: their sockets may be the next to be collected
  MutexLock lock(registry.mu);
  Counts candidates;
  for (const auto& [socket, count] : registry.sockets) {
    if (static_cast<size_t>(socket->weak_from_this().use_count()) == count) candidates.emplace(socket, count);
  }
  for (Socket* const socket : Unreachable(std::move(candidates))) {
    socket->VisitQueues([&](ReceiveQueue& queue) {
      for (InFlightFiles& files : queue.TakeFilesInFlight()) dropped.push_back(std::move(files));
    });
  }
}

}  // namespace

InFlightFiles::InFlightFiles(std::vector<FileRef> files, uint32_t uid)
    : files_(std::move(files)), uid_(uid), counted_(!files_.empty()) {
  if (!counted_) return;
  Registry& registry = Get();
  MutexLock lock(registry.mu);
  registry.per_user[uid_] += files_.size();
  for (const FileRef& file : files_) {
    if (Socket* const socket = UnixSocketOf(file)) ++registry.sockets[socket];
  }
  registry.any_socket.store(!registry.sockets.empty());
}

InFlightFiles& InFlightFiles::operator=(InFlightFiles&& other) noexcept {
  (void)Take();
  files_ = std::move(other.files_);
  other.files_.clear();
  uid_ = other.uid_;
  counted_ = std::exchange(other.counted_, false);
  return *this;
}

std::vector<FileRef> InFlightFiles::Take() {
  if (counted_) {
    counted_ = false;
    Registry& registry = Get();
    MutexLock lock(registry.mu);
    const auto user = registry.per_user.find(uid_);
    if ((user->second -= files_.size()) == 0) registry.per_user.erase(user);
    for (const FileRef& file : files_) {
      Socket* const socket = UnixSocketOf(file);
      if (socket == nullptr) continue;
      const auto it = registry.sockets.find(socket);
      if (--it->second == 0) registry.sockets.erase(it);
    }
    registry.any_socket.store(!registry.sockets.empty());
  }
  return std::exchange(files_, {});
}

InFlightFiles InFlightFiles::Glimpse() const {
  InFlightFiles copy;
  copy.files_ = files_;
  return copy;
}

Result<void> CheckInFlightLimit(Context& context) {
  Registry& registry = Get();
  {
    MutexLock lock(registry.mu);
    const auto user = registry.per_user.find(context.creds().uid);
    if (user == registry.per_user.end() || user->second <= context.rlimit(RLIMIT_NOFILE)) return {};
  }
  if (context.creds().Has(CAP_SYS_RESOURCE) || context.creds().Has(CAP_SYS_ADMIN)) return {};
  return Err(ETOOMANYREFS);
}

void CollectInFlightSoon() {
  Registry& registry = Get();
  if (!registry.any_socket.load() || registry.collecting.exchange(true)) return;
  Defer(&Collect);
}

}  // namespace sandbox
