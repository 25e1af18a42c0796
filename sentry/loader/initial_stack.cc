#include "sentry/loader/initial_stack.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace sandbox::loader {
namespace {

constexpr uint64_t kMaxStringBytes = 128 << 10;  // MAX_ARG_STRLEN
constexpr uint64_t kMaxTotal = 6 << 20;          // three quarters of _STK_LIM
constexpr uint64_t kMinTotal = 128 << 10;        // ARG_MAX
constexpr std::string_view kPlatform = "x86_64";
constexpr uint64_t kAtRseqFeatureSize = 27, kAtRseqAlign = 28;

// Fills a stack from the top down, keeping addresses and bytes in step.
class Builder {
 public:
  explicit Builder(GuestAddr top) : top_(top) {}
  uint64_t address() const { return top_.value() - reversed_.size(); }
  // Appends below what is there. The buffer grows downwards, so it is kept reversed until the end.
  uint64_t Push(const void* data, size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    reversed_.insert(reversed_.end(), std::reverse_iterator(bytes + size), std::reverse_iterator(bytes));
    return address();
  }
  uint64_t PushString(std::string_view text) {
    Zero(1);
    return Push(text.data(), text.size());
  }
  void Zero(size_t size) { reversed_.resize(reversed_.size() + size); }
  void AlignTo(uint64_t align) { Zero(address() & (align - 1)); }
  std::vector<uint8_t> Finish() {
    std::reverse(reversed_.begin(), reversed_.end());
    return std::move(reversed_);
  }

 private:
  const GuestAddr top_;
  std::vector<uint8_t> reversed_;
};

// Pushes strings so that the first ends up lowest, as /proc/*/cmdline and setproctitle expect. Returns their addresses.
std::vector<uint64_t> PushStrings(Builder& stack, const std::vector<std::string>& strings) {
  std::vector<uint64_t> addresses(strings.size());
  for (size_t i = strings.size(); i-- > 0;) addresses[i] = stack.PushString(strings[i]);
  return addresses;
}

}  // namespace

Result<uint64_t> CheckArgumentSize(const StackArgs& args, uint64_t stack_limit) {
  const uint64_t limit = std::max(std::min(stack_limit / 4, kMaxTotal), kMinTotal);
  uint64_t total = args.filename.size() + 1;
  for (const auto* list : {&args.argv, &args.envv}) {
    for (const std::string& text : *list) {
      if (text.size() + 1 > kMaxStringBytes) return Err(E2BIG);
      total += text.size() + 1 + sizeof(uint64_t);
      if (total > limit) return Err(E2BIG);
    }
  }
  if (total > limit) return Err(E2BIG);
  return total;
}

StackImage BuildStack(GuestAddr top, const StackArgs& args, const std::vector<std::pair<uint64_t, uint64_t>>& aux) {
  StackImage image;
  Builder stack(top);
  std::array<uint8_t, 16> random;
  uint64_t shift = 0;
  CHECK(getrandom(random.data(), random.size(), 0) == static_cast<ssize_t>(random.size()));
  if (args.randomize) CHECK(getrandom(&shift, sizeof(shift), 0) == sizeof(shift));

  stack.Zero(sizeof(uint64_t));
  const uint64_t filename = stack.PushString(args.filename);
  image.env_end = GuestAddr(filename);
  const auto envv = PushStrings(stack, args.envv);
  image.env_start = image.arg_end = GuestAddr(stack.address());
  const auto argv = PushStrings(stack, args.argv);
  image.arg_start = GuestAddr(stack.address());

  stack.Zero(shift % 8192 & ~uint64_t{15});  // arch_align_stack
  const uint64_t platform = stack.PushString(kPlatform);
  const uint64_t random_at = stack.Push(random.data(), random.size());
  stack.AlignTo(16);

  auto& vector = image.auxv;
  for (const auto& [type, value] : aux) vector.insert(vector.end(), {type, value});
  vector.insert(vector.end(), {AT_RANDOM, random_at, AT_HWCAP2, getauxval(AT_HWCAP2), AT_EXECFN, filename});
  vector.insert(vector.end(), {AT_PLATFORM, platform, kAtRseqFeatureSize, 28, kAtRseqAlign, 32, AT_NULL, 0});

  const uint64_t pointers = 1 + argv.size() + 1 + envv.size() + 1;
  if ((stack.address() - (vector.size() + pointers) * sizeof(uint64_t)) % 16 != 0) stack.Zero(sizeof(uint64_t));
  const uint64_t null = 0, argc = argv.size();
  stack.Push(vector.data(), vector.size() * sizeof(uint64_t));
  stack.Push(&null, sizeof(null));
  stack.Push(envv.data(), envv.size() * sizeof(uint64_t));
  stack.Push(&null, sizeof(null));
  stack.Push(argv.data(), argv.size() * sizeof(uint64_t));
  image.sp = GuestAddr(stack.Push(&argc, sizeof(argc)));
  image.bytes = stack.Finish();
  return image;
}

}  // namespace sandbox::loader
