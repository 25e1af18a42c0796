// Small files and streams, read and written whole.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace sandbox {

// From the current position to the end. EFBIG beyond `limit` bytes.
Result<std::string> ReadAll(BorrowedFd fd, size_t limit);
// Errors of open(2) too.
Result<std::string> ReadAllOf(const char* path, size_t limit);
// A memory file with `text`, positioned at its start: for a reader that may never read, where a pipe could block the
// writer.
Result<UniqueFd> MemoryFileWith(const char* name, std::string_view text);

}  // namespace sandbox
