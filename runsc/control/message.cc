#include "runsc/control/message.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace sandbox::control {
namespace {

constexpr size_t kMaxMessage = 64 * 1024;
constexpr std::array kKindNames = {"signal", "started", "exited", "failed"};

}  // namespace

absl::Status Send(BorrowedFd socket, const Message& message) {
  const nlohmann::json json = {{"kind", kKindNames[static_cast<int>(message.kind)]},
                               {"number", message.number},
                               {"text", message.text}};
  // Error texts may quote guest bytes that are not UTF-8.
  const std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  ssize_t sent;
  do {
    sent = ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent != static_cast<ssize_t>(text.size())) {
    return absl::UnavailableError(absl::StrCat("control message: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Message> Receive(BorrowedFd socket) {
  std::vector<char> buffer(kMaxMessage);
  ssize_t got;
  do {
    got = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_TRUNC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return absl::UnavailableError(absl::StrCat("control message: ", std::strerror(errno)));
  if (got == 0) return absl::OutOfRangeError("control connection closed");
  if (static_cast<size_t>(got) > buffer.size()) return absl::InvalidArgumentError("control message too long");
  const nlohmann::json json = nlohmann::json::parse(buffer.data(), buffer.data() + got, nullptr, false);
  if (!json.is_object() || !json.contains("kind") || !json["kind"].is_string() || !json.contains("number") ||
      !json["number"].is_number_integer() || !json.contains("text") || !json["text"].is_string()) {
    return absl::InvalidArgumentError("malformed control message");
  }
  Message message;
  size_t kind = 0;
  while (kind < kKindNames.size() && json["kind"] != kKindNames[kind]) ++kind;
  if (kind == kKindNames.size()) return absl::InvalidArgumentError("unknown control message");
  message.kind = static_cast<Message::Kind>(kind);
  message.number = json["number"].get<int>();
  message.text = json["text"].get<std::string>();
  return message;
}

}  // namespace sandbox::control
