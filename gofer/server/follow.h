// Serving requests on the processor of the client, who sleeps until the answer: waking another processor takes longer
// than most requests do.
#pragma once

#include <cstdint>

namespace sandbox::gofer {

class Follower {
 public:
  // `processor`: RequestHeader::processor. Moves the calling thread there after several requests in a row from
  // elsewhere; one that moves about is not chased. The scheduler may move the thread away again.
  void Follow(uint32_t processor);

 private:
  int strangers_ = 0;
};

}  // namespace sandbox::gofer
