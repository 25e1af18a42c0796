#include "syscalls/table.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "sentry/kernel/kernel.h"
#include "syscalls/trace.h"

namespace sandbox::syscalls {
namespace {

constexpr size_t kMaxNr = 512;

// Function-local so that registrars in other files may run first.
std::array<Row, kMaxNr>& Table() {
  static std::array<Row, kMaxNr> table = {};
  return table;
}

}  // namespace

Registrar::Registrar(const Row& row) {
  CHECK(row.nr >= 0 && static_cast<size_t>(row.nr) < kMaxNr);
  Row& slot = Table()[row.nr];
  CHECK(slot.name == nullptr);
  slot = row;
}

const Row* FindRow(uint64_t nr) {
  if (nr >= kMaxNr) return nullptr;
  const Row& row = Table()[nr];
  return row.name != nullptr ? &row : nullptr;
}

std::vector<const Row*> AllRows() {
  std::vector<const Row*> rows;
  for (const Row& row : Table()) {
    if (row.name != nullptr) rows.push_back(&row);
  }
  return rows;
}

platform::LaneTable Lanes() {
  platform::LaneTable lanes = {};
  for (const Row* row : AllRows()) lanes[row->nr] = row->lane;
  return lanes;
}

platform::InputTable Inputs() {
  platform::InputTable table = {};
  for (const Row* row : AllRows()) std::copy(row->inputs.begin(), row->inputs.end(), table.inputs[row->nr]);
  return table;
}

Result<int64_t> Dispatch(Task& task, uint64_t nr, const RawArgs& args) {
  const Row* row = FindRow(nr);
  if (task.kernel().options().strace) return DispatchTraced(task, nr, row, args);
  if (row == nullptr) return Err(ENOSYS);
  return row->invoke(task, args);
}

}  // namespace sandbox::syscalls
