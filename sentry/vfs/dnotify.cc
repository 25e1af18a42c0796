#include "sentry/vfs/dnotify.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>

#include "sentry/core/deferred.h"
#include "sentry/vfs/async_io.h"
#include "sentry/vfs/inode.h"
#include "sentry/vfs/inotify_hooks.h"

namespace sandbox {
namespace {

// IN_* bits of a DN_* set (Linux: convert_arg).
uint32_t InotifyMask(uint32_t events) {
  uint32_t mask = 0;
  if (events & DN_ACCESS) mask |= IN_ACCESS;
  if (events & DN_MODIFY) mask |= IN_MODIFY;
  if (events & DN_ATTRIB) mask |= IN_ATTRIB;
  if (events & DN_CREATE) mask |= IN_CREATE | IN_MOVED_TO;
  if (events & DN_DELETE) mask |= IN_DELETE | IN_MOVED_FROM;
  if (events & DN_RENAME) mask |= kInotifyRenamedInside;
  return mask;
}

class DirectoryWatch final : public InotifyWatch {
 public:
  DirectoryWatch(const FileRef& file, int fd, const void* table)
      : file_(file), key_(file.get()), fd_(fd), table_(table) {}
  void OnEvent(uint32_t mask, uint32_t, std::string_view) override {
    uint32_t wanted = wanted_.load();
    do {
      if ((InotifyMask(wanted) & mask) == 0) return;
      // A single shot is used up by what fired.
    } while (!wanted_.compare_exchange_weak(wanted, (wanted & DN_MULTISHOT) ? wanted : 0));
    // Directory locks may be held here, under which the last reference to the file must not go.
    Defer([file = file_.lock(), fd = fd_] {
      if (file != nullptr) file->async().Signal(POLL_MSG, fd);
    });
  }
  const void* owner() const override { return key_; }
  const void* table() const { return table_; }
  void Add(uint32_t events) { wanted_.fetch_or(events); }

 private:
  const WeakRef<FileDescription> file_;
  const FileDescription* const key_;
  const int fd_;
  const void* const table_;
  std::atomic<uint32_t> wanted_{0};
};

}  // namespace

Result<void> WatchDirectory(Context& context, const FileRef& directory, int fd, uint32_t events, const void* table) {
  const InodeRef inode = directory->path().inode();
  if (inode == nullptr || !inode->IsDir(context)) return Err(ENOTDIR);
  auto watch = std::dynamic_pointer_cast<DirectoryWatch>(inode->watches().Find(directory.get()));
  if (watch == nullptr) {
    watch = MakeRef<DirectoryWatch>(directory, fd, table);
    watch->Add(events);
    inode->watches().Add(watch);
    return {};
  }
  watch->Add(events);
  return {};
}

void UnwatchDirectory(Inode& inode, const FileDescription& file, const void* table) {
  InotifyWatches* watches = inode.watches_or_null();
  if (watches == nullptr || watches->empty()) return;
  const auto watch = std::dynamic_pointer_cast<DirectoryWatch>(watches->Find(&file));
  if (watch != nullptr && watch->table() == table) watches->Remove(*watch);
}

}  // namespace sandbox
