// Open files of synthetic file systems.
#include <dirent.h>

#include <algorithm>

#include "sentry/fs/synthetic/synthetic.h"
#include "sentry/vfs/dentry.h"

namespace sandbox::synthetic {
namespace {

class OpenText final : public FileDescription {
 public:
  OpenText(const Path& path, int flags, RefPtr<TextFile> node) : FileDescription(path, flags), node_(std::move(node)) {}

  Result<size_t> Read(Context& context, IoSequence& to, int64_t* offset, int) override {
    std::string text;
    {
      MutexLock lock(mu_);
      text = text_;
    }
    if (*offset == 0 || !made_.load()) {
      text = TRY(node_->Generate(context));
      MutexLock lock(mu_);
      text_ = text;
      made_ = true;
    }
    const uint64_t start = static_cast<uint64_t>(*offset);
    if (start >= text.size()) return size_t{0};
    const size_t moved = TRY(to.CopyOut(text.data() + start, text.size() - start));
    *offset += static_cast<int64_t>(moved);
    return moved;
  }

  Result<size_t> Write(Context& context, IoSequence& from, int64_t* offset, int) override {
    const size_t size = from.remaining();
    if (size > TextFile::kMaxWrite) return Err(EINVAL);
    std::string text(size, '\0');
    text.resize(TRY(from.CopyIn(text.data(), size)));
    TRY(node_->Store(context, text));
    *offset += static_cast<int64_t>(text.size());
    return text.size();
  }

  bool seekable() const override { return true; }

 private:
  const RefPtr<TextFile> node_;
  std::atomic<bool> made_{false};
  Mutex mu_{LockRank::kLeaf};  // pread does not take the position's lock
  std::string text_ GUARDED_BY(mu_);
};

class OpenDirectory final : public FileDescription {
 public:
  OpenDirectory(const Path& path, int flags, RefPtr<Directory> node)
      : FileDescription(path, flags), node_(std::move(node)) {}

  bool seekable() const override { return true; }

  Result<void> ReadDir(Context& context, DirSink& sink, int64_t* position) override {
    constexpr int64_t kDots = 2;
    if (*position == 0) {
      auto entries = TRY(node_->List(context));
      MutexLock lock(mu_);
      entries_ = std::move(entries);
    }
    for (; *position < kDots; ++*position) {
      const uint64_t ino = *position == 0 ? node_->ino() : TRY(ParentIno(context));
      if (!sink.Emit(*position == 0 ? "." : "..", ino, DT_DIR, *position + 1)) return {};
    }
    for (;; ++*position) {
      Entry entry;
      {
        MutexLock lock(mu_);
        const auto index = static_cast<uint64_t>(*position - kDots);
        if (index >= entries_.size()) return {};
        entry = entries_[index];
      }
      if (!sink.Emit(entry.name, entry.ino, entry.type, *position + 1)) return {};
    }
  }

 private:
  Result<uint64_t> ParentIno(Context& context) {
    const DentryRef parent = path().empty() ? nullptr : path().dentry->parent();
    if (parent == nullptr || parent->inode() == nullptr) return node_->ino();
    return TRY(parent->inode()->GetAttr(context)).ino;
  }

  const RefPtr<Directory> node_;
  Mutex mu_{LockRank::kLeaf};
  std::vector<Entry> entries_ GUARDED_BY(mu_);
};

}  // namespace

Result<FileRef> TextFile::Open(Context& context, const Path& path, int flags) {
  TRY(CheckOpen(context));
  return FileRef(MakeRef<OpenText>(path, flags, std::static_pointer_cast<TextFile>(shared_from_this())));
}

Result<FileRef> Directory::Open(Context&, const Path& path, int flags) {
  return FileRef(MakeRef<OpenDirectory>(path, flags, std::static_pointer_cast<Directory>(shared_from_this())));
}

}  // namespace sandbox::synthetic
