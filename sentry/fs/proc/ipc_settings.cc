#include "sentry/fs/proc/ipc_settings.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/log.h"
#include "sentry/fs/mqueue/mqueue_fs.h"
#include "sentry/fs/synthetic/synthetic.h"
#include "sentry/kernel/sysv_msg.h"
#include "sentry/kernel/sysv_sem.h"
#include "sentry/kernel/sysv_shm.h"

namespace sandbox::proc {
namespace {

Result<int64_t> Within(std::string_view text, int64_t least, int64_t most) {
  const int64_t value = TRY(synthetic::ParseNumber(text));
  if (value < least || value > most) return Err(EINVAL);
  return value;
}

// The limit on objects and the id of the next one.
template <typename Table, int64_t kHard>
constexpr IpcSetting Most(const char* path) {
  return {path, [](IpcNamespace& ipc) { return std::to_string(Table::Of(ipc)->most()); },
          [](IpcNamespace& ipc, std::string_view text) -> Result<void> {
            Table::Of(ipc)->set_most(static_cast<size_t>(TRY(Within(text, 0, kHard))));
            return {};
          }};
}
template <typename Table>
constexpr IpcSetting NextId(const char* path) {
  return {path, [](IpcNamespace& ipc) { return std::to_string(Table::Of(ipc)->wanted_id()); },
          [](IpcNamespace& ipc, std::string_view text) -> Result<void> {
            Table::Of(ipc)->set_wanted_id(static_cast<int>(TRY(Within(text, -1, INT32_MAX))));
            return {};
          }};
}

template <std::atomic<int64_t> MessageTable::*kSetting>
constexpr IpcSetting Message(const char* path) {
  return {path, [](IpcNamespace& ipc) { return std::to_string(((*MessageTable::Of(ipc)).*kSetting).load()); },
          [](IpcNamespace& ipc, std::string_view text) -> Result<void> {
            ((*MessageTable::Of(ipc)).*kSetting).store(TRY(Within(text, 0, 1 << 20)));
            return {};
          }};
}

template <std::atomic<int64_t> MqueueAccounts::*kSetting, int64_t kLeast, int64_t kMost>
constexpr IpcSetting Mqueue(const char* path) {
  return {
      path,
      [](IpcNamespace& ipc) { return std::to_string((MqueueNamespace::Of(ipc)->fs()->accounts().*kSetting).load()); },
      [](IpcNamespace& ipc, std::string_view text) -> Result<void> {
        (MqueueNamespace::Of(ipc)->fs()->accounts().*kSetting).store(TRY(Within(text, kLeast, kMost)));
        return {};
      }};
}

// An unsigned number; Linux's default of both is beyond what a signed one holds.
template <std::atomic<uint64_t> ShmTable::*kSetting>
constexpr IpcSetting Shm(const char* path) {
  return {path, [](IpcNamespace& ipc) { return std::to_string(((*ShmTable::Of(ipc)).*kSetting).load()); },
          [](IpcNamespace& ipc, std::string_view text) -> Result<void> {
            text = text.substr(0, text.find_last_not_of(" \n") + 1);
            uint64_t value = 0;
            const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            if (error != std::errc() || end != text.data() + text.size()) return Err(EINVAL);
            ((*ShmTable::Of(ipc)).*kSetting).store(value);
            return {};
          }};
}

// SEMMSL, SEMMNS, SEMOPM, SEMMNI in one line.
std::string GetSem(IpcNamespace& ipc) {
  const auto table = SemTable::Of(ipc);
  return StrPrintf("%zu\t%zu\t%zu\t%zu", table->per_set.load(), table->in_all.load(), table->operations.load(),
                   table->most());
}

Result<void> SetSem(IpcNamespace& ipc, std::string_view text) {
  std::vector<size_t> values;
  constexpr std::string_view kBlank = " \t\n";
  while (!text.empty()) {
    const size_t begin = text.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kBlank));
    values.push_back(static_cast<size_t>(TRY(Within(word, 0, INT32_MAX))));
    text.remove_prefix(word.size());
  }
  if (values.empty() || values.size() > 4) return Err(EINVAL);
  const auto table = SemTable::Of(ipc);
  // What a guest may have of the sentry's memory is bounded whatever is asked for.
  const auto at = [&](size_t index, size_t now, size_t most) {
    return index < values.size() ? std::min(values[index], most) : now;
  };
  if (values[0] > SemaphoreSet::kMaxSemaphores) return Err(EINVAL);
  table->per_set.store(at(0, table->per_set.load(), SemaphoreSet::kMaxSemaphores));
  table->in_all.store(at(1, table->in_all.load(), SemTable::kMaxInAll));
  table->operations.store(at(2, table->operations.load(), SemaphoreSet::kMaxOperations));
  table->set_most(at(3, table->most(), SemTable::kMaxSets));
  return {};
}

constexpr int64_t kMessages = MqueueFs::kHardMaxMessages, kSize = MqueueFs::kHardMessageSize;

constexpr std::array<IpcSetting, 15> kSettings = {{
    Mqueue<&MqueueAccounts::queues_max, 0, INT32_MAX>("fs/mqueue/queues_max"),
    Mqueue<&MqueueAccounts::msg_max, 1, kMessages>("fs/mqueue/msg_max"),
    Mqueue<&MqueueAccounts::msg_default, 1, kMessages>("fs/mqueue/msg_default"),
    Mqueue<&MqueueAccounts::msgsize_max, 128, kSize>("fs/mqueue/msgsize_max"),
    Mqueue<&MqueueAccounts::msgsize_default, 128, kSize>("fs/mqueue/msgsize_default"),
    Most<MessageTable, MessageTable::kMaxQueues>("kernel/msgmni"),
    Most<ShmTable, 32768>("kernel/shmmni"),
    NextId<MessageTable>("kernel/msg_next_id"),
    NextId<SemTable>("kernel/sem_next_id"),
    NextId<ShmTable>("kernel/shm_next_id"),
    Message<&MessageTable::max_message>("kernel/msgmax"),
    Message<&MessageTable::max_bytes>("kernel/msgmnb"),
    Shm<&ShmTable::max_bytes>("kernel/shmmax"),
    Shm<&ShmTable::max_pages>("kernel/shmall"),
    {"kernel/sem", &GetSem, &SetSem},
}};

}  // namespace

std::span<const IpcSetting> IpcSettings() { return kSettings; }

}  // namespace sandbox::proc
