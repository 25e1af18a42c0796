#include "runsc/boot/copy_tree.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>
#include <string>
#include <vector>

#include "sentry/vfs/io.h"
#include "sentry/vfs/operations.h"

namespace sandbox::boot {
namespace {

constexpr int kMaxDepth = 100;

class Names final : public DirSink {
 public:
  bool Emit(std::string_view name, uint64_t, uint8_t, int64_t) override {
    if (name != "." && name != "..") names.emplace_back(name);
    return true;
  }
  std::vector<std::string> names;
};

Result<void> CopyContents(Context& context, const Path& from, const InodeRef& to) {
  const FileRef source = TRY(OpenPath(context, from, O_RDONLY));
  const FileRef target = TRY(to->Open(context, Path{}, O_WRONLY));
  std::array<char, 16384> buffer;
  for (int64_t offset = 0;;) {
    int64_t read_at = offset, write_at = offset;
    IoSequence in = IoSequence::Kernel(buffer.data(), buffer.size());
    const size_t got = TRY(source->Read(context, in, &read_at, 0));
    if (got == 0) return {};
    IoSequence out = IoSequence::Kernel(buffer.data(), got);
    if (TRY(target->Write(context, out, &write_at, 0)) != got) return Err(ENOSPC);
    offset += static_cast<int64_t>(got);
  }
}

Result<void> CopyFolder(Context& context, const Path& from, const InodeRef& to, int depth) {
  if (depth > kMaxDepth) return Err(ELOOP);
  Names sink;
  TRY(ReadDirectory(context, *TRY(OpenPath(context, from, O_RDONLY | O_DIRECTORY)), sink));
  for (const std::string& name : sink.names) {
    WalkOptions as_it_is;
    as_it_is.follow_last = false;
    const Path child = TRY(Walk(context, WalkBase{from, from}, name, as_it_is));
    const Attr attr = TRY(child.inode()->GetAttr(context));
    CreateArgs args;
    args.mode = attr.mode;
    args.rdev = attr.rdev;
    args.uid = attr.uid;
    args.gid = attr.gid;
    if (S_ISLNK(attr.mode)) args.target = TRY(child.inode()->ReadLink(context));
    const InodeRef made = TRY(to->Create(context, name, args));
    if (S_ISDIR(attr.mode)) TRY(CopyFolder(context, child, made, depth + 1));
    if (S_ISREG(attr.mode)) TRY(CopyContents(context, child, made));
  }
  return {};
}

}  // namespace

Result<void> CopyTree(const Path& from, const InodeRef& to) { return CopyFolder(KernelContext(), from, to, 0); }

}  // namespace sandbox::boot
