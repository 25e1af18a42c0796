#include "gofer/protocol/wire.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "gofer/protocol/channel.h"
#include "gofer/protocol/messages.h"

namespace sandbox::gofer {
namespace {

TEST(Wire, RoundTrip) {
  std::vector<std::byte> buffer(64);
  Writer out(buffer);
  out.Put(uint32_t{7});
  out.PutString("name");
  out.Put(uint64_t{1} << 40);
  ASSERT_TRUE(out.ok());
  Reader in(out.bytes());
  EXPECT_EQ(in.Get<uint32_t>(), 7u);
  EXPECT_EQ(in.GetString(kMaxName), "name");
  EXPECT_EQ(in.Get<uint64_t>(), uint64_t{1} << 40);
  EXPECT_TRUE(in.Done());
}

TEST(Wire, NothingIsReadBehindTheEnd) {
  std::vector<std::byte> buffer(8);
  Writer out(buffer);
  out.Put(uint16_t{500});  // a string that claims more than there is
  Reader in(out.bytes());
  EXPECT_EQ(in.GetString(1000), "");
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.Get<uint64_t>(), 0u);
  EXPECT_FALSE(in.Done());
}

TEST(Wire, NothingIsWrittenBehindTheEnd) {
  std::vector<std::byte> buffer(6);
  Writer out(buffer);
  out.Put(uint32_t{1});
  out.PutString("long");
  EXPECT_FALSE(out.ok());
  EXPECT_LE(out.size(), buffer.size());
  out.Rewind(4);
  EXPECT_TRUE(out.ok());
  EXPECT_EQ(out.size(), 4u);
}

TEST(Wire, NamesAreOneComponent) {
  for (const std::string name : {"", ".", "..", "a/b", "/", "/a"}) EXPECT_FALSE(ValidName(name)) << name;
  EXPECT_FALSE(ValidName(std::string_view("a\0b", 3)));
  EXPECT_FALSE(ValidName(std::string(256, 'x')));
  for (const std::string name : {"a", "...", ".a", "a b"}) EXPECT_TRUE(ValidName(name)) << name;
  EXPECT_TRUE(ValidName(std::string(255, 'x')));
}

TEST(Wire, RandomBytesNeverOverrun) {
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes(random() % 64);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random());
    Reader in(bytes);
    while (in.ok() && in.left() > 0) {
      switch (random() % 3) {
        case 0:
          in.Get<uint64_t>();
          break;
        case 1:
          in.Get<uint16_t>();
          break;
        default:
          EXPECT_LE(in.GetString(16).size(), 16u);
      }
    }
  }
}

TEST(Channel, MessagesAndDescriptors) {
  auto pair = Channel::MakePair();
  ASSERT_TRUE(pair.ok());
  Channel a(std::move(pair->first)), b(std::move(pair->second));
  const std::byte message[3] = {std::byte{1}, std::byte{2}, std::byte{3}};
  std::byte buffer[8];
  const BorrowedFd three[] = {a.socket(), a.socket(), a.socket()};
  ASSERT_TRUE(a.Send(message, three).ok());
  UniqueFd fds[kMaxDescriptors];
  EXPECT_EQ(*b.Receive(buffer, fds), 3u);
  EXPECT_TRUE(fds[0].valid() && fds[1].valid() && fds[2].valid() && !fds[3].valid());
  for (UniqueFd& fd : fds) fd.reset();
  ASSERT_TRUE(a.Send(message, three).ok());
  EXPECT_EQ(*b.Receive(buffer, {fds, 1}), 3u);  // the others are closed
  EXPECT_TRUE(fds[0].valid());
  ASSERT_TRUE(a.Send(message, three).ok());
  EXPECT_EQ(*b.Receive(buffer), 3u);  // a receiver that wants no descriptor gets none
  const std::byte large[9] = {};
  ASSERT_TRUE(a.Send(large).ok());
  EXPECT_TRUE(b.Receive(buffer).Is(EMSGSIZE));
  for (UniqueFd& fd : fds) fd.reset();
  { const Channel gone = std::move(a); }
  EXPECT_TRUE(b.Receive(buffer).Is(EPIPE));
  EXPECT_TRUE(b.Send(message).Is(EPIPE));
}

}  // namespace
}  // namespace sandbox::gofer
