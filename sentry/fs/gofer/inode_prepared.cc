// Creations that take a prepared file (prepared.h): named by the gofer in its own time where that is certain to work,
// else with one round trip, as an ordinary creation takes.
//
// The file is a little older than its creation. What the guest could tell it by is put right: access and change time
// come with the name, the modification time with the first write, or, for a file that is not written to, before anybody
// can look at it (StampUnwritten). The host's birth time stays, which the guest is not shown while the inode lives.

#include <fcntl.h>
#include <sys/stat.h>

#include "sentry/fs/gofer/inode.h"

namespace sandbox {

using gofer::SetAttrRequest;

InodeRef GoferInode::CreatePrepared(std::string_view name, const CreateArgs& args) {
  // Set-id bits are the host's to grant.
  if (!tree_->exclusive() || tree_->read_only() || (args.mode & (S_ISUID | S_ISGID)) != 0) return nullptr;
  const RefPtr<FileSystem> owner = fs();
  const Placing placing = GetPlacing();
  if (owner == nullptr || placing == Placing::kRefused) return nullptr;
  const GoferHandleRef self = handle();
  auto file = tree_->prepared().Take({dev_, args.mode & 07777, args.uid, args.gid}, self->value());
  if (!file) return nullptr;
  const FileTime now = HostNow();
  gofer::PlaceRequest request{file->entry.handle->value(), now.seconds, now.nanoseconds, SetAttrRequest::kAtime};
  const bool certain = placing == Placing::kProven && ProvenDirectory(Takes::kRoom);
  const uint64_t number = certain ? tree_->client().DeferPlace(self->value(), name, request) : 0;
  GoferClient::Linked placed{};
  if (number == 0) {
    request.valid |= SetAttrRequest::kMtime;
    auto done = tree_->client().Place(self->value(), name, request);
    if (!done.ok()) {
      // Whatever it is, the ordinary way reports it, or does without what this one needs.
      if (!done.Is(EEXIST)) SetPlacing(Placing::kRefused);
      return nullptr;
    }
    SetPlacing(Placing::kProven);
    placed = *done;
  }
  gofer::FileAttr& attr = file->entry.attr;
  if (number == 0) {
    attr = placed.file;
  } else {
    attr.nlink = 1;
    attr.atime_s = attr.mtime_s = attr.ctime_s = now.seconds;
    attr.atime_ns = attr.mtime_ns = attr.ctime_ns = now.nanoseconds;
  }
  GoferInodeRef inode = tree_->Intern(*owner, std::move(file->entry));
  inode->SetBorn(now);
  inode->KeepOwner(args.uid, args.gid);
  inode->AddHostFile(std::move(file->fd), O_RDWR);
  inode->made_in_.store(ino_);
  if (number != 0) {
    inode->unwritten_.store(true);
    inode->pending_.store(number);
  }
  NameAdded(name, *inode);
  if (number != 0) {
    DirectoryChangesLater(number);
  } else {
    ChangeMade(placed.dir, placed.room);
  }
  return inode;
}

GoferInode::Placing GoferInode::GetPlacing() const {
  MutexLock lock(dir_mu_);
  return dir_ == nullptr ? Placing::kUnknown : dir_->placing;
}

void GoferInode::SetPlacing(Placing placing) {
  MutexLock lock(dir_mu_);
  dir().placing = placing;
}

void GoferInode::SetBorn(const FileTime& time) {
  MutexLock lock(mu_);
  born_ = time;
}

void GoferInode::NoteWrite() {
  if (!unwritten_.load(std::memory_order_relaxed)) return;
  MutexLock lock(append_mu_);
  unwritten_.store(false);
}

// Under the lock of NoteWrite, so that no write comes between the decision and the request: what it writes then waits
// for the time that was set.
void GoferInode::StampUnwritten() {
  while (unwritten_.load()) {
    {
      MutexLock lock(append_mu_);
      if (!unwritten_.load() || removed_.load()) return;
      SetAttrRequest request{};
      request.valid = SetAttrRequest::kMtime;
      {
        MutexLock attributes(mu_);
        request.mtime_s = attr_.mtime_s;
        request.mtime_ns = attr_.mtime_ns;
      }
      if (DeferSetAttr(request)) return;
    }
    // The journal is full, or the gofer gone: then Settle has nothing to wait for, and all is lost anyway.
    if (!tree_->client().Owes()) return;
    tree_->client().Settle();
  }
}

}  // namespace sandbox
