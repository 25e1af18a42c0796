// rtnetlink(7): what the sandbox answers about links, addresses and routes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/core/context.h"

namespace sandbox {

// The datagrams that answer the requests in `bytes`, for the socket with that port. Malformed tails are ignored, as
// Linux does.
std::vector<std::string> AnswerRoute(Context& context, std::string_view bytes, uint32_t port);

}  // namespace sandbox
