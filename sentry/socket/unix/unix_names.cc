#include "sentry/socket/unix/unix_names.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <unordered_map>

#include "sentry/vfs/operations.h"
#include "sentry/vfs/walk.h"

namespace sandbox {
namespace {

constexpr size_t kFamilySize = sizeof(sa_family_t);
constexpr uint32_t kAutobindNames = 1 << 20;  // five hexadecimal digits

// What an inode keeps: the socket may be closed while its file stays.
struct BoundNode {
  WeakRef<LocalEndpoint> endpoint;
};

using AbstractNames = std::unordered_map<std::string, WeakRef<LocalEndpoint>>;
struct NameTable : Guarded<AbstractNames> {
  NameTable() : Guarded(LockRank::kLeaf) {}
};
RefPtr<NameTable> Names(NetNamespace& net) { return net.Table<NameTable>("unix"); }

struct Name {
  bool abstract;
  std::string text;  // abstract: all bytes after the NUL; path: without the NUL
};

Result<Name> ParseName(const SocketAddress& address) {
  if (address.size <= kFamilySize || address.size > sizeof(sockaddr_un)) return Err(EINVAL);
  if (address.family() != AF_UNIX) return Err(EINVAL);
  const char* text = reinterpret_cast<const char*>(address.bytes.data()) + kFamilySize;
  const size_t size = address.size - kFamilySize;
  if (text[0] == 0) return Name{true, std::string(text + 1, size - 1)};
  return Name{false, std::string(text, strnlen(text, size))};
}

SocketAddress AbstractAddress(const std::string& name) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path + 1, name.data(), name.size());
  return SocketAddress::From(un, kFamilySize + 1 + name.size());
}

// True when the name was free or its owner is gone.
bool ClaimAbstract(NetNamespace& net, const LocalEndpointRef& endpoint, const std::string& name) {
  return Names(net)->With([&](AbstractNames& names) {
    auto& owner = names[name];
    const auto old = owner.lock();
    if (old != nullptr && !old->closed()) return false;
    owner = endpoint;
    return true;
  });
}

Result<void> Autobind(NetNamespace& net, const LocalEndpointRef& endpoint) {
  static std::atomic<uint32_t> next{1};
  if (!endpoint->address().empty()) return {};  // Linux: keeps the name it has
  for (uint32_t tries = 0; tries < kAutobindNames; ++tries) {
    char name[8];
    std::snprintf(name, sizeof(name), "%05x", next.fetch_add(1) % kAutobindNames);
    if (!ClaimAbstract(net, endpoint, name)) continue;
    return endpoint->SetAddress(AbstractAddress(name));
  }
  return Err(ENOSPC);
}

Result<void> BindPath(const SocketCaller& caller, const LocalEndpointRef& endpoint, const std::string& path) {
  const auto made = MakeNodePath(caller.context, caller.base, path, S_IFSOCK | 0777, 0, caller.umask);
  if (made.Is(EEXIST)) return Err(EADDRINUSE);
  if (!made.ok()) return made.error();
  auto node = MakeRef<BoundNode>();
  node->endpoint = endpoint;
  made->inode()->set_attachment(std::move(node));
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), std::min(path.size(), sizeof(un.sun_path)));
  const size_t with_nul = std::min(path.size() + 1, sizeof(un.sun_path));
  return endpoint->SetAddress(SocketAddress::From(un, kFamilySize + with_nul));
}

Result<LocalEndpointRef> FindPath(const SocketCaller& caller, const std::string& path) {
  const Path found = TRY(Walk(caller.context, caller.base, path, WalkOptions{}));
  const InodeRef inode = found.inode();
  TRY(inode->CheckAccess(caller.context, W_OK));
  const Attr attr = TRY(inode->GetAttr(caller.context));
  if (attr.type() != S_IFSOCK) return Err(ECONNREFUSED);
  const auto node = std::static_pointer_cast<BoundNode>(inode->attachment());
  auto endpoint = node != nullptr ? node->endpoint.lock() : nullptr;
  if (endpoint == nullptr || endpoint->closed()) return Err(ECONNREFUSED);
  return endpoint;
}

}  // namespace

Result<void> BindUnixName(NetNamespace& net, const SocketCaller& caller, const LocalEndpointRef& endpoint,
                          const SocketAddress& address) {
  if (address.size == kFamilySize && address.family() == AF_UNIX) return Autobind(net, endpoint);
  const Name name = TRY(ParseName(address));
  if (!endpoint->address().empty()) {
    // Linux makes the node before it looks at the socket: a name that is taken is the first thing wrong.
    const bool taken = !name.abstract && Walk(caller.context, caller.base, name.text, {.follow_last = false}).ok();
    return Err(taken ? EADDRINUSE : EINVAL);
  }
  if (!name.abstract) return BindPath(caller, endpoint, name.text);
  if (!ClaimAbstract(net, endpoint, name.text)) return Err(EADDRINUSE);
  return endpoint->SetAddress(AbstractAddress(name.text));
}

Result<LocalEndpointRef> FindUnixName(NetNamespace& net, const SocketCaller& caller, const SocketAddress& address) {
  const Name name = TRY(ParseName(address));
  if (!name.abstract) return FindPath(caller, name.text);
  auto endpoint = Names(net)->With([&](AbstractNames& names) {
    auto it = names.find(name.text);
    return it == names.end() ? nullptr : it->second.lock();
  });
  if (endpoint == nullptr || endpoint->closed()) return Err(ECONNREFUSED);
  return endpoint;
}

void ReleaseUnixName(NetNamespace& net, const LocalEndpoint& endpoint) {
  const SocketAddress address = endpoint.address();
  const auto name = ParseName(address);
  if (!name.ok() || !name->abstract) return;
  Names(net)->With([&](AbstractNames& names) {
    auto it = names.find(name->text);
    if (it == names.end()) return;
    const auto owner = it->second.lock();
    if (owner == nullptr || owner.get() == &endpoint) names.erase(it);
  });
}

}  // namespace sandbox
