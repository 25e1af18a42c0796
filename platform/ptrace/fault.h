// Completes what the host tells a tracer about a fault: it reports signal, code and address, but not the trap number
// and error code that a guest's signal frame carries.
#pragma once

#include "platform/api/platform.h"

namespace sandbox::platform::ptrace {

void DeriveTrapNumbers(Fault& fault, const arch::Registers& regs, AddressSpace& memory);

}  // namespace sandbox::platform::ptrace
