// Path: a place in a mount tree (Linux: struct path).
#pragma once

#include "base/ref.h"

namespace sandbox {

class Dentry;
class Inode;
class Mount;
using DentryRef = RefPtr<Dentry>;
using MountRef = RefPtr<Mount>;

struct Path {
  MountRef mount;
  DentryRef dentry;

  bool empty() const { return dentry == nullptr; }
  // The inode named; null for a negative or empty path.
  RefPtr<Inode> inode() const;
  friend bool operator==(const Path&, const Path&) = default;
};

}  // namespace sandbox
