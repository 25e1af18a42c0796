#include "sentry/loader/vdso.h"

namespace sandbox::loader {

Result<GuestAddr> MapVdso(Context&, MemoryManager&, platform::Thread&) { return GuestAddr(); }

}  // namespace sandbox::loader
