// asm-generic/fcntl.h.
#pragma once

#include <cstdint>

namespace sandbox::abi {

struct OwnerEx {  // struct f_owner_ex
  int32_t type;   // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
  int32_t pid;
};

}  // namespace sandbox::abi
