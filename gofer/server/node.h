// Nodes: what the server knows of an object that the client holds a handle to.
//
// A node remembers where it was found (parent and name) and what it was (device and inode). Its O_PATH descriptor is a
// cache: at most NodeTable::kMaxOpen are open at a time, the least recently used one is closed, and the object is found
// again by walking from the nearest open ancestor. If something else is there by then, the node is stale (ESTALE).
// Objects without a name (unlinked or O_TMPFILE, still used by the guest) are pinned: their descriptor stays.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/messages.h"

namespace sandbox::gofer {

// A tree that is exported to the guest.
struct Tree {
  bool read_only = false;
  UniqueFd root;  // O_PATH of a directory, or of a file for a bind mount of one file; open for good
};

class Node;
class NodeTable;
using NodeRef = RefPtr<Node>;
// Kept by whoever uses the descriptor, so that eviction by another thread cannot close it underneath.
using SharedFd = RefPtr<const UniqueFd>;

class Node {
 public:
  Node(NodeTable& table, uint32_t tree, NodeRef parent, std::string name, const FileAttr& attr, bool blocked);
  ~Node();
  Node(const Node&) = delete;

  uint32_t tree() const { return tree_; }
  uint64_t dev() const { return dev_; }
  uint64_t ino() const { return ino_; }
  uint32_t type() const { return type_; }  // S_IFMT bits
  // On a file system whose files are never opened or entered (proc, sysfs, …).
  bool blocked() const { return blocked_; }

 private:
  friend class NodeTable;
  NodeTable& table_;  // outlives its nodes
  const uint32_t tree_;
  const uint32_t type_;
  const uint64_t dev_;
  const uint64_t ino_;
  const bool blocked_;
  // The rest is guarded by NodeTable::mu_.
  NodeRef parent_;
  std::string name_;
  SharedFd fd_;
  bool pinned_ = false;
  std::list<Node*>::iterator lru_;
  bool in_lru_ = false;
};

class NodeTable {
 public:
  static constexpr size_t kMaxOpen = 4096;    // cached O_PATH descriptors
  static constexpr size_t kMaxPinned = 8192;  // descriptors of objects without a name
  static constexpr size_t kMaxDepth = 4096;
  static constexpr size_t kMaxHandles = 4 << 20;  // bounds what a hostile client can make us remember

  NodeTable() = default;
  ~NodeTable();

  // Adds a tree before the first request; fails when its root cannot be examined.
  Result<void> AddTree(Tree tree);
  size_t tree_count() const { return roots_.size(); }
  const NodeRef& root(size_t tree) const { return roots_[tree].node; }
  bool read_only(const Node& node) const { return roots_[node.tree()].read_only; }
  NodeRef MakeNode(const NodeRef& parent, std::string_view name, const FileAttr& attr, bool blocked);

  // ENFILE when the client holds too many.
  Result<Handle> NewHandle(NodeRef node);
  // EBADF for anything that is not a live handle.
  Result<NodeRef> Get(Handle handle);
  void Forget(Handle handle);

  // The node's O_PATH descriptor, opened again if it was evicted. ESTALE when the object is no longer there.
  Result<SharedFd> Fd(const NodeRef& node);
  // Gives a node a descriptor that was opened for it already.
  void SetFd(const NodeRef& node, UniqueFd fd);
  // Keeps the descriptor for as long as the node lives. EMFILE when there are too many.
  Result<void> Pin(const NodeRef& node);
  void Unpin(const NodeRef& node);
  // The object has moved: later re-walks look for it there.
  void Moved(const NodeRef& node, const NodeRef& parent, std::string_view name);
  struct Place {
    NodeRef parent;
    std::string name;
  };
  Place PlaceOf(const NodeRef& node);

  size_t open_count();

 private:
  friend class Node;
  struct Slot {
    uint32_t generation = 1;
    NodeRef node;
  };
  // Opens `name` in `parent` and checks that it is the object `node` stands for.
  static Result<UniqueFd> Reopen(const Node& node, BorrowedFd parent, const char* name);
  void Touch(Node& node) REQUIRES(mu_);
  Result<SharedFd> TryFd(const NodeRef& node);
  void Evict(std::vector<SharedFd>& closed) REQUIRES(mu_);
  void Drop(Node& node);  // from ~Node: never called with mu_ held

  struct Root {
    bool read_only;
    NodeRef node;
  };
  std::vector<Root> roots_;
  Mutex mu_{LockRank::kGofer};
  std::vector<Slot> slots_ GUARDED_BY(mu_);
  std::vector<uint32_t> free_ GUARDED_BY(mu_);
  std::list<Node*> lru_ GUARDED_BY(mu_);  // most recent first; nodes with fd_, not pinned
  size_t pinned_ GUARDED_BY(mu_) = 0;
};

}  // namespace sandbox::gofer
