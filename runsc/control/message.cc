#include "runsc/control/message.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace sandbox::control {
namespace {

constexpr size_t kMaxMessage = 64 * 1024;
constexpr char kExitCodeUrl[] = "runsc/exit-code";
constexpr std::array kKindNames = {"signal",    "started", "exited", "failed", "detach", "start",  "exec",   "wait",
                                   "processes", "status",  "ok",     "create", "pause",  "resume", "update", "profile"};
static_assert(kKindNames.size() == static_cast<size_t>(Message::Kind::kProfile) + 1);

absl::Status Failed(const char* what) { return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno))); }

struct alignas(cmsghdr) FdBuffer {
  char bytes[CMSG_SPACE(kMaxFds * sizeof(int))];
};

void TakeFds(msghdr& header, std::vector<UniqueFd>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(fd), sizeof(fd));
      fds.emplace_back(fd);
    }
  }
}

absl::StatusOr<Message> Parse(const char* data, size_t size) {
  const nlohmann::json json = nlohmann::json::parse(data, data + size, nullptr, false);
  if (!json.is_object() || !json.contains("kind") || !json["kind"].is_string() || !json.contains("number") ||
      !json["number"].is_number_integer() || !json.contains("text") || !json["text"].is_string() ||
      !json.contains("container") || !json["container"].is_string()) {
    return absl::InvalidArgumentError("malformed control message");
  }
  Message message;
  size_t kind = 0;
  while (kind < kKindNames.size() && json["kind"] != kKindNames[kind]) ++kind;
  if (kind == kKindNames.size()) return absl::InvalidArgumentError("unknown control message");
  message.kind = static_cast<Message::Kind>(kind);
  message.number = json["number"].get<int>();
  message.text = json["text"].get<std::string>();
  message.container = json["container"].get<std::string>();
  return message;
}

}  // namespace

absl::Status Send(BorrowedFd socket, const Message& message, const std::vector<BorrowedFd>& fds) {
  const nlohmann::json json = {{"kind", kKindNames[static_cast<int>(message.kind)]},
                               {"number", message.number},
                               {"text", message.text},
                               {"container", message.container}};
  // Error texts may quote guest bytes that are not UTF-8.
  const std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxMessage || fds.size() > kMaxFds) return absl::InvalidArgumentError("control message too long");
  if (const auto sent = SendWithFds(socket, std::as_bytes(std::span(text)), fds); !sent.ok()) {
    return absl::InternalError(absl::StrCat("control message: ", std::strerror(sent.error().value())));
  }
  return absl::OkStatus();
}

absl::StatusOr<Message> Receive(BorrowedFd socket, std::vector<UniqueFd>* fds) {
  std::vector<char> bytes(kMaxMessage);
  iovec part = {bytes.data(), bytes.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  FdBuffer buffer;
  if (fds != nullptr) {
    header.msg_control = buffer.bytes;
    header.msg_controllen = sizeof(buffer.bytes);
  }
  ssize_t got;
  do {
    got = ::recvmsg(socket.get(), &header, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return Failed("control message");
  if (fds != nullptr) TakeFds(header, *fds);
  if (got == 0) return absl::OutOfRangeError("control connection closed");
  if (header.msg_flags & MSG_TRUNC) return absl::InvalidArgumentError("control message too long");
  return Parse(bytes.data(), static_cast<size_t>(got));
}

absl::StatusOr<Message> Call(BorrowedFd socket, const Message& request, const std::vector<BorrowedFd>& fds) {
  if (auto status = Send(socket, request, fds); !status.ok()) return status;
  auto answer = Receive(socket);
  if (!answer.ok() || answer->kind != Message::Kind::kFailed) return answer;
  return WithExitCode(absl::InternalError(answer->text), answer->number);
}

absl::Status WithExitCode(absl::Status status, int code) {
  status.SetPayload(kExitCodeUrl, absl::Cord(absl::StrCat(code)));
  return status;
}

int ExitCodeOf(const absl::Status& status) {
  int code = 1;
  if (const auto payload = status.GetPayload(kExitCodeUrl)) (void)absl::SimpleAtoi(std::string(*payload), &code);
  return code;
}

}  // namespace sandbox::control
