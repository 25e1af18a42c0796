#include "gtest/gtest.h"
#include "runsc/spec/spec.h"

namespace sandbox::spec {
namespace {

std::string Minimal(std::string_view process_extra = "", std::string_view extra = "") {
  return std::string(R"({"ociVersion":"1.0.2","process":{"args":["true"],"cwd":"/")") + std::string(process_extra) +
         R"(},"root":{"path":"rootfs"})" + std::string(extra) + "}";
}

TEST(ParseSpec, MinimalDocument) {
  const auto spec = ParseSpec(Minimal());
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->process.args, std::vector<std::string>{"true"});
  EXPECT_EQ(spec->root.path, "rootfs");
  EXPECT_FALSE(spec->root.readonly);
}

TEST(ParseSpec, RoundTrip) {
  const auto again = ParseSpec(ToJson(DefaultSpec()));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToJson(*again), ToJson(DefaultSpec()));
}

struct BadCase {
  std::string json;
  std::string message;
};

TEST(ParseSpec, ErrorsNameTheField) {
  const BadCase cases[] = {
      {"{", "not valid JSON"},
      {"[]", "document: must be an object"},
      {"{}", "ociVersion: is required"},
      {R"({"ociVersion":"2.0","process":{"args":["a"],"cwd":"/"},"root":{"path":"r"}})",
       "ociVersion: unsupported version \"2.0\" (want 1.x)"},
      {Minimal(R"(,"user":{"uid":-1})"), "process.user.uid: is out of range"},
      {Minimal(R"(,"user":{"uid":4294967296})"), "process.user.uid: is out of range"},
      {Minimal(R"(,"user":{"uid":"0"})"), "process.user.uid: must be an integer"},
      {Minimal(R"(,"env":["A=1",2])"), "process.env[1]: must be a string"},
      {Minimal(R"(,"env":["A\u0000=1"])"), "process.env[0]: must not contain a NUL character"},
      {Minimal(R"(,"rlimits":[{"type":"RLIMIT_X","soft":1,"hard":1}])"),
       "process.rlimits[0].type: unknown limit \"RLIMIT_X\""},
      {Minimal(R"(,"rlimits":[{"type":"RLIMIT_CPU","soft":2,"hard":1}])"),
       "process.rlimits[0]: soft limit exceeds the hard limit"},
      {Minimal(R"(,"capabilities":{"effective":["CAP_NOPE"]})"),
       "process.capabilities.effective: unknown capability \"CAP_NOPE\""},
      {Minimal("", R"(,"mounts":[{"destination":"proc"}])"), "mounts[0].destination: must be an absolute path"},
      {Minimal("", R"(,"mounts":{})"), "mounts: must be an array"},
      {R"({"ociVersion":"1.0.0","process":{"args":[],"cwd":"/"},"root":{"path":"r"}})",
       "process.args: must not be empty"},
      {R"({"ociVersion":"1.0.0","process":{"args":["a"],"cwd":"x"},"root":{"path":"r"}})",
       "process.cwd: must be an absolute path"},
  };
  for (const BadCase& bad : cases) {
    const auto spec = ParseSpec(bad.json);
    ASSERT_FALSE(spec.ok()) << bad.json;
    EXPECT_EQ(spec.status().message(), bad.message) << bad.json;
  }
}

}  // namespace
}  // namespace sandbox::spec
