// The instructions for the bases of FS and GS (RDFSBASE and its kin), as user code may use them.
#pragma once

namespace sandbox::platform::systrap {

struct SegmentBases {
  // They execute. What is read is what the kernel set last, or the instructions wrote.
  bool readable = false;
  // The kernel keeps what they write. One that does not know of them loads its own value again at the next context
  // switch; some that run without privilege themselves (pvm) do not, although the processor lets user code use them.
  bool writable = false;
};

// Tried once. Not safe while another thread raises SIGILL.
SegmentBases UsableSegmentBases();

}  // namespace sandbox::platform::systrap
