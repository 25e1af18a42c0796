// A thread page (stub/thread_page.h) with the data of its calls (stub/call_data.h), and the sentry's mapping of it.
#pragma once

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/stub/thread_page.h"

namespace sandbox::platform::systrap {

class SharedPage {
 public:
  // A fresh memory file, mapped here. `fd` is what the stub gets; close it once it was handed over.
  static Result<RefPtr<SharedPage>> Create(UniqueFd* fd);
  explicit SharedPage(void* memory) : page_(static_cast<stub::ThreadPage*>(memory)) {}
  SharedPage(const SharedPage&) = delete;
  SharedPage& operator=(const SharedPage&) = delete;
  ~SharedPage();

  stub::ThreadPage* operator->() const { return page_; }
  stub::ThreadPage& operator*() const { return *page_; }
  // Memory of the slot that is shared, by its offset there.
  char* shared(uint64_t offset) const { return reinterpret_cast<char*>(page_) + offset; }

 private:
  stub::ThreadPage* page_;
};

// Completes the answer to a thread that waits on its page's `go`.
void Go(stub::ThreadPage* page);

// Futex on a word of a thread page. Wake stores 1 first. Wait returns whether the word is set, after at most
// `timeout_ms`.
void FutexSetAndWake(uint32_t* word);
bool FutexWaitSet(const uint32_t* word, int timeout_ms);

}  // namespace sandbox::platform::systrap
