// The bits of Task::wake_word_. Private to this folder.
#pragma once

#include <cstdint>

namespace sandbox {

// Reasons.
inline constexpr uint32_t kWoken = 1;   // Context::Wake
inline constexpr uint32_t kKicked = 2;  // look at signals, stops, exits and the clock again
// Where the task sleeps.
inline constexpr uint32_t kOnThread = 4;  // its sentry thread waits for this word
inline constexpr uint32_t kDeferred = 8;  // it left its sentry thread; who sets the first reason has to proceed with it

}  // namespace sandbox
