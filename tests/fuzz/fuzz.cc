#include "tests/fuzz/fuzz.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace fuzz {
namespace {

constexpr int kDefaultSeconds = 10;

uint64_t Number(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

// Where sizes and offsets go wrong.
constexpr uint64_t kEdges[] = {0,          1,          0x7f,       0x80,       0xff,        0x7fff,
                               0x8000,     0xffff,     0x7fffffff, 0x80000000, 0xffffffff,  0x100000000,
                               ~0ull >> 1, 1ull << 63, ~0ull,      ~0ull - 7,  ~0ull - 4095};

}  // namespace

uint64_t Seed() { return Number("FUZZ_SEED", 20251125); }

Mutator::Mutator(uint64_t seed, std::vector<std::string> seeds, std::vector<std::string> words)
    : random_(seed), seeds_(std::move(seeds)), words_(std::move(words)) {}

void Mutator::Damage(std::string& bytes) {
  const size_t at = bytes.empty() ? 0 : Below(bytes.size());
  switch (Below(8)) {
    case 0:  // one bit
      if (!bytes.empty()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << Below(8)));
      break;
    case 1:  // one byte
      if (!bytes.empty()) bytes[at] = static_cast<char>(random_());
      break;
    case 2: {  // a number of 1, 2, 4 or 8 bytes
      const uint64_t value = kEdges[Below(std::size(kEdges))] + (Below(4) == 0 ? Below(64) : 0);
      const size_t size = size_t{1} << Below(4);
      if (bytes.size() >= size) std::memcpy(bytes.data() + Below(bytes.size() - size + 1), &value, size);
      break;
    }
    case 3:  // a piece is lost
      bytes.erase(at, Below(16) + 1);
      break;
    case 4:  // the rest is lost
      if (Below(4) == 0) bytes.resize(at);
      break;
    case 5:  // a piece comes twice
      bytes.insert(at, bytes.substr(Below(bytes.size() + 1), Below(64)));
      break;
    case 6: {  // a piece of another seed
      const std::string& other = seeds_[Below(seeds_.size())];
      bytes.insert(at, other.substr(Below(other.size() + 1), Below(64)));
      break;
    }
    case 7:
      if (!words_.empty()) bytes.insert(at, words_[Below(words_.size())]);
      break;
  }
}

std::string Mutator::Next(size_t max_size) {
  std::string bytes = seeds_[Below(seeds_.size())];
  // Mostly little, so that much of it is still understood; sometimes none, so that state builds up.
  for (uint64_t left = Below(3) == 0 ? Below(7) : Below(2); left > 0; --left) Damage(bytes);
  if (bytes.size() > max_size) bytes.resize(max_size);
  return bytes;
}

void Run(uint64_t rounds, const std::function<void(uint64_t)>& round) {
  const uint64_t seconds = Number("FUZZ_SECONDS", 0);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds != 0 ? seconds : kDefaultSeconds);
  uint64_t done = 0;
  while ((seconds != 0 || done < rounds) && std::chrono::steady_clock::now() < end) {
    SCOPED_TRACE("FUZZ_SEED=" + std::to_string(Seed()) + " round " + std::to_string(done));
    round(done++);
    if (testing::Test::HasFailure()) return;
  }
  // A machine so slow that nothing was tried must not look like a pass.
  EXPECT_GT(done, 0u);
  testing::Test::RecordProperty("rounds", std::to_string(done));
}

}  // namespace fuzz
