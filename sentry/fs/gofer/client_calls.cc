// The typed round trips of GoferClient.

#include <sys/stat.h>

#include <fcntl.h>

#include "base/host_sys.h"
#include "sentry/fs/gofer/client.h"

namespace sandbox {

using gofer::FileAttr;
using gofer::Handle;
using gofer::Op;

namespace {

void PutNames(gofer::Writer& out, std::span<const std::string_view> names) {
  out.Put(static_cast<uint32_t>(names.size()));
  for (const std::string_view name : names) out.PutString(name);
}

Result<FileAttr> GetFileAttr(gofer::Reader& in) {
  const auto attr = in.Get<FileAttr>();
  if (!in.ok()) return Err(EIO);
  // What a guest's stat could not represent, or arithmetic could not survive, did not come from
  // statx.
  if (attr.size > INT64_MAX || attr.atime_ns > 999'999'999 || attr.mtime_ns > 999'999'999 ||
      attr.ctime_ns > 999'999'999 || attr.btime_ns > 999'999'999)
    return Err(EIO);
  return attr;
}

}  // namespace

Result<GoferEntry> GoferClient::GetEntry(gofer::Reader& in) {
  const Handle handle = in.Get<Handle>();
  (void)in.Get<int32_t>();
  (void)in.Get<uint32_t>();
  FileAttr attr = TRY(GetFileAttr(in));
  std::string target(in.GetString(gofer::kMaxTarget));
  if (!in.ok()) return Err(EIO);
  return GoferEntry{Own(handle), attr, std::move(target)};
}

Result<GoferWalk> GoferClient::Walk(Handle dir, std::span<const std::string_view> names,
                                    std::optional<uint32_t> open_flags) {
  GoferCall call(*this, Op::kWalk, dir, open_flags ? gofer::kWalkOpen : 0);
  PutNames(call.request(), names);
  if (open_flags) call.request().Put(*open_flags);
  TRY(call.Run());
  if (call.count() > names.size()) return Err(EIO);
  GoferWalk walk;
  walk.error = call.error();
  for (uint32_t i = 0; i < call.count(); ++i) walk.entries.push_back(TRY(GetEntry(call.reply())));
  if (walk.entries.size() == names.size() && S_ISREG(walk.entries.back().attr.mode)) walk.fd = call.TakeFd();
  return walk;
}

Result<std::vector<GoferLookup>> GoferClient::LookupMany(Handle dir, std::span<const std::string_view> names) {
  GoferCall call(*this, Op::kLookupMany, dir);
  PutNames(call.request(), names);
  TRY(call.Run());
  if (call.count() > names.size()) return Err(EIO);
  std::vector<GoferLookup> found;
  for (uint32_t i = 0; i < call.count(); ++i) {
    gofer::Reader peek = call.reply();
    const auto head = peek.Get<gofer::Entry>();
    if (head.error == 0) {
      found.push_back({0, TRY(GetEntry(call.reply()))});
      continue;
    }
    call.reply().Get<gofer::Entry>();
    call.reply().GetString(0);
    if (!call.reply().ok() || head.error < 0 || head.error > 4095) return Err(EIO);
    found.push_back({head.error, {}});
  }
  return found;
}

Result<FileAttr> GoferClient::GetAttr(Handle file) {
  GoferCall call(*this, Op::kGetAttr, file);
  TRY(call.Run());
  return GetFileAttr(call.reply());
}

Result<FileAttr> GoferClient::SetAttr(Handle file, const gofer::SetAttrRequest& change) {
  GoferCall call(*this, Op::kSetAttr, file);
  call.request().Put(change);
  TRY(call.Run());
  return GetFileAttr(call.reply());
}

Result<std::pair<UniqueFd, FileAttr>> GoferClient::Open(Handle file, uint32_t flags) {
  GoferCall call(*this, Op::kOpen, file, flags);
  TRY(call.Run());
  const FileAttr attr = TRY(GetFileAttr(call.reply()));
  UniqueFd fd = call.TakeFd();
  if (!fd.valid()) return Err(EMFILE);  // our own table was full: the kernel dropped the descriptor
  return std::pair(std::move(fd), attr);
}

Result<GoferCreated> GoferClient::Create(Handle dir, std::string_view name, const gofer::CreateRequest& what,
                                         std::string_view target) {
  if (target.size() > gofer::kMaxTarget) return Err(ENAMETOOLONG);
  GoferCall call(*this, Op::kCreate, dir);
  call.request().Put(what);
  call.request().PutString(name);
  call.request().PutString(target);
  TRY(call.Run());
  GoferCreated created;
  created.entry = TRY(GetEntry(call.reply()));
  created.entry.target = target;
  created.dir = TRY(GetFileAttr(call.reply()));
  created.fd = call.TakeFd();
  created.room = call.room();
  return created;
}

namespace {

Result<GoferUnnamedFiles> GetUnnamed(GoferCall& call, auto get_entry) {
  GoferUnnamedFiles made;
  made.room = call.room();
  for (uint32_t i = 0; i < call.count() && i < gofer::kMaxDescriptors; ++i) {
    GoferEntry entry = TRY(get_entry(call.reply()));
    UniqueFd fd = call.TakeFd();
    if (!fd.valid()) break;  // our own table was full: the kernel dropped the rest
    made.files.push_back({std::move(entry), std::move(fd)});
  }
  if (made.files.empty()) return Err(EMFILE);
  return made;
}

}  // namespace

Result<GoferUnnamedFiles> GoferClient::Tmpfile(Handle dir, const gofer::CreateRequest& what, size_t count) {
  GoferCall call(*this, Op::kTmpfile, dir, static_cast<uint32_t>(count));
  call.request().Put(what);
  TRY(call.Run());
  return GetUnnamed(call, [this](gofer::Reader& in) { return GetEntry(in); });
}

std::unique_ptr<GoferCall> GoferClient::BeginTmpfile(Handle dir, const gofer::CreateRequest& what, size_t count) {
  auto call = std::make_unique<GoferCall>(*this, Op::kTmpfile, dir, static_cast<uint32_t>(count));
  if (!call->Park()) return nullptr;
  call->request().Put(what);
  if (!call->Send().ok()) return nullptr;
  return call;
}

Result<GoferUnnamedFiles> GoferClient::FinishTmpfile(std::unique_ptr<GoferCall> call) {
  TRY(call->Receive());
  return GetUnnamed(*call, [this](gofer::Reader& in) { return GetEntry(in); });
}

namespace {

// Bodies of the changes that may be deferred.
auto LinkBody(std::string_view name, Handle target) {
  return [=](gofer::Writer& out) {
    out.Put(target);
    out.PutString(name);
  };
}
auto PlaceBody(std::string_view name, const gofer::PlaceRequest& what) {
  return [=](gofer::Writer& out) {
    out.Put(what);
    out.PutString(name);
  };
}
auto UnlinkBody(std::string_view name, const gofer::UnlinkRequest& what) {
  return [=](gofer::Writer& out) {
    out.Put(what);
    out.PutString(name);
  };
}
auto RenameBody(std::string_view old_name, std::string_view new_name, const gofer::RenameRequest& what) {
  return [=](gofer::Writer& out) {
    out.Put(what);
    out.PutString(old_name);
    out.PutString(new_name);
  };
}

}  // namespace

Result<GoferClient::Linked> GoferClient::Link(Handle dir, std::string_view name, Handle target) {
  GoferCall call(*this, Op::kLink, dir);
  LinkBody(name, target)(call.request());
  TRY(call.Run());
  const FileAttr file = TRY(GetFileAttr(call.reply()));
  return Linked{file, TRY(GetFileAttr(call.reply())), call.room()};
}

Result<GoferClient::Linked> GoferClient::Place(Handle dir, std::string_view name, const gofer::PlaceRequest& what) {
  GoferCall call(*this, Op::kPlace, dir);
  PlaceBody(name, what)(call.request());
  TRY(call.Run());
  const FileAttr file = TRY(GetFileAttr(call.reply()));
  return Linked{file, TRY(GetFileAttr(call.reply())), call.room()};
}

Result<GoferClient::Unlinked> GoferClient::Unlink(Handle dir, std::string_view name, const gofer::UnlinkRequest& what) {
  GoferCall call(*this, Op::kUnlink, dir);
  UnlinkBody(name, what)(call.request());
  TRY(call.Run());
  return Unlinked{TRY(GetFileAttr(call.reply())), call.room()};
}

Result<GoferClient::Renamed> GoferClient::Rename(Handle old_dir, std::string_view old_name, std::string_view new_name,
                                                 const gofer::RenameRequest& what) {
  GoferCall call(*this, Op::kRename, old_dir);
  RenameBody(old_name, new_name, what)(call.request());
  TRY(call.Run());
  const FileAttr old_attr = TRY(GetFileAttr(call.reply()));
  return Renamed{old_attr, TRY(GetFileAttr(call.reply())), call.room()};
}

template <typename Put>
uint64_t GoferClient::Defer(Op op, Handle handle, uint32_t flags, Put put) {
  if (!journal_.open() && !OpenJournal()) return 0;
  std::array<std::byte, gofer::kMaxDeferred> buffer;
  gofer::Writer out(buffer);
  out.Put(gofer::RequestHeader{op, flags, handle});
  put(out);
  return out.ok() ? journal_.Post(out.bytes()) : 0;
}

uint64_t GoferClient::DeferSetAttr(Handle file, const gofer::SetAttrRequest& change) {
  return Defer(Op::kSetAttr, file, 0, [&](gofer::Writer& out) { out.Put(change); });
}
uint64_t GoferClient::DeferLink(Handle dir, std::string_view name, Handle target) {
  return Defer(Op::kLink, dir, 0, LinkBody(name, target));
}
uint64_t GoferClient::DeferPlace(Handle dir, std::string_view name, const gofer::PlaceRequest& what) {
  return Defer(Op::kPlace, dir, gofer::kPlaceProven, PlaceBody(name, what));
}
uint64_t GoferClient::DeferUnlink(Handle dir, std::string_view name, const gofer::UnlinkRequest& what) {
  return Defer(Op::kUnlink, dir, 0, UnlinkBody(name, what));
}
uint64_t GoferClient::DeferRename(Handle dir, std::string_view old_name, std::string_view new_name,
                                  const gofer::RenameRequest& what) {
  return Defer(Op::kRename, dir, 0, RenameBody(old_name, new_name, what));
}

Result<std::string> GoferClient::ReadLink(Handle link) {
  GoferCall call(*this, Op::kReadLink, link);
  TRY(call.Run());
  std::string target(call.reply().GetString(gofer::kMaxTarget));
  if (!call.reply().ok()) return Err(EIO);
  return target;
}

Result<GoferDirBatch> GoferClient::ReadDir(Handle dir, uint64_t position) {
  GoferCall call(*this, Op::kReadDir, dir);
  call.request().Put(position);
  TRY(call.Run());
  const auto head = call.reply().Get<gofer::DirReply>();
  GoferDirBatch batch{{}, head.next, head.end != 0};
  for (uint32_t i = 0; i < call.count(); ++i) {
    const auto record = call.reply().Get<gofer::DirRecord>();
    const std::string_view name = call.reply().GetString(gofer::kMaxName);
    if (!call.reply().ok()) return Err(EIO);
    if (gofer::ValidName(name))
      batch.entries.push_back({std::string(name), record.ino, static_cast<uint8_t>(record.type)});
  }
  if (!call.reply().ok()) return Err(EIO);
  // A batch that neither ends nor advances would be asked for for ever.
  if (!batch.end && (call.count() == 0 || batch.next == position)) batch.end = true;
  return batch;
}

Result<gofer::StatFsReply> GoferClient::StatFs(Handle file) {
  GoferCall call(*this, Op::kStatFs, file);
  TRY(call.Run());
  const auto reply = call.reply().Get<gofer::StatFsReply>();
  if (!call.reply().ok()) return Err(EIO);
  return reply;
}

Result<std::string> GoferClient::GetXattr(Handle file, std::string_view name) {
  if (name.size() > gofer::kMaxXattrName) return Err(ERANGE);
  GoferCall call(*this, Op::kGetXattr, file);
  call.request().PutString(name);
  TRY(call.Run());
  std::string value(call.reply().GetString(gofer::kMaxXattrValue));
  if (!call.reply().ok()) return Err(EIO);
  return value;
}

Result<void> GoferClient::SetXattr(Handle file, std::string_view name, std::string_view value, int flags) {
  if (name.size() > gofer::kMaxXattrName) return Err(ERANGE);
  if (value.size() > gofer::kMaxXattrValue) return Err(E2BIG);
  GoferCall call(*this, Op::kSetXattr, file, static_cast<uint32_t>(flags));
  call.request().PutString(name);
  call.request().PutString(value);
  return call.Run();
}

Result<std::vector<std::string>> GoferClient::ListXattr(Handle file) {
  GoferCall call(*this, Op::kListXattr, file);
  TRY(call.Run());
  std::string_view list = call.reply().GetString(gofer::kMaxXattrValue);
  if (!call.reply().ok()) return Err(EIO);
  std::vector<std::string> names;
  while (!list.empty()) {
    const size_t end = list.find('\0');
    names.emplace_back(list.substr(0, end));
    if (end == std::string_view::npos) break;
    list.remove_prefix(end + 1);
  }
  return names;
}

Result<void> GoferClient::RemoveXattr(Handle file, std::string_view name) {
  if (name.size() > gofer::kMaxXattrName) return Err(ERANGE);
  GoferCall call(*this, Op::kRemoveXattr, file);
  call.request().PutString(name);
  return call.Run();
}

Result<UniqueFd> GoferClient::ReopenMemory(BorrowedFd memory) {
  GoferCall call(*this, Op::kReopenMemory, 0);
  call.set_fd(memory);
  TRY(call.Run());
  UniqueFd opened = call.TakeFd();
  // What a stub gets depends on it, so it is not taken on trust.
  if (!opened.valid() || (TRY(host::StatusFlags(opened.borrow())) & O_ACCMODE) != O_RDONLY) return Err(EIO);
  return opened;
}

Result<void> GoferClient::BindPort(BorrowedFd socket, std::string_view address) {
  GoferCall call(*this, Op::kBindPort, 0);
  call.request().PutString(address);
  call.set_fd(socket);
  return call.Run();
}

Result<void> GoferClient::Sync(Handle file) {
  GoferCall call(*this, Op::kSync, file);
  return call.Run();
}

}  // namespace sandbox
