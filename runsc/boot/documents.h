// Pieces of the answers to control requests. Private to this folder.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace sandbox::boot {

// The whole of a memory file that came with a request, at most 16 MiB.
absl::StatusOr<std::string> ReadDocument(BorrowedFd fd);
// Answers with an error and the exit code it carries.
void Fail(BorrowedFd connection, const absl::Status& status);

}  // namespace sandbox::boot
