#include "sentry/loader/initial_stack.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>

namespace sandbox::loader {
namespace {

constexpr GuestAddr kTop{0x7ffff0000000};

uint64_t Word(const StackImage& image, uint64_t at) {
  uint64_t word;
  std::memcpy(&word, image.bytes.data() + (at - image.sp.value()), sizeof(word));
  return word;
}
std::string Text(const StackImage& image, uint64_t at) {
  return reinterpret_cast<const char*>(image.bytes.data() + (at - image.sp.value()));
}

TEST(InitialStackTest, LooksAsTheAbiSays) {
  const StackArgs args{.argv = {"prog", "a b"}, .envv = {"X=1"}, .filename = "/bin/prog"};
  const StackImage image = BuildStack(kTop, args, {{AT_PAGESZ, 4096}});
  const uint64_t sp = image.sp.value();
  EXPECT_EQ(sp % 16, 0u);
  EXPECT_EQ(image.bytes.size(), kTop.value() - sp);
  EXPECT_EQ(Word(image, sp), 2u);
  EXPECT_EQ(Text(image, Word(image, sp + 8)), "prog");
  EXPECT_EQ(Text(image, Word(image, sp + 16)), "a b");
  EXPECT_EQ(Word(image, sp + 24), 0u);
  EXPECT_EQ(Text(image, Word(image, sp + 32)), "X=1");
  EXPECT_EQ(Word(image, sp + 40), 0u);
  EXPECT_EQ(Word(image, sp + 48), static_cast<uint64_t>(AT_PAGESZ));
  EXPECT_EQ(image.arg_start.value(), Word(image, sp + 8));
  EXPECT_EQ(image.arg_end, image.env_start);
  EXPECT_EQ(image.env_end - image.env_start, 4u);
  EXPECT_EQ(image.auxv[image.auxv.size() - 2], static_cast<uint64_t>(AT_NULL));
  for (size_t i = 0; i < image.auxv.size(); i += 2) {
    if (image.auxv[i] == AT_EXECFN) {
      EXPECT_EQ(Text(image, image.auxv[i + 1]), "/bin/prog");
    }
    if (image.auxv[i] == AT_PLATFORM) {
      EXPECT_EQ(Text(image, image.auxv[i + 1]), "x86_64");
    }
  }
}

TEST(InitialStackTest, ArgumentLimits) {
  StackArgs args{.argv = {std::string(131071, 'x')}, .envv = {}, .filename = "f"};
  EXPECT_TRUE(CheckArgumentSize(args, 8 << 20).ok());
  args.argv[0] += 'x';
  EXPECT_TRUE(CheckArgumentSize(args, 8 << 20).Is(E2BIG)) << "one string";
  args.argv.assign(21, std::string(100'000, 'x'));
  EXPECT_TRUE(CheckArgumentSize(args, 8 << 20).Is(E2BIG)) << "a quarter of the stack";
  EXPECT_TRUE(CheckArgumentSize(args, ~uint64_t{0}).ok());
  args.argv.assign(64, std::string(100'000, 'x'));
  EXPECT_TRUE(CheckArgumentSize(args, ~uint64_t{0}).Is(E2BIG)) << "never more than 6 MiB";
}

}  // namespace
}  // namespace sandbox::loader
