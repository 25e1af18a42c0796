#include "sentry/vfs/anonymous.h"

#include "sentry/vfs/dentry.h"

namespace sandbox {
namespace {

class AnonymousFileSystem final : public FileSystem {
 public:
  std::string_view type_name() const override { return "anon_inodefs"; }
  InodeRef root() override { return nullptr; }
  Result<FsStat> StatFs(Context&) override { return FsStat{.type = 0x09041934}; }  // ANON_INODE_FS_MAGIC
};

FileSystem& AnonymousFs() {
  static auto& fs = *new RefPtr<AnonymousFileSystem>(MakeRef<AnonymousFileSystem>());
  return *fs;
}

// Stands in for a description that has no inode.
class DescriptionInode final : public Inode {
 public:
  explicit DescriptionInode(FileRef file) : Inode(AnonymousFs()), file_(std::move(file)) {}
  Result<Attr> GetAttr(Context& context) override { return file_->GetAttr(context); }
  Result<void> SetAttr(Context& context, const AttrChange& change) override { return file_->SetAttr(context, change); }
  Result<FileRef> Open(Context& context, const Path&, int flags) override { return file_->Reopen(context, flags); }

 private:
  const FileRef file_;
};

}  // namespace

uint64_t AnonymousDevice() { return AnonymousFs().device(); }

Path AnonymousPath(std::string name, InodeRef inode) {
  auto dentry = MakeRef<Dentry>(nullptr, std::move(name), std::move(inode));
  dentry->MarkDeleted();
  return {nullptr, std::move(dentry)};
}

Path PathOfFile(const FileRef& file) {
  if (!file->path().empty()) return file->path();
  return {nullptr, MakeRef<Dentry>(nullptr, file->AnonymousName(), MakeRef<DescriptionInode>(file))};
}

}  // namespace sandbox
