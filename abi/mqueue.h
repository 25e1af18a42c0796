// linux/mqueue.h.
#pragma once

#include <cstdint>

namespace sandbox::abi {

struct MqAttr {  // struct mq_attr
  int64_t flags, max_messages, message_size, messages;
  int64_t reserved[4];
};

}  // namespace sandbox::abi
