#include "sentry/fs/tmpfs/shared_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include "sentry/fs/tmpfs/regular.h"
#include "sentry/vfs/anonymous.h"
#include "sentry/vfs/dentry.h"

namespace sandbox {
namespace {

// Linux: the kernel's own shm_mnt.
TmpfsFileSystem& InternalTmpfs() {
  static auto& fs = *new RefPtr<TmpfsFileSystem>(TmpfsFileSystem::Create());
  return *fs;
}

class SharedMemory final : public Mappable {
 public:
  SharedMemory(RefPtr<HostMemory> memory, uint64_t inode, std::string path)
      : memory_(std::move(memory)), inode_(inode), path_(std::move(path)) {}
  Result<HostBacking> Back(Context&, uint64_t, uint64_t, const Use& use) override {
    HostBacking backing;
    backing.fd = use.may_write() ? memory_->fd() : TRY(memory_->ReadOnly());
    backing.keep_alive = memory_;
    return backing;
  }
  Identity MappingIdentity() const override { return {InternalTmpfs().device(), inode_, path_}; }

 private:
  const RefPtr<HostMemory> memory_;
  const uint64_t inode_;
  const std::string path_;
};

}  // namespace

Result<RefPtr<Mappable>> MakeSharedMemory(uint64_t size, std::string shown_path) {
  if (size > INT64_MAX) return Err(ENOMEM);
  RefPtr<HostMemory> memory = TRY(HostMemory::Create("shared"));
  if (ftruncate(memory->fd().get(), static_cast<off_t>(size)) != 0) return LastErrno();
  const uint64_t inode = InternalTmpfs().usage()->NextIno();
  return RefPtr<Mappable>(MakeRef<SharedMemory>(std::move(memory), inode, std::move(shown_path)));
}

Result<FileRef> MakeMemoryFile(Context& context, std::string_view name, uint32_t seals,
                               uint32_t mode) {
  TmpfsFileSystem& fs = InternalTmpfs();
  CreateArgs args;
  args.mode = S_IFREG | mode;
  args.uid = context.creds().fsuid;
  args.gid = context.creds().fsgid;
  InodeRef inode = TRY(MakeTmpfsInode(fs, fs.usage(), args));
  auto& regular = static_cast<TmpfsRegular&>(*inode);
  TRY(regular.ChangeLinks(-1));
  regular.set_initial_seals(seals);
  FileRef file = TRY(inode->Open(context, AnonymousPath("memfd:" + std::string(name), inode),
                                 O_RDWR | O_LARGEFILE));
  TRY(file->HoldWriteAccess());
  return file;
}

TmpfsRegular* AsTmpfsRegular(const FileDescription& file) {
  return dynamic_cast<TmpfsRegular*>(file.path().inode().get());
}

}  // namespace sandbox
