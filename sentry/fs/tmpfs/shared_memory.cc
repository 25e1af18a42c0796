#include "sentry/fs/tmpfs/shared_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>

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

// Bytes of all shared anonymous and System V segments, touched or not. Pages that a guest touches are the host's to
// hand out, so what bounds them is the size (Linux: shmem_acct_size under vm.overcommit_memory=0).
std::atomic<uint64_t> shared_bytes{0};

uint64_t MostSharedBytes() {
  static const uint64_t bytes = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * kPageSize;
  return bytes;
}

class SharedMemory final : public SharedSegment {
 public:
  SharedMemory(RefPtr<HostMemory> memory, uint64_t inode, std::string path, uint64_t size)
      : memory_(std::move(memory)), inode_(inode), path_(std::move(path)), size_(size) {}
  ~SharedMemory() override { shared_bytes.fetch_sub(size_, std::memory_order_relaxed); }
  Result<HostBacking> Back(Context&, uint64_t, uint64_t, const Use& use) override {
    HostBacking backing;
    backing.fd = use.may_write() ? memory_->fd() : TRY(memory_->ReadOnly());
    backing.keep_alive = memory_;
    return backing;
  }
  uint64_t AllocatedPages() const override { return memory_->AllocatedPages(); }
  Identity MappingIdentity() const override { return {InternalTmpfs().device(), inode_, path_}; }

 private:
  const RefPtr<HostMemory> memory_;
  const uint64_t inode_;
  const std::string path_;
  const uint64_t size_;
};

}  // namespace

Result<RefPtr<SharedSegment>> MakeSharedMemory(uint64_t size, std::string shown_path) {
  if (size > INT64_MAX) return Err(ENOMEM);
  RefPtr<HostMemory> memory = TRY(HostMemory::Create("shared"));
  if (ftruncate(memory->fd().get(), static_cast<off_t>(size)) != 0) return LastErrno();
  const uint64_t inode = InternalTmpfs().usage()->NextIno();
  const bool fits = shared_bytes.fetch_add(size, std::memory_order_relaxed) + size <= MostSharedBytes();
  auto shared = MakeRef<SharedMemory>(std::move(memory), inode, std::move(shown_path), size);
  if (!fits) return Err(ENOMEM);  // its end takes the size back
  return RefPtr<SharedSegment>(std::move(shared));
}

Result<FileRef> MakeMemoryFile(Context& context, std::string_view name, uint32_t seals, uint32_t mode) {
  TmpfsFileSystem& fs = InternalTmpfs();
  CreateArgs args;
  args.mode = S_IFREG | mode;
  args.uid = context.creds().fsuid;
  args.gid = context.creds().fsgid;
  InodeRef inode = TRY(MakeTmpfsInode(fs, fs.usage(), args));
  auto& regular = static_cast<TmpfsRegular&>(*inode);
  TRY(regular.ChangeLinks(-1));
  regular.set_initial_seals(seals);
  FileRef file = TRY(inode->Open(context, AnonymousPath("memfd:" + std::string(name), inode), O_RDWR | O_LARGEFILE));
  TRY(file->HoldWriteAccess());
  return file;
}

TmpfsRegular* AsTmpfsRegular(const FileDescription& file) {
  return dynamic_cast<TmpfsRegular*>(file.path().inode().get());
}

}  // namespace sandbox
