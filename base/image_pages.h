// The pages of this program's own file in its address space.
#pragma once

namespace sandbox {

// Unmaps code and constants of a program that has started up and will mostly wait: what is used again comes from the
// page cache, a few pages at a time, and what only the start needed no longer counts as this process's.
void ForgetImagePages();

}  // namespace sandbox
