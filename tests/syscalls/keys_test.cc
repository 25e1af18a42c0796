// add_key(2), request_key(2), keyctl(2), keyrings(7).
#include <errno.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/memory.h"

namespace guest {
namespace {

using Serial = int32_t;

long Add(const char* type, const char* description, const void* payload, size_t size, Serial ring) {
  return syscall(SYS_add_key, type, description, payload, size, ring);
}
long Request(const char* type, const char* description, const char* callout, Serial ring) {
  return syscall(SYS_request_key, type, description, callout, ring);
}
template <typename... Args>
long Ctl(int operation, Args... args) {
  return syscall(SYS_keyctl, operation, args...);
}
long User(const char* name, const char* text = "text", Serial ring = KEY_SPEC_PROCESS_KEYRING) {
  return Add("user", name, text, strlen(text), ring);
}

// Keyrings are inherited and outlive a case: each one is a process with a session of its own.
template <typename F>
void InSession(F body) {
  EXPECT_EQ(RunInChild([&] {
              if (Ctl(KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0) return 2;
              body();
              return testing::Test::HasFailure() ? 1 : 0;
            }),
            0);
}

std::vector<Serial> Links(Serial ring) {
  std::vector<Serial> all(64);
  const long size = Ctl(KEYCTL_READ, ring, all.data(), all.size() * sizeof(Serial));
  EXPECT_GE(size, 0) << strerror(errno);
  all.resize(size < 0 ? 0 : static_cast<size_t>(size) / sizeof(Serial));
  return all;
}

std::string Describe(Serial key) {
  char text[256] = {};
  const long size = Ctl(KEYCTL_DESCRIBE, key, text, sizeof(text));
  EXPECT_EQ(size, static_cast<long>(strlen(text)) + 1);
  return text;
}

TEST(KeysTest, AddArguments) {
  InSession([] {
    constexpr Serial kRing = KEY_SPEC_PROCESS_KEYRING;
    EXPECT_ERRNO(EFAULT, Add(nullptr, "name", "x", 1, kRing));
    EXPECT_ERRNO(EFAULT, Add("user", reinterpret_cast<const char*>(8), "x", 1, kRing));
    EXPECT_ERRNO(EFAULT, Add("user", "name", nullptr, 1, kRing));
    EXPECT_ERRNO(EINVAL, Add("", "name", "x", 1, kRing));
    EXPECT_ERRNO(EINVAL, Add(std::string(32, 'a').c_str(), "name", "x", 1, kRing));
    EXPECT_ERRNO(EPERM, Add(".internal", "name", "x", 1, kRing));
    EXPECT_ERRNO(ENODEV, Add("nosuchtype", "name", "x", 1, kRing));
    EXPECT_ERRNO(EINVAL, Add("user", nullptr, "x", 1, kRing));
    EXPECT_ERRNO(EINVAL, Add("user", "", "x", 1, kRing));
    EXPECT_ERRNO(EINVAL, Add("user", std::string(4096, 'a').c_str(), "x", 1, kRing));
    EXPECT_GT(Add("user", std::string(4095, 'a').c_str(), "x", 1, kRing), 0);
    EXPECT_ERRNO(EINVAL, Add("user", "name", "", 0, kRing));
    const std::string large(32768, 'x');
    EXPECT_ERRNO(EINVAL, Add("user", "name", large.data(), large.size(), kRing));
    EXPECT_GT(Add("user", "name", large.data(), large.size() - 1, kRing), 0);
    EXPECT_ERRNO(EINVAL, Add("user", "name", large.data(), 1024 * 1024, kRing));
    EXPECT_ERRNO(EINVAL, Add("keyring", "name", "x", 1, kRing));
    EXPECT_ERRNO(EPERM, Add("keyring", ".name", nullptr, 0, kRing));
    EXPECT_ERRNO(EINVAL, Add("logon", "name", "x", 1, kRing));
    EXPECT_ERRNO(EINVAL, Add("logon", ":name", "x", 1, kRing));
    EXPECT_GT(Add("logon", "service:name", "x", 1, kRing), 0);
    EXPECT_ERRNO(EINVAL, User("name", "x", 0));
    EXPECT_ERRNO(EINVAL, User("name", "x", KEY_SPEC_GROUP_KEYRING));
    EXPECT_ERRNO(EINVAL, User("name", "x", -100));
    EXPECT_ERRNO(ENOKEY, User("name", "x", 0x7ffffff0));
    const long key = User("no ring");
    ASSERT_GT(key, 0);
    EXPECT_ERRNO(ENOTDIR, User("name", "x", static_cast<Serial>(key)));
  });
}

TEST(KeysTest, AddingAgainUpdates) {
  InSession([] {
    const long key = User("name", "one");
    ASSERT_GT(key, 0);
    EXPECT_EQ(User("name", "second"), key);
    char text[16] = {};
    EXPECT_EQ(Ctl(KEYCTL_READ, key, text, sizeof(text)), 6);
    EXPECT_STREQ(text, "second");
    // The size is told, nothing written, when there is no room.
    memset(text, 0, sizeof(text));
    EXPECT_EQ(Ctl(KEYCTL_READ, key, text, 3ul), 6);
    EXPECT_EQ(text[0], 0);
    EXPECT_EQ(Ctl(KEYCTL_READ, key, nullptr, 0ul), 6);
    EXPECT_ERRNO(EFAULT, Ctl(KEYCTL_READ, key, reinterpret_cast<void*>(8), 100ul));
    // A keyring of the same name is another one.
    const long ring = Add("keyring", "ring", nullptr, 0, KEY_SPEC_PROCESS_KEYRING);
    const long other = Add("keyring", "ring", nullptr, 0, KEY_SPEC_PROCESS_KEYRING);
    ASSERT_GT(ring, 0);
    ASSERT_GT(other, 0);
    EXPECT_NE(ring, other);
  });
}

TEST(KeysTest, Update) {
  InSession([] {
    const long key = User("name", "one");
    ASSERT_GT(key, 0);
    EXPECT_OK(Ctl(KEYCTL_UPDATE, key, "four", 4ul));
    EXPECT_EQ(Ctl(KEYCTL_READ, key, nullptr, 0ul), 4);
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_UPDATE, key, nullptr, 0ul));
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_UPDATE, key, "x", 4097ul));
    EXPECT_ERRNO(EFAULT, Ctl(KEYCTL_UPDATE, key, reinterpret_cast<void*>(8), 4ul));
    EXPECT_ERRNO(EOPNOTSUPP, Ctl(KEYCTL_UPDATE, KEY_SPEC_PROCESS_KEYRING, "x", 1ul));
  });
}

TEST(KeysTest, SpecialKeyrings) {
  InSession([] {
    EXPECT_ERRNO(ENOKEY, Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 0));
    const long thread = Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 1);
    EXPECT_GT(thread, 0);
    EXPECT_EQ(Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 0), thread);
    EXPECT_ERRNO(ENOKEY, Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0));
    const long process = Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1);
    const long session = Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    const long user = Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 0);
    const long user_session = Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_SESSION_KEYRING, 0);
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_GROUP_KEYRING, 0));
    EXPECT_ERRNO(ENOKEY, Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_REQKEY_AUTH_KEY, 0));
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_GET_KEYRING_ID, 0, 0));
    const std::string id = std::to_string(getuid());
    EXPECT_EQ(Describe(thread).substr(0, 8), "keyring;");
    EXPECT_NE(Describe(thread).find(";3f010000;_tid"), std::string::npos) << Describe(thread);
    EXPECT_NE(Describe(process).find(";3f010000;_pid"), std::string::npos) << Describe(process);
    EXPECT_NE(Describe(session).find(";3f030000;_ses"), std::string::npos) << Describe(session);
    EXPECT_NE(Describe(user).find(";1f3f0000;_uid." + id), std::string::npos) << Describe(user);
    EXPECT_NE(Describe(user_session).find(";1f3f0000;_uid_ses." + id), std::string::npos) << Describe(user_session);
    // The session is inherited; the others are not.
    EXPECT_EQ(RunInChild([&] {
                if (Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) != session) return 1;
                if (Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_THREAD_KEYRING, 0) != -1 || errno != ENOKEY) return 2;
                if (Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0) != -1 || errno != ENOKEY) return 3;
                return 0;
              }),
              0);
  });
}

TEST(KeysTest, SessionsWithNames) {
  InSession([] {
    const std::string name = "session of test " + std::to_string(getpid());
    const long ring = Ctl(KEYCTL_JOIN_SESSION_KEYRING, name.c_str());
    ASSERT_GT(ring, 0);
    EXPECT_NE(Describe(ring).find(";3f130000;" + name), std::string::npos);
    // Others find it by name if they may search it.
    ASSERT_OK(Ctl(KEYCTL_SETPERM, ring, 0x3f3f0000));
    EXPECT_EQ(RunInChild([&] {
                if (Ctl(KEYCTL_JOIN_SESSION_KEYRING, nullptr) == ring) return 1;
                return Ctl(KEYCTL_JOIN_SESSION_KEYRING, name.c_str()) == ring ? 0 : 2;
              }),
              0);
    EXPECT_ERRNO(EPERM, Ctl(KEYCTL_JOIN_SESSION_KEYRING, ".name"));
    EXPECT_ERRNO(EFAULT, Ctl(KEYCTL_JOIN_SESSION_KEYRING, reinterpret_cast<char*>(8)));
  });
}

TEST(KeysTest, LinksAndUnlinks) {
  InSession([] {
    const long a = Add("keyring", "a", nullptr, 0, KEY_SPEC_PROCESS_KEYRING);
    const long b = Add("keyring", "b", nullptr, 0, KEY_SPEC_PROCESS_KEYRING);
    const long key = User("key", "text", static_cast<Serial>(a));
    ASSERT_GT(key, 0);
    EXPECT_OK(Ctl(KEYCTL_LINK, key, b));
    EXPECT_EQ(Links(static_cast<Serial>(b)), std::vector<Serial>{static_cast<Serial>(key)});
    EXPECT_OK(Ctl(KEYCTL_LINK, key, b)) << "again";
    EXPECT_EQ(Links(static_cast<Serial>(b)).size(), 1u);
    EXPECT_ERRNO(ENOTDIR, Ctl(KEYCTL_LINK, b, key));
    EXPECT_OK(Ctl(KEYCTL_LINK, b, a));
    EXPECT_ERRNO(EDEADLK, Ctl(KEYCTL_LINK, a, b));
    EXPECT_ERRNO(EDEADLK, Ctl(KEYCTL_LINK, a, a));
    EXPECT_OK(Ctl(KEYCTL_UNLINK, key, a));
    EXPECT_ERRNO(ENOENT, Ctl(KEYCTL_UNLINK, key, a));
    EXPECT_ERRNO(ENOTDIR, Ctl(KEYCTL_UNLINK, b, key));
    EXPECT_GT(Ctl(KEYCTL_DESCRIBE, key, nullptr, 0ul), 0);
    EXPECT_OK(Ctl(KEYCTL_UNLINK, key, b));
    EXPECT_OK(Ctl(KEYCTL_CLEAR, a));
    EXPECT_TRUE(Links(static_cast<Serial>(a)).empty());
    const long other = User("other");
    EXPECT_ERRNO(ENOTDIR, Ctl(KEYCTL_CLEAR, other));
  });
}

TEST(KeysTest, Move) {
  InSession([] {
    const long a = Add("keyring", "a", nullptr, 0, KEY_SPEC_PROCESS_KEYRING);
    const long b = Add("keyring", "b", nullptr, 0, KEY_SPEC_PROCESS_KEYRING);
    const long key = User("key", "text", static_cast<Serial>(a));
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_MOVE, key, a, b, 2));
    EXPECT_ERRNO(ENOENT, Ctl(KEYCTL_MOVE, key, b, a, 0));
    EXPECT_OK(Ctl(KEYCTL_MOVE, key, a, b, KEYCTL_MOVE_EXCL));
    EXPECT_TRUE(Links(static_cast<Serial>(a)).empty());
    const long twin = User("key", "text", static_cast<Serial>(a));
    EXPECT_ERRNO(EEXIST, Ctl(KEYCTL_MOVE, twin, a, b, KEYCTL_MOVE_EXCL));
    EXPECT_OK(Ctl(KEYCTL_MOVE, twin, a, b, 0));
    EXPECT_EQ(Links(static_cast<Serial>(b)), std::vector<Serial>{static_cast<Serial>(twin)});
  });
}

TEST(KeysTest, Search) {
  InSession([] {
    const long outer = Add("keyring", "outer", nullptr, 0, KEY_SPEC_PROCESS_KEYRING);
    const long inner = Add("keyring", "inner", nullptr, 0, static_cast<Serial>(outer));
    const long key = User("deep", "text", static_cast<Serial>(inner));
    EXPECT_EQ(Ctl(KEYCTL_SEARCH, outer, "user", "deep", 0), key);
    EXPECT_ERRNO(ENOKEY, Ctl(KEYCTL_SEARCH, outer, "user", "other", 0));
    EXPECT_ERRNO(ENOKEY, Ctl(KEYCTL_SEARCH, outer, "nosuchtype", "deep", 0));
    EXPECT_ERRNO(ENOTDIR, Ctl(KEYCTL_SEARCH, key, "user", "deep", 0));
    EXPECT_EQ(Ctl(KEYCTL_SEARCH, outer, "user", "deep", KEY_SPEC_THREAD_KEYRING), key);
    EXPECT_EQ(Links(KEY_SPEC_THREAD_KEYRING), std::vector<Serial>{static_cast<Serial>(key)});
    EXPECT_EQ(Request("user", "deep", nullptr, 0), key);
    EXPECT_ERRNO(ENOKEY, Request("user", "other", nullptr, 0));
    EXPECT_ERRNO(ENOKEY, Request("nosuchtype", "deep", nullptr, 0));
    EXPECT_ERRNO(EPERM, Request(".type", "deep", nullptr, 0));
    EXPECT_ERRNO(EFAULT, Request("user", nullptr, nullptr, 0));
    EXPECT_ERRNO(EFAULT, Request(nullptr, "deep", nullptr, 0));
  });
}

TEST(KeysTest, RequestLeavesANegativeKey) {
  InSession([] {
    // ENOENT where there is no program to make keys; ENOKEY where it made none.
    EXPECT_EQ(Request("user", "made by nobody", "info", KEY_SPEC_PROCESS_KEYRING), -1);
    EXPECT_TRUE(errno == ENOKEY || errno == ENOENT) << strerror(errno);
    const std::vector<Serial> links = Links(KEY_SPEC_PROCESS_KEYRING);
    ASSERT_EQ(links.size(), 1u);
    char text[8];
    EXPECT_EQ(Ctl(KEYCTL_READ, links[0], text, sizeof(text)), -1);
    EXPECT_TRUE(errno == ENOKEY || errno == ENOENT) << strerror(errno);
    EXPECT_EQ(Request("user", "made by nobody", nullptr, 0), -1);
    // It can still be given a payload.
    EXPECT_EQ(User("made by nobody"), links[0]);
    EXPECT_EQ(Ctl(KEYCTL_READ, links[0], text, sizeof(text)), 4);
  });
}

TEST(KeysTest, RevokedInvalidatedExpired) {
  InSession([] {
    const long key = User("revoked");
    EXPECT_OK(Ctl(KEYCTL_REVOKE, key));
    EXPECT_ERRNO(EKEYREVOKED, Ctl(KEYCTL_UPDATE, key, "x", 1ul));
    EXPECT_ERRNO(EKEYREVOKED, Ctl(KEYCTL_REVOKE, key));
    // The session's "there is none" outweighs what is wrong with that of the process.
    EXPECT_ERRNO(ENOKEY, Request("user", "revoked", nullptr, 0));
    EXPECT_ERRNO(EKEYREVOKED, Ctl(KEYCTL_SEARCH, KEY_SPEC_PROCESS_KEYRING, "user", "revoked", 0));
    EXPECT_NE(User("revoked"), key) << "a new one takes its place";
    const long gone = User("invalidated");
    EXPECT_OK(Ctl(KEYCTL_INVALIDATE, gone));
    EXPECT_ERRNO(ENOKEY, Request("user", "invalidated", nullptr, 0));
    const long brief = User("brief");
    EXPECT_OK(Ctl(KEYCTL_SET_TIMEOUT, brief, 1));
    EXPECT_OK(Ctl(KEYCTL_SET_TIMEOUT, brief, 0)) << "for ever again";
    EXPECT_EQ(Request("user", "brief", nullptr, 0), brief);
    EXPECT_OK(Ctl(KEYCTL_SET_TIMEOUT, brief, 1));
    // Time is what is waited for.
    for (int i = 0; i < 100 && Request("user", "brief", nullptr, 0) == brief; ++i) usleep(50'000);
    EXPECT_ERRNO(EKEYEXPIRED, Ctl(KEYCTL_SEARCH, KEY_SPEC_PROCESS_KEYRING, "user", "brief", 0));
    EXPECT_ERRNO(EKEYEXPIRED, Ctl(KEYCTL_UPDATE, brief, "x", 1ul));
  });
}

TEST(KeysTest, Permissions) {
  InSession([] {
    const long key = User("key");
    EXPECT_NE(Describe(static_cast<Serial>(key)).find(";3f010000;key"), std::string::npos);
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_SETPERM, key, 0x40000000));
    // Whoever finds it may read it, as long as it can be searched for.
    EXPECT_OK(Ctl(KEYCTL_SETPERM, key, 0x39000000));
    char text[8];
    EXPECT_EQ(Ctl(KEYCTL_READ, key, text, sizeof(text)), 4);
    EXPECT_ERRNO(EACCES, Ctl(KEYCTL_UPDATE, key, "x", 1ul));
    EXPECT_OK(Ctl(KEYCTL_SETPERM, key, 0x20000000));
    EXPECT_ERRNO(EACCES, Ctl(KEYCTL_READ, key, text, sizeof(text)));
    EXPECT_ERRNO(EACCES, Ctl(KEYCTL_DESCRIBE, key, nullptr, 0ul));
    EXPECT_ERRNO(EACCES, Ctl(KEYCTL_LINK, key, KEY_SPEC_SESSION_KEYRING));
    const long logon = Add("logon", "a:b", "x", 1, KEY_SPEC_PROCESS_KEYRING);
    EXPECT_NE(Describe(static_cast<Serial>(logon)).find(";3d010000;a:b"), std::string::npos);
    EXPECT_ERRNO(EOPNOTSUPP, Ctl(KEYCTL_READ, logon, text, sizeof(text)));
    EXPECT_OK(Ctl(KEYCTL_CHOWN, logon, -1, -1));
    if (getuid() == 0) {
      EXPECT_OK(Ctl(KEYCTL_CHOWN, logon, 1, 2));
      EXPECT_NE(Describe(static_cast<Serial>(logon)).find("logon;1;2;"), std::string::npos);
    }
  });
}

TEST(KeysTest, OthersMayNotLook) {
  if (getuid() != 0) GTEST_SKIP() << "needs root";
  InSession([] {
    const long key = User("key", "text", KEY_SPEC_SESSION_KEYRING);
    ASSERT_GT(key, 0);
    EXPECT_EQ(RunInChild([&] {
                if (Ctl(KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0) return 1;
                if (setresuid(12345, 12345, 12345) != 0) return 2;
                if (Ctl(KEYCTL_DESCRIBE, key, nullptr, 0ul) != -1 || errno != EACCES) return 3;
                if (Ctl(KEYCTL_READ, key, nullptr, 0ul) != -1 || errno != EACCES) return 4;
                if (Ctl(KEYCTL_REVOKE, key) != -1 || errno != EACCES) return 5;
                return 0;
              }),
              0);
  });
}

TEST(KeysTest, Restrict) {
  InSession([] {
    const long ring = Add("keyring", "ring", nullptr, 0, KEY_SPEC_PROCESS_KEYRING);
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_RESTRICT_KEYRING, ring, nullptr, "x"));
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_RESTRICT_KEYRING, ring, "user", nullptr));
    EXPECT_ERRNO(ENOENT, Ctl(KEYCTL_RESTRICT_KEYRING, ring, "user", "x"));
    EXPECT_ERRNO(ENOKEY, Ctl(KEYCTL_RESTRICT_KEYRING, ring, "nosuchtype", "x"));
    EXPECT_OK(Ctl(KEYCTL_RESTRICT_KEYRING, ring, nullptr, nullptr));
    EXPECT_ERRNO(EEXIST, Ctl(KEYCTL_RESTRICT_KEYRING, ring, nullptr, nullptr));
    EXPECT_ERRNO(EPERM, User("key", "text", static_cast<Serial>(ring)));
    const long key = User("key");
    EXPECT_ERRNO(EPERM, Ctl(KEYCTL_LINK, key, ring));
    EXPECT_ERRNO(ENOTDIR, Ctl(KEYCTL_RESTRICT_KEYRING, key, nullptr, nullptr));
  });
}

TEST(KeysTest, WhatTheRestAnswers) {
  InSession([] {
    EXPECT_ERRNO(EOPNOTSUPP, Ctl(999));
    EXPECT_ERRNO(EPERM, Ctl(KEYCTL_INSTANTIATE, 1, "x", 1ul, 0));
    EXPECT_ERRNO(EPERM, Ctl(KEYCTL_NEGATE, 1, 1, 0));
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_REJECT, 1, 1, 0, 0));
    EXPECT_ERRNO(EPERM, Ctl(KEYCTL_REJECT, 1, 1, EKEYREJECTED, 0));
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_ASSUME_AUTHORITY, -5));
    EXPECT_OK(Ctl(KEYCTL_ASSUME_AUTHORITY, 0));
    EXPECT_ERRNO(ENOKEY, Ctl(KEYCTL_ASSUME_AUTHORITY, 0x7ffffff0));
    EXPECT_EQ(Ctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_NO_CHANGE), KEY_REQKEY_DEFL_DEFAULT);
    EXPECT_EQ(Ctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_THREAD_KEYRING), KEY_REQKEY_DEFL_DEFAULT);
    EXPECT_EQ(Ctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_DEFAULT), KEY_REQKEY_DEFL_THREAD_KEYRING);
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_GROUP_KEYRING));
    EXPECT_ERRNO(EINVAL, Ctl(KEYCTL_SET_REQKEY_KEYRING, 99));
    EXPECT_GT(Ctl(KEYCTL_GET_SECURITY, KEY_SPEC_SESSION_KEYRING, nullptr, 0ul), 0);
    unsigned char have[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    EXPECT_EQ(Ctl(KEYCTL_CAPABILITIES, have, sizeof(have)), 2);
    EXPECT_TRUE(have[0] & KEYCTL_CAPS0_CAPABILITIES);
    EXPECT_EQ(have[7], 0);
  });
}

TEST(KeysTest, SessionToParent) {
  InSession([] {
    const long before = Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    EXPECT_EQ(RunInChild([] {
                if (Ctl(KEYCTL_JOIN_SESSION_KEYRING, nullptr) < 0) return 1;
                return Ctl(KEYCTL_SESSION_TO_PARENT) == 0 ? 0 : errno;
              }),
              0);
    EXPECT_NE(Ctl(KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0), before);
  });
}

TEST(KeysTest, Proc) {
  InSession([] {
    const long key = User("shown in proc", "12345");
    char id[16];
    snprintf(id, sizeof(id), "%08lx", key);
    const std::string keys = ReadFileText("/proc/keys");
    const size_t at = keys.find(id);
    ASSERT_NE(at, std::string::npos) << keys;
    const std::string line = keys.substr(at, keys.find('\n', at) - at);
    EXPECT_NE(line.find(" I--Q--- "), std::string::npos) << line;
    EXPECT_NE(line.find(" perm 3f010000 "), std::string::npos) << line;
    EXPECT_NE(line.find("user      shown in proc: 5"), std::string::npos) << line;
    int uid = -1, usage = 0, keys_all = 0, keys_made = 0, counted = 0, most = 0, bytes = 0, most_bytes = 0;
    EXPECT_EQ(sscanf(ReadFileText("/proc/key-users").c_str(), "%d: %d %d/%d %d/%d %d/%d", &uid, &usage, &keys_all,
                     &keys_made, &counted, &most, &bytes, &most_bytes),
              8);
    EXPECT_GT(counted, 0);
    EXPECT_GT(bytes, 0);
  });
}

}  // namespace
}  // namespace guest
