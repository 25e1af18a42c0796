// config.json of a hostile bundle.
#include <gtest/gtest.h>

#include "runsc/spec/spec.h"
#include "tests/fuzz/fuzz.h"

namespace sandbox::spec {
namespace {

constexpr char kSmall[] = R"({"ociVersion":"1.0.2","process":{"terminal":false,"user":{"uid":1,"gid":2,)"
                          R"("additionalGids":[3,4]},"args":["sh","-c","true"],"env":["A=1"],"cwd":"/",)"
                          R"("capabilities":{"bounding":["CAP_KILL"],"effective":["CAP_KILL"]},)"
                          R"("rlimits":[{"type":"RLIMIT_NOFILE","hard":1024,"soft":512}],"noNewPrivileges":true},)"
                          R"("root":{"path":"rootfs","readonly":true},"hostname":"h","mounts":[{"destination":"/proc",)"
                          R"("type":"proc","source":"proc","options":["nosuid","ro"]}],"annotations":{"a":"b"}})";

const std::vector<std::string> kWords = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ",",
                                         ":",
                                         "\"",
                                         "null",
                                         "true",
                                         "false",
                                         "-1",
                                         "1e999",
                                         "18446744073709551616",
                                         "0.5",
                                         "\"\\u0000\"",
                                         "\"\\ud800\"",
                                         "\"args\":",
                                         "\"env\":",
                                         "\"process\":",
                                         "\"mounts\":",
                                         "\"uid\":",
                                         "\"linux\":{}",
                                         "\"namespaces\":[{\"type\":\"pid\"}]",
                                         "\"hooks\":{\"prestart\":[{\"path\":\"x\"}]}",
                                         "\xff\xfe",
                                         "\n"};

TEST(SpecFuzz, DamagedDocumentsAreRefusedWithOneLineOrMeanTheSameTwice) {
  fuzz::Mutator mutator(fuzz::Seed(), {kSmall, ToJson(DefaultSpec())}, kWords);
  uint64_t accepted = 0, refused = 0;
  fuzz::Run(20'000, [&](uint64_t) {
    const std::string text = mutator.Next(1 << 16);
    const auto spec = ParseSpec(text);
    if (!spec.ok()) {
      ++refused;
      const std::string message(spec.status().message());
      EXPECT_FALSE(message.empty()) << text;
      EXPECT_EQ(message.find('\n'), std::string::npos) << text;
      EXPECT_LT(message.size(), 1000u) << text;
      return;
    }
    ++accepted;
    EXPECT_FALSE(spec->process.args.empty()) << text;
    EXPECT_TRUE(spec->process.cwd.starts_with('/')) << text;
    const std::string json = ToJson(*spec);
    const auto again = ParseSpec(json);
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << text << "\n" << json;
    EXPECT_EQ(ToJson(*again), json) << text;
  });
  // Both roads were taken, or the seeds are worth nothing.
  EXPECT_GT(accepted, 0u);
  EXPECT_GT(refused, 0u);
}

// A stack must not be the bound of nesting.
TEST(SpecFuzz, DeepDocumentsAreRefused) {
  for (const char* open : {"[", "{\"a\":"}) {
    std::string text = R"({"ociVersion":"1.0.2","x":)";
    for (int i = 0; i < 200'000; ++i) text += open;
    EXPECT_FALSE(ParseSpec(text).ok());
  }
}

}  // namespace
}  // namespace sandbox::spec
