// Netlink requests of a hostile guest.
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <cstring>

#include "sentry/core/context.h"
#include "sentry/socket/netlink/route.h"
#include "tests/fuzz/fuzz.h"

namespace sandbox {
namespace {

constexpr size_t kMaxRequest = 32 * 1024;
constexpr uint32_t kPort = 77;

template <typename Body>
std::string Request(uint16_t type, uint16_t flags, const Body& body) {
  struct {
    nlmsghdr header;
    Body body;
  } message{};
  message.header.nlmsg_len = sizeof(message);
  message.header.nlmsg_type = type;
  message.header.nlmsg_flags = flags;
  message.header.nlmsg_seq = 1;
  message.body = body;
  return {reinterpret_cast<const char*>(&message), sizeof(message)};
}

// Each answer is a whole number of well-formed messages that a reader can walk with NLMSG_NEXT and RTA_NEXT.
void CheckAnswer(const std::string& answer) {
  size_t at = 0;
  while (at < answer.size()) {
    ASSERT_GE(answer.size() - at, sizeof(nlmsghdr));
    nlmsghdr header;
    std::memcpy(&header, answer.data() + at, sizeof(header));
    ASSERT_GE(header.nlmsg_len, sizeof(header));
    ASSERT_LE(header.nlmsg_len, answer.size() - at);
    EXPECT_EQ(header.nlmsg_pid, kPort);
    if (header.nlmsg_type == NLMSG_ERROR) {
      ASSERT_GE(header.nlmsg_len, sizeof(header) + sizeof(int));
      int error;
      std::memcpy(&error, answer.data() + at + sizeof(header), sizeof(error));
      EXPECT_LE(error, 0);
      EXPECT_GT(error, -134);
    }
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
}

TEST(NetlinkFuzz, DamagedRequestsGetWellFormedAnswers) {
  std::vector<std::string> seeds;
  for (const uint16_t flags : {NLM_F_REQUEST | NLM_F_DUMP, NLM_F_REQUEST | NLM_F_ACK, NLM_F_REQUEST}) {
    seeds.push_back(Request(RTM_GETLINK, flags, ifinfomsg{}));
    seeds.push_back(Request(RTM_GETADDR, flags, ifaddrmsg{}));
    seeds.push_back(Request(RTM_GETROUTE, flags, rtmsg{}));
    seeds.push_back(Request(RTM_GETNEIGH, flags, ifinfomsg{}));
    seeds.push_back(Request(RTM_NEWADDR, flags, ifaddrmsg{}));
    seeds.push_back(Request(NLMSG_NOOP, flags, rtgenmsg{}));
  }
  seeds.push_back(seeds[0] + seeds[1] + seeds[2]);
  fuzz::Mutator mutator(fuzz::Seed(), seeds);
  uint64_t answered = 0;
  fuzz::Run(100'000, [&](uint64_t) {
    const std::string request = mutator.Next(kMaxRequest);
    size_t total = 0;
    for (const std::string& answer : AnswerRoute(KernelContext(), request, kPort)) {
      CheckAnswer(answer);
      total += answer.size();
      ++answered;
    }
    // One request cannot ask for unbounded work: each message of at least 16 bytes is answered with a few interfaces.
    EXPECT_LE(total, (request.size() / sizeof(nlmsghdr) + 1) * 64 * 1024);
  });
  EXPECT_GT(answered, 0u);
}

}  // namespace
}  // namespace sandbox
