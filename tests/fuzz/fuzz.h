// A small mutating fuzzer: inputs are made from seeds by damage that the random numbers choose, so that a run is
// repeated by its seed. It has no coverage feedback; what it buys is thousands of near-valid inputs in every CI run.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace fuzz {

class Mutator {
 public:
  // `words`: strings worth inserting (keywords of a text, magic numbers).
  Mutator(uint64_t seed, std::vector<std::string> seeds, std::vector<std::string> words = {});

  // One of the seeds, damaged in no or a few places, at most `max_size` bytes long.
  std::string Next(size_t max_size);
  std::mt19937_64& random() { return random_; }
  uint64_t Below(uint64_t bound) { return random_() % bound; }

 private:
  void Damage(std::string& bytes);

  std::mt19937_64 random_;
  const std::vector<std::string> seeds_;
  const std::vector<std::string> words_;
};

// Calls `round` with 0, 1, … at most `rounds` times and for at most a few seconds, until a gtest assertion fails; the
// failure names the seed and the round. Environment: FUZZ_SECONDS removes the limit of rounds and sets that of time,
// FUZZ_SEED replaces the fixed seed.
void Run(uint64_t rounds, const std::function<void(uint64_t round)>& round);
uint64_t Seed();

}  // namespace fuzz
