#include "runsc/container/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"

namespace sandbox {
namespace {

absl::Status Failed(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": ", std::strerror(errno)));
}

UniqueFd OpenFolder(int dir, const char* name) {
  return UniqueFd(::openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Deletes what is no folder; the names of folders.
absl::StatusOr<std::vector<std::string>> RemoveFiles(BorrowedFd dir, const std::string& where) {
  // A descriptor of its own: the stream closes it.
  UniqueFd copy = OpenFolder(dir.get(), ".");
  DIR* const stream = copy.valid() ? ::fdopendir(copy.get()) : nullptr;
  if (stream == nullptr) return Failed(where);
  (void)copy.release();
  std::vector<std::string> folders;
  absl::Status status;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (name == "." || name == ".." || ::unlinkat(dir.get(), name.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno == EISDIR || errno == EPERM) {
      folders.push_back(name);
    } else {
      status.Update(Failed(where + "/" + name));
    }
  }
  ::closedir(stream);
  if (!status.ok()) return status;
  return folders;
}

// Moves the folder to a name that nobody has in `top`.
absl::Status MoveUp(BorrowedFd dir, const std::string& name, BorrowedFd top, uint64_t& number) {
  (void)!::fchmodat(dir.get(), name.c_str(), 0700, 0);  // its own ".." is written; the rename tells what was wrong
  for (;;) {
    const std::string free = absl::StrCat(".removed-", number++);
    if (::renameat2(dir.get(), name.c_str(), top.get(), free.c_str(), RENAME_NOREPLACE) == 0) return absl::OkStatus();
    if (errno != EEXIST) return Failed("moving " + name);
  }
}

}  // namespace

absl::Status RemoveTree(const std::string& path) {
  const UniqueFd top = OpenFolder(AT_FDCWD, path.c_str());
  if (!top.valid()) return errno == ENOENT ? absl::OkStatus() : Failed(path);
  for (uint64_t number = 0;;) {
    auto folders = RemoveFiles(top.borrow(), path);
    if (!folders.ok()) return folders.status();
    if (folders->empty()) break;
    for (const std::string& name : *folders) {
      (void)!::fchmodat(top.get(), name.c_str(), 0700, 0);  // opening it tells what was wrong
      const UniqueFd folder = OpenFolder(top.get(), name.c_str());
      if (!folder.valid()) return Failed(path + "/" + name);
      // What is in it becomes a neighbour, so that no depth is ever descended to.
      auto inner = RemoveFiles(folder.borrow(), path + "/" + name);
      if (!inner.ok()) return inner.status();
      for (const std::string& one : *inner) {
        if (auto status = MoveUp(folder.borrow(), one, top.borrow(), number); !status.ok()) return status;
      }
      if (::unlinkat(top.get(), name.c_str(), AT_REMOVEDIR) != 0) return Failed(path + "/" + name);
    }
  }
  return ::rmdir(path.c_str()) == 0 ? absl::OkStatus() : Failed(path);
}

}  // namespace sandbox
