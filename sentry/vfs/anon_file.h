// AnonFile: an open file without a name, of a kind that shares one inode (Linux: anon_inode_getfile).
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "sentry/vfs/file.h"

namespace sandbox {

class AnonFile : public FileDescription {
 public:
  // `kind` as in /proc/self/fd: "[eventfd]", "[eventpoll]", "[timerfd]", "inotify".
  AnonFile(std::string_view kind, int flags) : FileDescription(Path{}, flags), kind_(kind) {}

  std::string AnonymousName() const override { return "anon_inode:" + std::string(kind_); }
  Result<Attr> GetAttr(Context&) override {
    Attr attr;
    attr.ino = 2;  // shared by all of them, as on Linux; numbers of pipes and sockets never reach file modes alike
    attr.mode = 0600;
    return attr;
  }

 private:
  const std::string_view kind_;  // a literal
};

}  // namespace sandbox
