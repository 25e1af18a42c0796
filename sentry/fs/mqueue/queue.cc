#include "sentry/fs/mqueue/queue.h"

#include <algorithm>

#include "base/log.h"
#include "sentry/fs/mqueue/mqueue_fs.h"
#include "sentry/socket/netlink/netlink_socket.h"

namespace sandbox {
namespace {

// Linux's include/linux/mqueue.h, and the size every queue's file has.
constexpr char kNotifyWokenUp = 1, kNotifyRemoved = 2;
constexpr uint64_t kFileSize = 80;

void SendCookie(const MqueueNotice& notice, char mark) {
  std::string cookie(notice.cookie.begin(), notice.cookie.end());
  cookie.back() = mark;
  if (auto* netlink = dynamic_cast<NetlinkSocket*>(notice.socket.get())) netlink->DeliverFromKernel(std::move(cookie));
}

void Tell(Context& sender, const MqueueNotice& notice) {
  if (notice.how == SIGEV_THREAD) return SendCookie(notice, kNotifyWokenUp);
  if (notice.how != SIGEV_SIGNAL || notice.signo == 0) return;
  SignalInfo info = SignalInfo::User(notice.signo, sender.tgid(), sender.creds().uid, SI_MESGQ);
  info.rt.value = notice.value;
  (void)notice.owner->SendSignal(info, SignalOrigin::kKernel);
}

}  // namespace

Mqueue::Mqueue(MqueueFs& fs, const CreateArgs& args, const MqueueShape& shape, std::shared_ptr<MqueueAccounts> accounts,
               uint64_t cost)
    : Inode(fs), accounts_(std::move(accounts)), shape_(shape), cost_(cost), charged_uid_(args.uid) {
  set_type(S_IFREG);
  MutexLock lock(mu_);
  attr_.ino = fs.NextIno();
  attr_.mode = S_IFREG | (args.mode & 07777);
  attr_.uid = args.uid;
  attr_.gid = args.gid;
  attr_.size = kFileSize;
  attr_.atime = attr_.mtime = attr_.ctime = FileTimeNow();
}

Mqueue::~Mqueue() {
  accounts_->ReturnBytes(bytes_);
  accounts_->Uncharge(charged_uid_, cost_);
}

int64_t Mqueue::messages() const {
  MutexLock lock(mu_);
  return static_cast<int64_t>(messages_.size());
}

Result<void> Mqueue::Send(Context& context, std::string bytes, uint32_t priority) {
  MqueueNotice notice;
  {
    MutexLock lock(mu_);
    if (static_cast<int64_t>(messages_.size()) >= shape_.max_messages) return Err(EAGAIN);
    if (!accounts_->TakeBytes(bytes.size())) return Err(ENOMEM);
    bytes_ += bytes.size();
    messages_.emplace(priority, std::move(bytes));
    attr_.mtime = attr_.ctime = FileTimeNow();
    if (messages_.size() == 1 && receivers_ == 0) notice = std::exchange(notice_, {});
  }
  wait_queue_.Notify(kReadable);
  if (notice.owner != nullptr) Tell(context, notice);
  return {};
}

Result<Mqueue::Message> Mqueue::Receive() {
  Message message;
  {
    MutexLock lock(mu_);
    const auto first = messages_.begin();
    if (first == messages_.end()) return Err(EAGAIN);
    message = {std::move(first->second), first->first};
    messages_.erase(first);
    bytes_ -= message.bytes.size();
    accounts_->ReturnBytes(message.bytes.size());
    attr_.atime = attr_.ctime = FileTimeNow();
  }
  wait_queue_.Notify(kWritable);
  return message;
}

Result<void> Mqueue::Register(MqueueNotice notice) {
  MutexLock lock(mu_);
  if (notice_.owner != nullptr) return Err(EBUSY);
  notice_ = std::move(notice);
  attr_.atime = attr_.ctime = FileTimeNow();
  return {};
}

void Mqueue::Unregister(const ThreadGroup& group) {
  MqueueNotice removed;
  {
    MutexLock lock(mu_);
    if (notice_.owner.get() != &group) return;
    removed = std::exchange(notice_, {});
  }
  if (removed.how == SIGEV_THREAD) SendCookie(removed, kNotifyRemoved);
}

void Mqueue::CountReceiver(int delta) {
  MutexLock lock(mu_);
  receivers_ += delta;
}

std::string Mqueue::StatusText() const {
  MutexLock lock(mu_);
  const int owner = notice_.owner != nullptr ? notice_.owner->tgid() : 0;
  const int how = notice_.owner != nullptr ? notice_.how : 0;
  const int signo = how == SIGEV_SIGNAL ? notice_.signo : 0;
  return StrPrintf("QSIZE:%-10zu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", bytes_, how, signo, owner);
}

EventMask Mqueue::Readiness() const {
  MutexLock lock(mu_);
  EventMask events = 0;
  if (!messages_.empty()) events |= kReadable;
  if (static_cast<int64_t>(messages_.size()) < shape_.max_messages) events |= kWritable;
  return events;
}

Result<Attr> Mqueue::GetAttr(Context&) {
  MutexLock lock(mu_);
  return attr_;
}

Result<void> Mqueue::SetAttr(Context&, const AttrChange& change) {
  MutexLock lock(mu_);
  if (change.mode) attr_.mode = S_IFREG | (*change.mode & 07777);
  if (change.uid) attr_.uid = *change.uid;
  if (change.gid) attr_.gid = *change.gid;
  attr_.ctime = FileTimeNow();
  if (change.atime) attr_.atime = *change.atime;
  if (change.mtime) attr_.mtime = *change.mtime;
  return {};
}

void Mqueue::Unlinked() {
  MutexLock lock(mu_);
  attr_.nlink = 0;
  attr_.ctime = FileTimeNow();
}

Result<FileRef> Mqueue::Open(Context&, const Path& path, int flags) {
  return FileRef(MakeRef<MqueueFile>(path, flags, std::static_pointer_cast<Mqueue>(shared_from_this())));
}

Result<size_t> MqueueFile::Read(Context&, IoSequence& to, int64_t* offset, int) {
  const std::string text = queue_->StatusText();
  if (*offset < 0 || static_cast<size_t>(*offset) >= text.size()) return size_t{0};
  const size_t size = std::min(to.remaining(), text.size() - static_cast<size_t>(*offset));
  const size_t copied = TRY(to.CopyOut(text.data() + *offset, size));
  *offset += static_cast<int64_t>(copied);
  return copied;
}

Result<int64_t> MqueueFile::Seek(Context&, int64_t offset, int whence) {
  if (whence != SEEK_END) return Err(EINVAL);
  return offset + static_cast<int64_t>(kFileSize);
}

Result<void> MqueueFile::OnClose(Context& context) {
  if (const Task* task = Task::Of(context)) queue_->Unregister(task->group());
  return {};
}

Result<RefPtr<MqueueFile>> AsMqueue(const FileRef& file) {
  auto queue = std::dynamic_pointer_cast<MqueueFile>(file);
  if (queue == nullptr) return Err(EBADF);
  return queue;
}

}  // namespace sandbox
