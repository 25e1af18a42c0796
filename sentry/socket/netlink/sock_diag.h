// sock_diag(7): the sockets of the caller's network namespace, as ss(8) asks for them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/core/context.h"

namespace sandbox {

// The datagrams that answer the dump requests in `bytes`, for the socket with that port.
std::vector<std::string> AnswerSockDiag(Context& context, std::string_view bytes, uint32_t port);

}  // namespace sandbox
