// Finding objects: trees, walks of many components, batches of lookups, symbolic links.

#include <fcntl.h>
#include <sys/stat.h>

#include "gofer/server/host_fs.h"
#include "gofer/server/ops.h"

namespace sandbox::gofer {

Result<Target> GetTarget(NodeTable& nodes, Handle handle) {
  NodeRef node = TRY(nodes.Get(handle));
  if (node->blocked()) return Err(EACCES);
  SharedFd fd = TRY(nodes.Fd(node));
  return Target{std::move(node), std::move(fd)};
}

Result<Target> GetWritable(NodeTable& nodes, Handle handle) {
  Target target = TRY(GetTarget(nodes, handle));
  if (nodes.read_only(*target.node)) return Err(EROFS);
  return target;
}

Result<Target> GetWritableDir(NodeTable& nodes, Handle handle) {
  Target target = TRY(GetWritable(nodes, handle));
  if (target.node->type() != S_IFDIR) return Err(ENOTDIR);
  return target;
}

Result<std::string> GetName(Reader& in) {
  const std::string_view name = in.GetString(kMaxName);
  if (!in.ok()) return Err(EPROTO);
  if (!ValidName(name)) return Err(EINVAL);
  return std::string(name);
}

Result<Made> MakeHandle(NodeTable& nodes, const Target& parent, const std::string& name, const FileAttr& attr) {
  UniqueFd fd;
  bool blocked = parent.node->blocked();
  if (attr.dev != parent.node->dev()) {
    // A mount point: what is mounted there decides.
    fd = TRY(OpenIn(parent.fd->borrow(), name.c_str(), O_PATH));
    blocked = TRY(IsKernelFileSystem(fd.borrow()));
  }
  NodeRef node = nodes.MakeNode(parent.node, name, attr, blocked);
  if (fd.valid()) nodes.SetFd(node, std::move(fd));
  const Handle handle = TRY(nodes.NewHandle(node));
  return Made{std::move(node), handle};
}

namespace {

// Appends the record of `name` in `parent` to the reply; the target text follows for symbolic links.
Result<Made> PutEntry(NodeTable& nodes, const Target& parent, const std::string& name, Reply& reply) {
  const FileAttr attr = TRY(StatIn(parent.fd->borrow(), name.c_str()));
  std::string target;
  if (S_ISLNK(attr.mode)) target = TRY(ReadLinkIn(parent.fd->borrow(), name.c_str()));
  if (reply.body.room() < sizeof(Entry) + 2 + target.size()) return Err(EMSGSIZE);
  Made made = TRY(MakeHandle(nodes, parent, name, attr));
  reply.body.Put(Entry{made.handle, 0, 0, attr});
  reply.body.PutString(target);
  ++reply.count;
  return made;
}

Result<std::vector<std::string>> GetNames(Reader& in) {
  const uint32_t count = in.Get<uint32_t>();
  if (!in.ok() || count == 0 || count > kMaxWalk) return Err(EPROTO);
  std::vector<std::string> names;
  names.reserve(count);
  for (uint32_t i = 0; i < count; ++i) names.push_back(TRY(GetName(in)));
  return names;
}

}  // namespace

Result<void> OpHello(NodeTable& nodes, const RequestHeader&, Reader& in, Reply& reply) {
  const uint32_t version = in.Get<uint32_t>();
  if (!in.Done()) return Err(EPROTO);
  if (version != kProtocolVersion) return Err(EPROTONOSUPPORT);
  for (size_t i = 0; i < nodes.tree_count(); ++i) {
    const NodeRef& root = nodes.root(i);
    const SharedFd fd = TRY(nodes.Fd(root));
    TreeInfo info{};
    info.attr = TRY(StatIn(fd->borrow(), ""));
    info.read_only = nodes.read_only(*root);
    info.root = TRY(nodes.NewHandle(root));
    reply.body.Put(info);
    ++reply.count;
  }
  return {};
}

Result<void> OpForget(NodeTable& nodes, const RequestHeader&, Reader& in, Reply&) {
  const uint32_t count = in.Get<uint32_t>();
  if (!in.ok() || count > kMaxForget) return Err(EPROTO);
  for (uint32_t i = 0; i < count; ++i) nodes.Forget(in.Get<Handle>());
  return in.Done() ? Ok() : Result<void>(Err(EPROTO));
}

// Answers as many entries as exist; the error says why it went no further. A symbolic link ends the walk: the sentry
// resolves it, by the guest's rules and in the guest's mount tree.
Result<void> OpWalk(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto names = TRY(GetNames(in));
  const uint32_t open_flags = (header.flags & kWalkOpen) ? in.Get<uint32_t>() : 0;
  if (!in.Done()) return Err(EPROTO);
  Target at = TRY(GetTarget(nodes, header.handle));
  for (size_t i = 0; i < names.size(); ++i) {
    if (at.node->type() != S_IFDIR) return i == 0 ? Err(ENOTDIR) : Ok();
    if (at.node->blocked()) return Err(EACCES);
    const Made made = TRY(PutEntry(nodes, at, names[i], reply));
    const bool last = i + 1 == names.size();
    if (last && !(header.flags & kWalkOpen)) return {};
    at.node = made.node;
    if (made.node->type() == (last ? S_IFREG : S_IFDIR)) at.fd = TRY(nodes.Fd(made.node));
    if (!last || made.node->type() != S_IFREG) continue;
    // The walk succeeded whatever the open says: the sentry asks again, and hears why, when the guest does open.
    auto fd = OpenForGuest(nodes, at, open_flags);
    if (fd.ok()) reply.fds.push_back(std::move(*fd));
  }
  return {};
}

Result<void> OpLookupMany(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  const auto names = TRY(GetNames(in));
  if (!in.Done()) return Err(EPROTO);
  const Target dir = TRY(GetTarget(nodes, header.handle));
  if (dir.node->type() != S_IFDIR) return Err(ENOTDIR);
  for (const std::string& name : names) {
    const auto made = PutEntry(nodes, dir, name, reply);
    if (made.ok()) continue;
    if (made.Is(EMSGSIZE) || reply.body.room() < sizeof(Entry) + 2) break;  // the client asks for the rest again
    Entry failed{};
    failed.error = made.error().value();
    reply.body.Put(failed);
    reply.body.PutString("");
    ++reply.count;
  }
  return {};
}

Result<void> OpReadLink(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply) {
  if (!in.Done()) return Err(EPROTO);
  const Target target = TRY(GetTarget(nodes, header.handle));
  if (target.node->type() != S_IFLNK) return Err(EINVAL);
  reply.body.PutString(TRY(ReadLinkIn(target.fd->borrow(), "")));
  return {};
}

}  // namespace sandbox::gofer
