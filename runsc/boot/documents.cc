#include "runsc/boot/documents.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "runsc/control/message.h"

namespace sandbox::boot {

absl::StatusOr<std::string> ReadDocument(BorrowedFd fd) {
  constexpr size_t kMaxDocument = 16 << 20;
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::pread(fd.get(), buffer, sizeof(buffer), static_cast<off_t>(text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::InternalError(absl::StrCat("reading a document: ", std::strerror(errno)));
    if (got == 0) return text;
    text.append(buffer, got);
    if (text.size() > kMaxDocument) return absl::InvalidArgumentError("a document is larger than 16 MiB");
  }
}

void Fail(BorrowedFd connection, const absl::Status& status) {
  (void)control::Send(connection,
                      {control::Message::Kind::kFailed, control::ExitCodeOf(status), std::string(status.message())});
}

}  // namespace sandbox::boot
