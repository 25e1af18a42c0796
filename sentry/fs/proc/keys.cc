// /proc/keys, /proc/key-users and /proc/sys/kernel/keys (keyrings(7)).
#include "sentry/kernel/keys.h"

#include "sentry/fs/proc/proc.h"

namespace sandbox::proc {
namespace {

using synthetic::MakeText;
using Limit = std::atomic<int64_t> KeyLimits::*;

Result<std::string> KeysText(Context& context) {
  Task* const reader = Task::Of(context);
  return reader == nullptr ? std::string() : Keys::Get().KeysText(*reader);
}

Result<std::string> UsersText(Context& context) {
  Task* const reader = Task::Of(context);
  return reader == nullptr ? std::string() : Keys::Get().UsersText(*reader);
}

NodeRef MakeSetting(Fs& fs, Limit limit) {
  return MakeRef<synthetic::TextFile>(
      fs, 0644,
      [limit](Context&) -> Result<std::string> { return std::to_string((Keys::Get().limits().*limit).load()) + "\n"; },
      [limit](Context&, std::string_view text) -> Result<void> {
        const int64_t value = TRY(synthetic::ParseNumber(text));
        if (value < 0 || value > INT32_MAX) return Err(EINVAL);
        (Keys::Get().limits().*limit).store(value);
        return {};
      });
}

}  // namespace

void AddKeys(Fs& fs, synthetic::StaticDirectory& root) {
  root.Add("keys", MakeText(fs, &KeysText));
  root.Add("key-users", MakeText(fs, &UsersText));
}

std::map<std::string, NodeRef> KeySettings(Fs& fs) {
  return {{"maxkeys", MakeSetting(fs, &KeyLimits::max_keys)},
          {"maxbytes", MakeSetting(fs, &KeyLimits::max_bytes)},
          {"root_maxkeys", MakeSetting(fs, &KeyLimits::root_max_keys)},
          {"root_maxbytes", MakeSetting(fs, &KeyLimits::root_max_bytes)}};
}

}  // namespace sandbox::proc
