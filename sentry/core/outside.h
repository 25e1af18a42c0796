// Order between the sandbox and what others do on the host.
//
// An OutsideShare is state that the sandbox shares with the host and does not ask about every time. Changes that it has
// put off it makes before anything leaves the sandbox by which somebody outside could know of them: output to host
// files, pipes, terminals and sockets, and the end of a program that an engine waits for. And when an engine asks for
// something, what is remembered of the host becomes doubtful: the engine may have changed it first.
#pragma once

#include "base/ref.h"

namespace sandbox {

class OutsideShare {
 public:
  virtual ~OutsideShare() = default;
  // Cheap. True when a change has been put off that the calling thread may know of.
  virtual bool Owes() const = 0;
  // Returns when what was owed at the call is done. Called with no lock held.
  virtual void Settle() = 0;
  // What is remembered has to be looked at again before it is used.
  virtual void Doubt() = 0;
};

void AddOutsideShare(const RefPtr<OutsideShare>& share);
// Before something leaves the sandbox.
void SettleOutside();
// Somebody outside has asked for something.
void DoubtOutside();

}  // namespace sandbox
