// Building blocks of file systems whose contents the sentry makes up: proc, sysfs and the like (Linux:
// fs/proc/generic.c, kernfs, seq_file). Nothing in them can be created, renamed or removed by guests.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/core/context.h"
#include "sentry/vfs/file.h"
#include "sentry/vfs/inode.h"

namespace sandbox::synthetic {

// Numbers its inodes and answers statfs.
class Fs : public FileSystem {
 public:
  // `magic`: PROC_SUPER_MAGIC…
  Fs(std::string_view type_name, uint64_t magic) : type_name_(type_name), magic_(magic) {}
  std::string_view type_name() const override { return type_name_; }
  InodeRef root() override { return root_; }
  uint64_t magic() const { return magic_; }
  Result<FsStat> StatFs(Context& context) override;

  uint64_t NextIno() { return next_ino_.fetch_add(1, std::memory_order_relaxed); }
  // Once, before it is mounted.
  void SetRoot(InodeRef root) { root_ = std::move(root); }

 private:
  const std::string_view type_name_;  // a literal
  const uint64_t magic_;
  std::atomic<uint64_t> next_ino_{1};
  InodeRef root_;
};

// Common attributes. Root owns everything unless a derived class says otherwise.
class Node : public Inode {
 public:
  Node(Fs& fs, uint32_t mode);
  Result<Attr> GetAttr(Context& context) override;
  // EPERM, but a truncating open succeeds and changes nothing.
  Result<void> SetAttr(Context& context, const AttrChange& change) override;
  uint64_t ino() const { return ino_; }
  uint32_t mode() const { return mode_; }

 private:
  const uint64_t ino_;
  const uint32_t mode_;
  const FileTime created_;
};
using NodeRef = RefPtr<Node>;

struct Entry {
  std::string name;
  uint64_t ino = 0;
  uint8_t type = 0;  // DT_*
};

// A directory: derived classes look up and list. The listing of one open directory is a snapshot made when it is read
// from the start, so that entries that come and go never shift the others.
class Directory : public Node {
 public:
  Directory(Fs& fs, uint32_t permissions = 0555) : Node(fs, S_IFDIR | permissions) {}
  virtual Result<std::vector<Entry>> List(Context& context) = 0;
  Result<FileRef> Open(Context& context, const Path& path, int flags) override;
  // Fails, with what Linux's file system of that kind says.
  Result<InodeRef> Create(Context& context, std::string_view name, const CreateArgs& args) override;
};

// A directory whose entries are fixed once it is mounted. A derived class may add others by overriding FindDynamic and
// ListDynamic.
class StaticDirectory : public Directory {
 public:
  using Directory::Directory;
  // Returns the node added. Only before the tree is mounted.
  template <typename T>
  RefPtr<T> Add(std::string name, RefPtr<T> node) {
    children_[std::move(name)] = node;
    return node;
  }
  Result<InodeRef> Lookup(Context& context, std::string_view name) override;
  Result<InodeRef> Revalidate(Context& context, std::string_view name, const InodeRef& cached) override;
  Result<std::vector<Entry>> List(Context& context) override;
  Result<Attr> GetAttr(Context& context) override;

 protected:
  virtual Result<InodeRef> FindDynamic(Context&, std::string_view) { return Err(ENOENT); }
  virtual Result<void> ListDynamic(Context&, std::vector<Entry>&) { return {}; }
  // The fixed entry of that name, or null.
  NodeRef Fixed(std::string_view name) const;

 private:
  std::map<std::string, NodeRef, std::less<>> children_;
};

// The text of a file; made again whenever it is read from the start, as seq_file does.
using TextSource = std::function<Result<std::string>(Context&)>;
// Takes what one write(2) wrote. At most kMaxWrite bytes.
using TextSink = std::function<Result<void>(Context&, std::string_view)>;

class TextFile : public Node {
 public:
  static constexpr size_t kMaxWrite = 4096;
  TextFile(Fs& fs, uint32_t permissions, TextSource source, TextSink sink = nullptr)
      : Node(fs, S_IFREG | permissions), source_(std::move(source)), sink_(std::move(sink)) {}
  Result<FileRef> Open(Context& context, const Path& path, int flags) override;

  Result<std::string> Generate(Context& context) { return source_ ? source_(context) : Err(EINVAL); }
  Result<void> Store(Context& context, std::string_view text) { return sink_ ? sink_(context, text) : Err(EIO); }

 protected:
  // A check when the file is opened, for files that others may not read.
  virtual Result<void> CheckOpen(Context&) { return {}; }

 private:
  const TextSource source_;
  const TextSink sink_;
};

// A link with text, or with text made for the reader ("self").
class Symlink : public Node {
 public:
  Symlink(Fs& fs, TextSource target) : Node(fs, S_IFLNK | 0777), target_(std::move(target)) {}
  Symlink(Fs& fs, std::string target)
      : Symlink(fs, [target = std::move(target)](Context&) -> Result<std::string> { return target; }) {}
  Result<std::string> ReadLink(Context& context) override { return target_(context); }

 private:
  const TextSource target_;
};

// Short forms for trees of files.
RefPtr<TextFile> MakeText(Fs& fs, TextSource source, uint32_t permissions = 0444);
RefPtr<TextFile> MakeText(Fs& fs, std::string text, uint32_t permissions = 0444);
RefPtr<StaticDirectory> AddDirectory(Fs& fs, StaticDirectory& parent, std::string name, uint32_t permissions = 0555);

// Value of a decimal number with optional white space around it, as Linux's kstrtol takes it. EINVAL.
Result<int64_t> ParseNumber(std::string_view text);

}  // namespace sandbox::synthetic
