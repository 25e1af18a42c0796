#include "gofer/server/node.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "gofer/server/host_fs.h"

namespace sandbox::gofer {

Node::Node(NodeTable& table, uint32_t tree, NodeRef parent, std::string name, const FileAttr& attr, bool blocked)
    : table_(table),
      tree_(tree),
      type_(attr.mode & S_IFMT),
      dev_(attr.dev),
      ino_(attr.ino),
      blocked_(blocked),
      parent_(std::move(parent)),
      name_(std::move(name)) {}

Node::~Node() {
  table_.Drop(*this);
  // A hostile client can make a chain of directories of any depth: its end must not recurse.
  NodeRef up = std::move(parent_);
  while (up != nullptr && up.use_count() == 1) {
    NodeRef next = std::move(up->parent_);
    up = std::move(next);
  }
}

NodeTable::~NodeTable() {
  slots_.clear();
  roots_.clear();
}

Result<void> NodeTable::AddTree(Tree tree) {
  const FileAttr attr = TRY(StatIn(tree.root.borrow(), ""));
  const bool blocked = TRY(IsKernelFileSystem(tree.root.borrow()));
  auto node = MakeRef<Node>(*this, static_cast<uint32_t>(roots_.size()), nullptr, "", attr, blocked);
  node->fd_ = MakeRef<UniqueFd>(std::move(tree.root));
  roots_.push_back({tree.read_only, std::move(node)});
  return {};
}

NodeRef NodeTable::MakeNode(const NodeRef& parent, std::string_view name, const FileAttr& attr, bool blocked) {
  return MakeRef<Node>(*this, parent->tree(), parent, std::string(name), attr, blocked);
}

Result<Handle> NodeTable::NewHandle(NodeRef node) {
  MutexLock lock(mu_);
  uint32_t index;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    if (slots_.size() >= kMaxHandles) return Err(ENFILE);
    index = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  }
  slots_[index].node = std::move(node);
  return (static_cast<uint64_t>(slots_[index].generation) << 32) | index;
}

Result<NodeRef> NodeTable::Get(Handle handle) {
  const uint32_t index = static_cast<uint32_t>(handle);
  MutexLock lock(mu_);
  if (index >= slots_.size()) return Err(EBADF);
  const Slot& slot = slots_[index];
  if (slot.node == nullptr || slot.generation != handle >> 32) return Err(EBADF);
  return slot.node;
}

void NodeTable::Forget(Handle handle) {
  const uint32_t index = static_cast<uint32_t>(handle);
  NodeRef dropped;  // destroyed after the lock is released
  MutexLock lock(mu_);
  if (index >= slots_.size()) return;
  Slot& slot = slots_[index];
  if (slot.node == nullptr || slot.generation != handle >> 32) return;
  dropped = std::move(slot.node);
  slot.node = nullptr;
  if (++slot.generation == 0) slot.generation = 1;  // no handle is ever zero
  free_.push_back(index);
}

void NodeTable::Touch(Node& node) {
  if (node.pinned_ || node.parent_ == nullptr) return;
  if (node.in_lru_) {
    lru_.splice(lru_.begin(), lru_, node.lru_);
    return;
  }
  lru_.push_front(&node);
  node.lru_ = lru_.begin();
  node.in_lru_ = true;
}

void NodeTable::Evict(std::vector<SharedFd>& closed) {
  while (lru_.size() > kMaxOpen) {
    Node& victim = *lru_.back();
    lru_.pop_back();
    victim.in_lru_ = false;
    closed.push_back(std::move(victim.fd_));
    victim.fd_ = nullptr;
  }
}

void NodeTable::SetFd(const NodeRef& node, UniqueFd fd) {
  auto shared = MakeRef<const UniqueFd>(std::move(fd));
  std::vector<SharedFd> closed;  // close(2) runs without the lock
  MutexLock lock(mu_);
  if (node->fd_ != nullptr) return;
  node->fd_ = std::move(shared);
  Touch(*node);
  Evict(closed);
}

void NodeTable::Drop(Node& node) {
  MutexLock lock(mu_);
  if (node.in_lru_) lru_.erase(node.lru_);
  if (node.pinned_) --pinned_;
}

Result<UniqueFd> NodeTable::Reopen(const Node& node, BorrowedFd parent, const char* name) {
  auto fd = OpenIn(parent, name, O_PATH);
  if (!fd.ok()) return fd.Is(ENOENT) || fd.Is(ENOTDIR) ? Err(ESTALE) : fd.error();
  const FileAttr attr = TRY(StatIn(fd->borrow(), ""));
  if (attr.dev != node.dev() || attr.ino != node.ino()) return Err(ESTALE);
  return fd;
}

Result<SharedFd> NodeTable::TryFd(const NodeRef& node) {
  std::vector<Place> chain;  // what has to be opened, deepest first
  SharedFd fd;
  std::vector<NodeRef> targets;
  for (NodeRef at = node; fd == nullptr;) {
    MutexLock lock(mu_);
    if (at->fd_ != nullptr) {
      fd = at->fd_;
      Touch(*at);
      break;
    }
    // A root always has its descriptor. The bound ends the walk in a ring, which a hostile client can make by racing
    // renames on several channels.
    if (at->parent_ == nullptr || chain.size() >= kMaxDepth) return Err(ESTALE);
    chain.push_back({at->parent_, at->name_});
    targets.push_back(at);
    at = chain.back().parent;
  }
  for (size_t i = chain.size(); i-- > 0;) {
    auto opened = Reopen(*targets[i], fd->borrow(), chain[i].name.c_str());
    if (!opened.ok()) return opened.error();
    auto shared = MakeRef<const UniqueFd>(std::move(*opened));
    std::vector<SharedFd> closed;
    MutexLock lock(mu_);
    if (targets[i]->fd_ == nullptr) targets[i]->fd_ = shared;
    Touch(*targets[i]);
    Evict(closed);
    fd = std::move(shared);
  }
  return fd;
}

Result<SharedFd> NodeTable::Fd(const NodeRef& node) {
  // A rename by another channel may move an ancestor between the lookup of the names and the opens.
  for (int attempt = 0;; ++attempt) {
    auto fd = TryFd(node);
    if (fd.ok() || !fd.Is(ESTALE) || attempt == 3) return fd;
  }
}

Result<void> NodeTable::Pin(const NodeRef& node) {
  (void)TRY(Fd(node));
  MutexLock lock(mu_);
  if (node->pinned_ || node->parent_ == nullptr) return {};
  if (node->fd_ == nullptr) return Err(ESTALE);  // evicted again meanwhile: an absurdly busy cache
  if (pinned_ >= kMaxPinned) return Err(EMFILE);
  if (node->in_lru_) lru_.erase(node->lru_);
  node->in_lru_ = false;
  node->pinned_ = true;
  ++pinned_;
  return {};
}

void NodeTable::Unpin(const NodeRef& node) {
  MutexLock lock(mu_);
  if (!node->pinned_) return;
  node->pinned_ = false;
  --pinned_;
  Touch(*node);
}

void NodeTable::Moved(const NodeRef& node, const NodeRef& parent, std::string_view name) {
  NodeRef old;  // destroyed after the lock is released
  MutexLock lock(mu_);
  if (node->parent_ == nullptr) return;  // a tree's root does not move
  old = std::move(node->parent_);
  node->parent_ = parent;
  node->name_ = name;
}

NodeTable::Place NodeTable::PlaceOf(const NodeRef& node) {
  MutexLock lock(mu_);
  return {node->parent_, node->name_};
}

size_t NodeTable::open_count() {
  MutexLock lock(mu_);
  return lru_.size() + pinned_;
}

}  // namespace sandbox::gofer
