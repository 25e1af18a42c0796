// The sentry's half of the data that travels with a fast call (stub/call_data.h): what the stub took along, and results
// that it will copy. Everything that decides where bytes are or how many is kept here; the shared memory holds the
// bytes themselves, which are the guest's anyway.
#pragma once

#include <array>
#include <cstdint>

#include "platform/stub/call_data.h"
#include "platform/systrap/host_process.h"
#include "platform/systrap/shared_page.h"

namespace sandbox::platform::systrap {

class CallData {
 public:
  explicit CallData(SharedPage& page) : page_(page) {}

  // A call arrived whose inputs (a row of the InputTable) were taken along.
  void Begin(const CallInput* inputs, const std::array<uint64_t, 6>& args);
  void DropInputs() { inputs_ = nullptr; }

  // See platform::Thread.
  bool ReadInput(GuestAddr from, void* to, size_t size);
  char* Reserve(size_t size);
  void Commit(GuestAddr to, size_t size);

  bool has_outputs() const { return output_count_ != 0; }
  // Has the stub copy them with the answer that is being written.
  void Post();
  // Writes them from here instead. False when one could not be written completely.
  bool Write(StubSpace& space);

 private:
  // A result larger than this is written faster by the host: bytes that one processor wrote reach another at about a
  // quarter of the speed of the host's copy, which costs more to begin with.
  static constexpr uint64_t kMaxOutput = 24 * 1024;

  SharedPage& page_;
  const CallInput* inputs_ = nullptr;  // null: none left
  std::array<uint64_t, 6> args_ = {};
  std::array<uint32_t, kMaxCallInputs> lengths_ = {};
  std::array<stub::Output, stub::kMaxOutputs> outputs_ = {};
  uint32_t output_count_ = 0;
  uint64_t used_ = 0;  // of the outputs' memory
};

}  // namespace sandbox::platform::systrap
