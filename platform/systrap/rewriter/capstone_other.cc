// Capstone knows a dozen architectures and links them all: one table of the M68K alone is a megabyte that every process
// would have to relocate, and so to own, when it starts. Here are the entrances of those that no host of this platform
// has, so that the linker leaves the rest out; asked for, they are refused.
#include <capstone/capstone.h>

// Capstone's own, not in its headers (cs_priv.h).
struct cs_struct;

#define NO_ARCHITECTURE(name)                                              \
  extern "C" cs_err name##_global_init(cs_struct*) { return CS_ERR_ARCH; } \
  extern "C" cs_err name##_option(cs_struct*, cs_opt_type, size_t) { return CS_ERR_ARCH; }

NO_ARCHITECTURE(AArch64)
NO_ARCHITECTURE(ARM)
NO_ARCHITECTURE(EVM)
NO_ARCHITECTURE(M680X)
NO_ARCHITECTURE(M68K)
NO_ARCHITECTURE(Mips)
NO_ARCHITECTURE(PPC)
NO_ARCHITECTURE(Sparc)
NO_ARCHITECTURE(SystemZ)
NO_ARCHITECTURE(TMS320C64x)
NO_ARCHITECTURE(XCore)
