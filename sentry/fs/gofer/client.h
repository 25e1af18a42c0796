// The sentry's end of a gofer connection: typed round trips over a pool of channels.
//
// A call takes a free channel for itself, so calls of different tasks run side by side; when tasks
// have to wait for one, another channel is made (up to kMaxChannels). What the gofer sends is data,
// not truth about sizes: every count, name and type is checked before use, and a malformed answer
// is EIO.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/channel.h"
#include "gofer/protocol/messages.h"
#include "gofer/protocol/wire.h"
#include "sentry/core/outside.h"
#include "sentry/fs/gofer/journal.h"

namespace sandbox {

class GoferClient;

// A handle that the server is told to forget when the last user drops it; with a null client, one
// that is kept for good (the root of a tree, which may be mounted more than once).
class GoferHandle {
 public:
  GoferHandle(RefPtr<GoferClient> client, gofer::Handle value) : client_(std::move(client)), value_(value) {}
  ~GoferHandle();
  GoferHandle(const GoferHandle&) = delete;
  gofer::Handle value() const { return value_; }

 private:
  const RefPtr<GoferClient> client_;
  const gofer::Handle value_;
};
using GoferHandleRef = RefPtr<GoferHandle>;

struct GoferEntry {
  GoferHandleRef handle;
  gofer::FileAttr attr;
  std::string target;  // of a symbolic link
};

struct GoferWalk {
  std::vector<GoferEntry> entries;  // as far as objects exist
  int error = 0;                    // why the walk ended early; 0 also when a symbolic link ended it
  UniqueFd fd;                      // of the last entry, when an open was asked for and possible
};

struct GoferLookup {
  int error = 0;
  GoferEntry entry;
};

// `room`: the file system is far from full (gofer::ReplyHeader::room).
struct GoferCreated {
  GoferEntry entry;
  gofer::FileAttr dir;
  UniqueFd fd;  // regular files
  bool room = false;
};

// Files without a name, open for reading and writing.
struct GoferUnnamed {
  GoferEntry entry;
  UniqueFd fd;
};
struct GoferUnnamedFiles {
  std::vector<GoferUnnamed> files;  // at least one
  bool room = false;
};

class GoferCall;

struct GoferDirEntry {
  std::string name;
  uint64_t ino;
  uint8_t type;  // DT_*
};

struct GoferDirBatch {
  std::vector<GoferDirEntry> entries;
  uint64_t next = 0;
  bool end = false;
};

class GoferClient : public OutsideShare, public RefFromThis<GoferClient> {
 public:
  static constexpr int kMaxChannels = 8;

  struct Tree {
    gofer::Handle root;
    bool read_only;
    gofer::FileAttr attr;
  };

  // Greets the server; `socket` is the client's end of the pair that GoferMain was given.
  static Result<RefPtr<GoferClient>> Connect(UniqueFd socket);
  ~GoferClient() override;

  const std::vector<Tree>& trees() const { return trees_; }

  // `names` are components, at most kMaxWalk, one below the other. `open_flags`: open the last one
  // so if it is a file.
  Result<GoferWalk> Walk(gofer::Handle dir, std::span<const std::string_view> names,
                         std::optional<uint32_t> open_flags);
  // One answer a name, in order; possibly fewer than asked for.
  Result<std::vector<GoferLookup>> LookupMany(gofer::Handle dir, std::span<const std::string_view> names);
  Result<gofer::FileAttr> GetAttr(gofer::Handle file);
  Result<gofer::FileAttr> SetAttr(gofer::Handle file, const gofer::SetAttrRequest& change);
  Result<std::pair<UniqueFd, gofer::FileAttr>> Open(gofer::Handle file, uint32_t flags);
  Result<GoferCreated> Create(gofer::Handle dir, std::string_view name, const gofer::CreateRequest& what,
                              std::string_view target);
  Result<GoferUnnamedFiles> Tmpfile(gofer::Handle dir, const gofer::CreateRequest& what, size_t count);
  // The same in two parts: asks for them, and waits for the answer. Null when the connection cannot spare a channel.
  std::unique_ptr<GoferCall> BeginTmpfile(gofer::Handle dir, const gofer::CreateRequest& what, size_t count);
  Result<GoferUnnamedFiles> FinishTmpfile(std::unique_ptr<GoferCall> call);
  struct Linked {
    gofer::FileAttr file, dir;
    bool room;
  };
  Result<Linked> Link(gofer::Handle dir, std::string_view name, gofer::Handle target);
  Result<Linked> Place(gofer::Handle dir, std::string_view name, const gofer::PlaceRequest& what);
  struct Unlinked {
    gofer::FileAttr dir;
    bool room;
  };
  Result<Unlinked> Unlink(gofer::Handle dir, std::string_view name, const gofer::UnlinkRequest& what);
  struct Renamed {
    gofer::FileAttr old_dir, new_dir;
    bool room;
  };
  Result<Renamed> Rename(gofer::Handle old_dir, std::string_view old_name, std::string_view new_name,
                         const gofer::RenameRequest& what);
  Result<std::string> ReadLink(gofer::Handle link);
  Result<GoferDirBatch> ReadDir(gofer::Handle dir, uint64_t position);
  Result<gofer::StatFsReply> StatFs(gofer::Handle file);
  Result<std::string> GetXattr(gofer::Handle file, std::string_view name);
  Result<void> SetXattr(gofer::Handle file, std::string_view name, std::string_view value, int flags);
  Result<std::vector<std::string>> ListXattr(gofer::Handle file);
  Result<void> RemoveXattr(gofer::Handle file, std::string_view name);
  Result<void> Sync(gofer::Handle file);

  // The same changes without waiting for them. The number that the change has in the journal; 0 when it cannot be
  // taken now and has to be made the other way. Whatever is asked of the gofer later is answered after it.
  uint64_t DeferSetAttr(gofer::Handle file, const gofer::SetAttrRequest& change);
  uint64_t DeferLink(gofer::Handle dir, std::string_view name, gofer::Handle target);
  // In a directory in which Place has succeeded.
  uint64_t DeferPlace(gofer::Handle dir, std::string_view name, const gofer::PlaceRequest& what);
  uint64_t DeferUnlink(gofer::Handle dir, std::string_view name, const gofer::UnlinkRequest& what);
  uint64_t DeferRename(gofer::Handle dir, std::string_view old_name, std::string_view new_name,
                       const gofer::RenameRequest& what);
  const GoferJournal& journal() const { return journal_; }
  // OutsideShare: changes that the host has not made yet, and waiting for them.
  bool Owes() const override { return journal_.sent() > journal_.done(); }
  void Settle() override;
  void Doubt() override { doubts_.fetch_add(1, std::memory_order_acq_rel); }
  // Counts the moments from which on what was known of the trees has to be looked at again: the host's doing, or
  // deferred changes that failed.
  uint32_t doubts() const { return doubts_.load(std::memory_order_acquire); }

  // Opens a memory file of ours again, for reading only.
  Result<UniqueFd> ReopenMemory(BorrowedFd memory);
  // bind(2) of a socket of ours to a port below 1024. EACCES from a gofer that does not do it.
  Result<void> BindPort(BorrowedFd socket, std::string_view address);

  // Round trips made so far, for tests and benchmarks.
  uint64_t round_trips() const { return round_trips_.load(std::memory_order_relaxed); }

 private:
  friend class GoferHandle;
  friend class GoferCall;
  // A channel and its buffers, used by one call at a time.
  struct Lane {
    explicit Lane(UniqueFd socket) : channel(std::move(socket)) {}
    gofer::Channel channel;
    std::array<std::byte, gofer::kMaxMessage> request;
    std::array<std::byte, gofer::kMaxMessage> reply;
  };
  using LaneRef = std::unique_ptr<Lane>;

  static LaneRef MakeLane(UniqueFd socket);
  LaneRef Acquire();
  void Release(LaneRef lane);
  // One more channel, asked for over `lane`; null when the server refuses.
  LaneRef AddLane(Lane& lane);
  // Lets the owner of `lane` keep it for longer than a round trip. False when the last one is left to the others.
  bool Park(Lane& lane);
  void Unpark();
  // Takes a lane on which an answer may still come out of use.
  void Discard(LaneRef lane);
  void Forget(gofer::Handle handle);
  void SendForgets(Lane& lane);
  bool OpenJournal();
  template <typename Put>
  uint64_t Defer(gofer::Op op, gofer::Handle handle, uint32_t flags, Put put);
  Result<void> Hello();
  GoferHandleRef Own(gofer::Handle value);
  Result<GoferEntry> GetEntry(gofer::Reader& in);

  std::vector<Tree> trees_;
  std::atomic<uint64_t> round_trips_{0};
  GoferJournal journal_;
  std::atomic<uint32_t> doubts_{0};
  Mutex mu_{LockRank::kGofer};
  CondVar free_lane_;
  std::vector<LaneRef> idle_ GUARDED_BY(mu_);  // a stack: the warmest channel is used first
  int lanes_ GUARDED_BY(mu_) = 0;
  int parked_ GUARDED_BY(mu_) = 0;
  int waiters_ GUARDED_BY(mu_) = 0;
  std::vector<gofer::Handle> forgotten_ GUARDED_BY(mu_);
};

// One round trip. Holds its channel while it lives, so the reply's bytes stay valid until then.
class GoferCall {
 public:
  GoferCall(GoferClient& client, gofer::Op op, gofer::Handle handle, uint32_t flags = 0);
  ~GoferCall();
  GoferCall(const GoferCall&) = delete;

  gofer::Writer& request() { return request_; }
  // Goes with the request; stays open until Run returns.
  void set_fd(BorrowedFd fd) { passed_ = fd; }
  // Sends and waits. The error is the server's (walks report theirs through error() instead), EIO
  // when it is gone.
  Result<void> Run();
  // Before a Send whose answer may be left for later; false when all channels are needed for round trips.
  bool Park();
  // The two halves of Run.
  Result<void> Send();
  Result<void> Receive();
  gofer::Reader& reply() { return reply_; }
  uint32_t count() const { return header_.count; }
  bool room() const { return header_.room != 0; }
  int error() const { return header_.error; }
  // The reply's next descriptor; invalid when there is none left.
  UniqueFd TakeFd() { return next_fd_ < fds_.size() ? std::move(fds_[next_fd_++]) : UniqueFd(); }

 private:
  GoferClient& client_;
  const gofer::Op op_;
  const uint64_t after_;
  GoferClient::LaneRef lane_;
  gofer::Writer request_;
  gofer::Reader reply_;
  gofer::ReplyHeader header_{};
  BorrowedFd passed_;
  bool parked_ = false;
  bool awaited_ = false;  // sent, and not answered yet
  std::array<UniqueFd, gofer::kMaxDescriptors> fds_;
  size_t next_fd_ = 0;
};

}  // namespace sandbox
