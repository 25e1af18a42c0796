// Paths as text (Linux: fs/d_path.c).
#include <vector>

#include "sentry/vfs/dentry.h"
#include "sentry/vfs/mount.h"

namespace sandbox {
namespace {

// `names` run from the last component up.
void Join(const std::vector<std::string>& names, std::string& out) {
  out.clear();
  for (auto it = names.rbegin(); it != names.rend(); ++it) {
    out += '/';
    out += *it;
  }
  if (out.empty()) out = "/";
}

}  // namespace

bool FormatPath(const Path& path, const Path& root, std::string& out) {
  std::vector<std::string> names;
  Path at = path;
  bool reachable = true;
  while (!(at == root)) {
    if (at.mount != nullptr && at.dentry == at.mount->root()) {
      Path point = at.mount->point();
      if (point.empty()) {
        reachable = root.empty();
        break;
      }
      at = std::move(point);
      continue;
    }
    DentryRef parent = at.dentry->parent();
    if (parent == nullptr) {
      // Anonymous: a memory file's only name.
      if (std::string name = at.dentry->name(); !name.empty()) names.push_back(std::move(name));
      reachable = false;
      break;
    }
    names.push_back(at.dentry->name());
    at.dentry = std::move(parent);
  }
  Join(names, out);
  return reachable;
}

std::string PathToString(const Path& path, const Path& root) {
  std::string text;
  FormatPath(path, root, text);
  if (path.dentry->IsDeleted()) text += " (deleted)";
  return text;
}

std::string PathInFileSystem(const FileSystem& fs, const DentryRef& dentry) {
  std::vector<std::string> names;
  for (DentryRef at = dentry; at != nullptr;) {
    DentryRef parent = at->parent();
    if (parent != nullptr) names.push_back(at->name());
    at = std::move(parent);
  }
  std::string text;
  Join(names, text);
  // Behind that of the root, if it has one; then "/" is not the root's.
  if (!fs.origin().empty()) text = std::string(fs.origin()) + (names.empty() ? "" : text);
  if (dentry->IsDeleted()) text += "//deleted";
  return text;
}

}  // namespace sandbox
