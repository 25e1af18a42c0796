// Lookups of the names in a directory that was listed: how many of them cost a round trip.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gofer/tests/world.h"

namespace sandbox {
namespace {

// Round trips of looking at 200 files in the order that `arrange` gives their names.
template <typename Arrange>
uint64_t RoundTrips(Arrange arrange) {
  GoferWorld world;
  world.host.Mkdir("d");
  for (int i = 0; i < 200; ++i) world.host.Write("d/f" + std::to_string(i * 7919 % 1000), "");
  std::vector<std::string> names = world.calls->List("/d");
  EXPECT_EQ(names.size(), 200u);
  arrange(names);
  const uint64_t before = world.client->round_trips();
  for (const std::string& name : names) EXPECT_TRUE(world.calls->Exists("/d/" + name));
  return world.client->round_trips() - before;
}

TEST(Listing, LookupsInAlphabeticalOrderAreAnsweredAhead) {
  EXPECT_LT(RoundTrips([](auto& names) { std::sort(names.begin(), names.end()); }), 20u);
}

TEST(Listing, LookupsWithoutOrderAreNot) {
  EXPECT_GT(RoundTrips([](auto& names) {
              std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
                return std::hash<std::string>()(a) < std::hash<std::string>()(b);
              });
            }),
            100u);
}

}  // namespace
}  // namespace sandbox
