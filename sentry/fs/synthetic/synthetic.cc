#include "sentry/fs/synthetic/synthetic.h"

#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>

#include <charconv>

namespace sandbox::synthetic {

Result<FsStat> Fs::StatFs(Context&) {
  FsStat stat;
  stat.type = magic_;
  return stat;
}

Node::Node(Fs& fs, uint32_t mode) : Inode(fs), ino_(fs.NextIno()), mode_(mode), created_(FileTimeNow()) {
  set_type(mode);
}

Result<Attr> Node::GetAttr(Context&) {
  Attr attr;
  attr.ino = ino_;
  attr.mode = mode_;
  attr.nlink = (mode_ & S_IFMT) == S_IFDIR ? 2 : 1;
  attr.blksize = 1024;
  attr.atime = attr.mtime = attr.ctime = created_;
  return attr;
}

Result<void> Node::SetAttr(Context&, const AttrChange& change) {
  if (change.size && (mode_ & S_IFMT) == S_IFREG) return {};
  return Err(EPERM);
}

Result<InodeRef> Directory::Create(Context&, std::string_view, const CreateArgs& args) {
  // proc's look-ups fail where others find nothing; the rest cannot create regular files, or anything else.
  const RefPtr<FileSystem> own = fs();
  if (own != nullptr && static_cast<Fs&>(*own).magic() == PROC_SUPER_MAGIC) return Err(ENOENT);
  return Err((args.mode & S_IFMT) == S_IFREG ? EACCES : EPERM);
}

NodeRef StaticDirectory::Fixed(std::string_view name) const {
  const auto it = children_.find(name);
  return it == children_.end() ? nullptr : it->second;
}

Result<InodeRef> StaticDirectory::Lookup(Context& context, std::string_view name) {
  if (NodeRef node = Fixed(name)) return InodeRef(std::move(node));
  return FindDynamic(context, name);
}

Result<InodeRef> StaticDirectory::Revalidate(Context& context, std::string_view name, const InodeRef& cached) {
  if (Fixed(name) != nullptr) return cached;
  return Lookup(context, name);
}

Result<std::vector<Entry>> StaticDirectory::List(Context& context) {
  std::vector<Entry> entries;
  for (const auto& [name, node] : children_) {
    entries.push_back({name, node->ino(), static_cast<uint8_t>(IFTODT(node->mode()))});
  }
  TRY(ListDynamic(context, entries));
  return entries;
}

Result<Attr> StaticDirectory::GetAttr(Context& context) {
  Attr attr = TRY(Node::GetAttr(context));
  for (const auto& [name, node] : children_) attr.nlink += (node->mode() & S_IFMT) == S_IFDIR;
  return attr;
}

RefPtr<TextFile> MakeText(Fs& fs, TextSource source, uint32_t permissions) {
  return MakeRef<TextFile>(fs, permissions, std::move(source));
}

RefPtr<TextFile> MakeText(Fs& fs, std::string text, uint32_t permissions) {
  return MakeText(
      fs, [text = std::move(text)](Context&) -> Result<std::string> { return text; }, permissions);
}

RefPtr<StaticDirectory> AddDirectory(Fs& fs, StaticDirectory& parent, std::string name, uint32_t permissions) {
  return parent.Add(std::move(name), MakeRef<StaticDirectory>(fs, permissions));
}

Result<int64_t> ParseNumber(std::string_view text) {
  constexpr std::string_view kBlank = " \t\n";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return Err(EINVAL);
  text = text.substr(begin, text.find_last_not_of(std::string_view(" \t\n\0", 4)) + 1 - begin);
  if (text.starts_with('+')) text.remove_prefix(1);
  // Base 0 of kstrtoll: a prefix says hexadecimal or octal.
  const bool negative = text.starts_with('-');
  std::string_view digits = text.substr(negative ? 1 : 0);
  const bool hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
  const int base = hexadecimal ? 16 : digits.size() > 1 && digits[0] == '0' ? 8 : 10;
  const std::string number = (negative ? "-" : "") + std::string(digits.substr(hexadecimal ? 2 : 0));
  int64_t value;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value, base);
  if (error != std::errc() || end != number.data() + number.size()) return Err(EINVAL);
  return value;
}

}  // namespace sandbox::synthetic
