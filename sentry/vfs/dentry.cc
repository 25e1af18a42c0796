#include "sentry/vfs/dentry.h"

#include "base/check.h"
#include "sentry/vfs/dentry_cache.h"
#include "sentry/vfs/inotify_hooks.h"

namespace sandbox {

Dentry::Dentry(DentryRef parent, std::string name, InodeRef inode)
    : inode_(std::move(inode)), parent_(std::move(parent)), name_(std::move(name)) {}

Dentry::~Dentry() {
  if (IsDeleted() && inode_ != nullptr) NotifyInodeGone(*inode_);
  DentryRef parent = std::move(parent_);
  if (parent != nullptr) parent->Detach(*this);
  // The chain of parents that only this dentry held is released in a loop: a guest may nest directories deeper than
  // a recursion would survive.
  while (parent != nullptr) {
    DentryRef next = parent->parent();
    if (next == nullptr || !next->DetachIfUnused(parent)) break;
    {
      MutexLock lock(parent->name_mu_);
      parent->parent_ = nullptr;
    }
    parent = std::move(next);
  }
}

DentryRef Dentry::parent() const {
  MutexLock lock(name_mu_);
  return parent_;
}

std::string Dentry::name() const {
  MutexLock lock(name_mu_);
  return name_;
}

void Dentry::Attach(Dentry& child) { children_[child.name_] = &child; }

void Dentry::Detach(Dentry& child) {
  MutexLock lock(children_mu_);
  // A dying dentry may have been replaced under its name already.
  auto it = children_.find(child.name_);
  if (it != children_.end() && it->second == &child) children_.erase(it);
}

// True when `child` is the last reference: it is then out of the map, so no lookup can revive it.
bool Dentry::DetachIfUnused(DentryRef& child) {
  MutexLock lock(children_mu_);
  if (child.use_count() != 1) return false;
  auto it = children_.find(child->name_);
  if (it != children_.end() && it->second == child.get()) children_.erase(it);
  return true;
}

DentryRef Dentry::CachedChild(std::string_view name) {
  DentryRef found;
  {
    MutexLock lock(children_mu_);
    auto it = children_.find(name);
    if (it == children_.end()) return nullptr;
    found = it->second->weak_from_this().lock();  // null: it is being destroyed
  }
  if (found != nullptr) DentryCache::Touch(*found);
  return found;
}

DentryRef Dentry::AddChild(std::string_view name, InodeRef inode) {
  DentryRef child = MakeRef<Dentry>(shared_from_this(), std::string(name), std::move(inode));
  child->names_version.store(inode_->names_version(), std::memory_order_relaxed);
  DentryRef replaced;
  {
    MutexLock lock(children_mu_);
    auto it = children_.find(name);
    if (it != children_.end()) {
      replaced = it->second->weak_from_this().lock();
      children_.erase(it);  // its key belongs to the old dentry
    }
    Attach(*child);
  }
  if (replaced != nullptr) DentryCache::Get().Remove(*replaced);
  DentryCache::Get().Insert(child);
  return child;
}

void Dentry::RemoveChild(const DentryRef& child, bool deleted) {
  if (deleted) child->MarkDeleted();
  Detach(*child);
  DentryCache::Get().Remove(*child);
  if (deleted && !child->IsNegative()) NotifyInode(*child->inode(), kInotifyUnlinked);
}

void Dentry::Move(Dentry& old_parent, const DentryRef& child, Dentry& new_parent, std::string_view new_name) {
  old_parent.Detach(*child);
  if (DentryRef there = new_parent.CachedChild(new_name); there != nullptr && there != child) {
    new_parent.RemoveChild(there, false);
  }
  DentryRef dropped;  // the old parent, released after the locks
  MutexLock children_lock(new_parent.children_mu_);
  MutexLock name_lock(child->name_mu_);
  dropped = std::exchange(child->parent_, new_parent.shared_from_this());
  child->name_ = std::string(new_name);
  child->names_version.store(new_parent.inode_->names_version(), std::memory_order_relaxed);
  new_parent.Attach(*child);
}

void Dentry::Exchange(Dentry& a_parent, const DentryRef& a, Dentry& b_parent, const DentryRef& b) {
  a_parent.Detach(*a);
  b_parent.Detach(*b);
  {
    MutexLock a_lock(a->name_mu_);
    MutexLock b_lock(b->name_mu_);  // both directories are locked by the caller, so no other thread locks two names
    std::swap(a->parent_, b->parent_);
    std::swap(a->name_, b->name_);
  }
  {
    MutexLock lock(a_parent.children_mu_);
    a_parent.Attach(*b);
  }
  MutexLock lock(b_parent.children_mu_);
  b_parent.Attach(*a);
}

bool Dentry::IsBelow(const Dentry& ancestor) const {
  if (this == &ancestor) return true;
  for (DentryRef at = parent(); at != nullptr; at = at->parent()) {
    if (at.get() == &ancestor) return true;
  }
  return false;
}

}  // namespace sandbox
