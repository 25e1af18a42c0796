#include "sentry/vfs/fs_registry.h"

#include <map>

#include "base/check.h"

namespace sandbox {
namespace {

// Written by static initialisers only, so reading needs no lock.
std::map<std::string, FileSystemType, std::less<>>& Types() {
  static auto& types = *new std::map<std::string, FileSystemType, std::less<>>;
  return types;
}

}  // namespace

FileSystemTypeRegistrar::FileSystemTypeRegistrar(FileSystemType type) {
  std::string name = type.name;
  CHECK(Types().emplace(std::move(name), std::move(type)).second);
}

const FileSystemType* FindFileSystemType(std::string_view name) {
  auto it = Types().find(name);
  return it == Types().end() ? nullptr : &it->second;
}

std::vector<const FileSystemType*> AllFileSystemTypes() {
  std::vector<const FileSystemType*> all;
  for (const auto& [name, type] : Types()) all.push_back(&type);
  return all;
}

}  // namespace sandbox
