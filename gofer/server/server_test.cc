// The server against a hostile client: everything here speaks raw messages.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "gofer/server/host_fs.h"
#include "gofer/server/session.h"

namespace sandbox::gofer {
namespace {

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gofer_server_XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    top_ = name;
    ASSERT_EQ(::mkdir((top_ + "/tree").c_str(), 0755), 0);
    std::ofstream(top_ + "/secret") << "secret";
    std::ofstream(top_ + "/tree/file") << "data";
    ASSERT_EQ(::mkdir((top_ + "/tree/dir").c_str(), 0755), 0);
    ASSERT_EQ(::symlink("..", (top_ + "/tree/up").c_str()), 0);
    ASSERT_EQ(::symlink("/", (top_ + "/tree/slash").c_str()), 0);
    ASSERT_EQ(::mkfifo((top_ + "/tree/fifo").c_str(), 0644), 0);
    ASSERT_TRUE(InitReopen().ok());
    Add(session_, false);
    root_ = Root(session_);
  }
  void TearDown() override { std::filesystem::remove_all(top_); }

  void Add(Session& session, bool read_only) {
    UniqueFd root(::open((top_ + "/tree").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(session.nodes().AddTree(Tree{read_only, std::move(root)}).ok());
  }
  Handle Root(Session& session) {
    return Ask(session, Op::kHello, 0, 0, [](Writer& out) { out.Put(kProtocolVersion); }).Get<TreeInfo>().root;
  }

  // The reply's body; error_ and count_ are its header's. error_ is -1 when the server closes the channel.
  template <typename Fill>
  Reader Ask(Session& session, Op op, Handle handle, uint32_t flags, Fill fill) {
    std::array<std::byte, kMaxMessage> request;
    Writer out(request);
    out.Put(RequestHeader{op, flags, handle});
    fill(out);
    EXPECT_TRUE(out.ok());
    const auto size = session.Handle(out.bytes(), {}, reply_, &fds_);
    fd_ = fds_.empty() ? UniqueFd() : std::move(fds_.front());
    error_ = -1;
    if (!size.ok()) return Reader({});
    Reader in(std::span<const std::byte>(reply_).first(*size));
    const auto header = in.Get<ReplyHeader>();
    error_ = header.error;
    count_ = header.count;
    return in;
  }
  template <typename Fill>
  Reader Ask(Op op, Handle handle, Fill fill) {
    return Ask(session_, op, handle, 0, fill);
  }
  Reader Walk(Handle from, std::initializer_list<std::string> names) {
    return Ask(Op::kWalk, from, [&](Writer& out) {
      out.Put(static_cast<uint32_t>(names.size()));
      for (const std::string& name : names) out.PutString(name);
    });
  }
  Handle Find(std::initializer_list<std::string> names) {
    Reader in = Walk(root_, names);
    Entry entry{};
    for (uint32_t i = 0; i < count_; ++i) {
      entry = in.Get<Entry>();
      in.GetString(kMaxTarget);
    }
    EXPECT_EQ(count_, names.size());
    return entry.handle;
  }
  static void Nothing(Writer&) {}

  std::string top_;
  Session session_;
  Handle root_ = 0;
  std::array<std::byte, kMaxMessage> reply_;
  std::vector<UniqueFd> fds_;  // of the last reply
  UniqueFd fd_;                // the first of them, taken out
  int error_ = 0;
  uint32_t count_ = 0;
};

TEST_F(ServerTest, NamesThatAreNoComponentAreRefused) {
  for (const std::string name : {"..", ".", "", "dir/..", "../secret", "/etc/passwd"}) {
    Walk(root_, {name});
    EXPECT_EQ(error_, EINVAL) << name;
    EXPECT_EQ(count_, 0u);
  }
  Walk(root_, {"dir", "..", "..", "secret"});
  EXPECT_EQ(error_, EINVAL);
  Walk(root_, {std::string("file\0x", 6)});
  EXPECT_EQ(error_, EINVAL);
  Walk(root_, {std::string(300, 'x')});
  EXPECT_EQ(error_, -1);  // malformed: the channel goes
}

TEST_F(ServerTest, SymbolicLinksEndAWalk) {
  Walk(root_, {"up", "secret"});
  EXPECT_EQ(count_, 1u);
  EXPECT_EQ(error_, 0);
  const Handle up = Find({"up"});
  Walk(up, {"secret"});
  EXPECT_EQ(error_, ENOTDIR);
  Ask(session_, Op::kOpen, up, O_RDONLY, Nothing);
  EXPECT_EQ(error_, ELOOP);
  Ask(Op::kReadDir, up, [](Writer& out) { out.Put(uint64_t{0}); });
  EXPECT_EQ(error_, ENOTDIR);
  Reader in = Ask(Op::kReadLink, Find({"slash"}), Nothing);
  EXPECT_EQ(in.GetString(kMaxTarget), "/");
}

TEST_F(ServerTest, OnlyRegularFilesAreOpened) {
  Ask(session_, Op::kOpen, Find({"fifo"}), O_RDONLY, Nothing);
  EXPECT_EQ(error_, ENXIO);
  Ask(session_, Op::kOpen, Find({"dir"}), O_RDONLY, Nothing);
  EXPECT_EQ(error_, ENXIO);
  Ask(session_, Op::kOpen, Find({"file"}), O_RDWR | O_TRUNC, Nothing);
  EXPECT_EQ(error_, EINVAL);
  for (const int access : {O_RDONLY, O_WRONLY, O_RDWR}) {
    Ask(session_, Op::kOpen, Find({"file"}), static_cast<uint32_t>(access), Nothing);
    ASSERT_EQ(error_, 0);
    EXPECT_EQ(::fcntl(fd_.get(), F_GETFL) & O_ACCMODE, access);
  }
}

TEST_F(ServerTest, DeviceNodesAreNotMade) {
  for (const uint32_t type : {S_IFCHR, S_IFBLK}) {
    Ask(Op::kCreate, root_, [&](Writer& out) {
      out.Put(CreateRequest{makedev(1, 3), type | 0666, 0, 0, 0});
      out.PutString("null");
      out.PutString("");
    });
    EXPECT_EQ(error_, EPERM);
  }
}

TEST_F(ServerTest, ForgedHandlesAreRefused) {
  const Handle file = Find({"file"});
  for (const Handle forged : {Handle{0}, file + 1000, file + (Handle{1} << 32), ~Handle{0}, file ^ (Handle{1} << 63)}) {
    Ask(Op::kGetAttr, forged, Nothing);
    EXPECT_EQ(error_, EBADF) << forged;
  }
  Ask(Op::kForget, 0, [&](Writer& out) {
    out.Put(uint32_t{2});
    out.Put(file);
    out.Put(file);  // twice
  });
  Ask(Op::kGetAttr, file, Nothing);
  EXPECT_EQ(error_, EBADF);
  EXPECT_NE(Find({"file"}), file);  // the slot is used again under another number
}

TEST_F(ServerTest, ReadOnlyTreesStayAsTheyAre) {
  Session session;
  Add(session, true);
  const Handle root = Root(session);
  const auto name = [](Writer& out) { out.PutString("file"); };
  Ask(session, Op::kUnlink, root, 0, [&](Writer& out) {
    out.Put(UnlinkRequest{0, 0, 0});
    name(out);
  });
  EXPECT_EQ(error_, EROFS);
  Ask(session, Op::kSetAttr, root, 0, [](Writer& out) {
    SetAttrRequest request{};
    request.valid = SetAttrRequest::kMode;
    out.Put(request);
  });
  EXPECT_EQ(error_, EROFS);
  Ask(session, Op::kCreate, root, 0, [](Writer& out) {
    out.Put(CreateRequest{0, S_IFREG | 0644, 0, 0, O_RDWR});
    out.PutString("new");
    out.PutString("");
  });
  EXPECT_EQ(error_, EROFS);
  EXPECT_FALSE(std::filesystem::exists(top_ + "/tree/new"));
}

TEST_F(ServerTest, KernelFileSystemsAreClosed) {
  Session session;
  ASSERT_TRUE(session.nodes().AddTree(Tree{true, UniqueFd(::open("/proc", O_PATH | O_CLOEXEC))}).ok());
  const Handle root = Root(session);
  Ask(session, Op::kWalk, root, 0, [](Writer& out) {
    out.Put(uint32_t{2});
    out.PutString("self");
    out.PutString("mem");
  });
  EXPECT_EQ(error_, EACCES);
  EXPECT_EQ(count_, 0u);
}

TEST_F(ServerTest, ShortAndOverlongRequestsCloseTheChannel) {
  for (uint32_t op = 0; op <= static_cast<uint32_t>(Op::kMaxOp) + 2; ++op) {
    if (op == static_cast<uint32_t>(Op::kNewChannel)) continue;  // has no body to spoil
    Ask(static_cast<Op>(op), root_, [](Writer& out) {
      for (int i = 0; i < 8000; ++i) out.Put(~uint64_t{0});
    });
    EXPECT_EQ(error_, -1) << op;
  }
}

class JournalTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    Ask(Op::kNewJournal, 0, Nothing);
    ASSERT_EQ(error_, 0);
    journal_ = std::move(fd_);
  }
  template <typename Fill>
  void Defer(Op op, Handle handle, Fill fill) {
    std::array<std::byte, kMaxDeferred> request;
    Writer out(request);
    out.Put(RequestHeader{op, 0, handle});
    fill(out);
    ASSERT_TRUE(out.ok());
    ASSERT_EQ(::write(journal_.get(), request.data(), out.size()), static_cast<ssize_t>(out.size()));
  }
  void DeferUnlink(const std::string& name) {
    Defer(Op::kUnlink, root_, [&](Writer& out) {
      out.Put(UnlinkRequest{});
      out.PutString(name);
    });
  }
  // failed_ is the reply's; error_ as for Ask.
  void SettleAfter(uint64_t after) {
    std::array<std::byte, sizeof(RequestHeader)> request;
    Writer out(request);
    out.Put(RequestHeader{.op = Op::kSettle, .flags = 0, .handle = 0, .after = after});
    const auto size = session_.Handle(out.bytes(), {}, reply_, &fds_);
    error_ = -1;
    if (!size.ok()) return;
    const auto header = Reader(std::span<const std::byte>(reply_).first(*size)).Get<ReplyHeader>();
    error_ = header.error;
    failed_ = header.failed;
  }
  bool Exists(const std::string& name) const {
    return std::filesystem::exists(std::filesystem::symlink_status(top_ + "/tree/" + name));
  }

  UniqueFd journal_;  // destroyed before the session, which waits for its end
  uint32_t failed_ = 0;
};

TEST_F(JournalTest, RequestsAreDoneInOrderBeforeTheAnswer) {
  Defer(Op::kRename, root_, [&](Writer& out) {
    out.Put(RenameRequest{root_, 0, 0, 0, 0});
    out.PutString("file");
    out.PutString("moved");
  });
  DeferUnlink("moved");
  SettleAfter(2);
  EXPECT_EQ(error_, 0);
  EXPECT_EQ(failed_, 0u);
  EXPECT_FALSE(Exists("file"));
  EXPECT_FALSE(Exists("moved"));
}

TEST_F(JournalTest, FailuresAreCounted) {
  DeferUnlink("nothing");
  DeferUnlink("up");
  SettleAfter(2);
  EXPECT_EQ(failed_, 1u);
  EXPECT_FALSE(Exists("up"));
}

TEST_F(JournalTest, AClientThatCountsTooMuchIsClosed) {
  DeferUnlink("up");
  SettleAfter(2);
  EXPECT_EQ(error_, -1);
  SettleAfter(1);
  EXPECT_EQ(error_, 0);
}

TEST_F(JournalTest, ThereIsOne) {
  Ask(Op::kNewJournal, 0, Nothing);
  EXPECT_EQ(error_, EEXIST);
}

// Nothing but the changes that may be deferred, well formed; after anything else nothing is done any more.
TEST_F(JournalTest, MalformedRequestsEndIt) {
  Defer(Op::kGetAttr, root_, Nothing);
  SettleAfter(1);
  EXPECT_EQ(error_, -1);
  DeferUnlink("file");
  SettleAfter(1);
  EXPECT_EQ(error_, -1);
  EXPECT_TRUE(Exists("file"));
  SettleAfter(0);
  EXPECT_EQ(error_, 0);  // what does not depend on it is served
}

TEST_F(JournalTest, NamesThatAreNoComponentAreRefused) {
  DeferUnlink("../secret");
  SettleAfter(1);
  EXPECT_EQ(failed_, 1u);
  EXPECT_TRUE(std::filesystem::exists(top_ + "/secret"));
}

// A directory that moves out of the tree while a walk goes through it leads nowhere but to what it holds.
TEST_F(ServerTest, RenamesDuringWalksDoNotLeadOut) {
  std::filesystem::create_directories(top_ + "/tree/a/b/c");
  std::filesystem::create_directories(top_ + "/outside");
  std::ofstream(top_ + "/outside/secret") << "s";
  std::atomic<bool> stop{false};
  std::thread mover([&] {
    while (!stop) {
      ::rename((top_ + "/tree/a/b").c_str(), (top_ + "/outside/b").c_str());
      ::rename((top_ + "/outside/b").c_str(), (top_ + "/tree/a/b").c_str());
      ::symlink("../../outside", (top_ + "/tree/a/l").c_str());
      ::unlink((top_ + "/tree/a/l").c_str());
    }
  });
  for (int i = 0; i < 3000; ++i) {
    Walk(root_, {"a", "b", "c"});
    EXPECT_TRUE(error_ == 0 || error_ == ENOENT || error_ == ESTALE) << error_;
    Walk(root_, {"a", "l", "secret"});
    EXPECT_LE(count_, 2u);
  }
  stop = true;
  mover.join();
}

TEST_F(ServerTest, DescriptorsAreBoundedAndFoundAgain) {
  std::vector<Handle> handles;
  std::filesystem::create_directories(top_ + "/tree/many");
  const size_t count = NodeTable::kMaxOpen + 500;
  for (size_t i = 0; i < count; ++i) {
    const std::string name = "d" + std::to_string(i);
    ASSERT_EQ(::mkdir((top_ + "/tree/many/" + name).c_str(), 0755), 0);
    handles.push_back(Find({"many", name}));
    Ask(Op::kReadDir, handles.back(), [](Writer& out) { out.Put(uint64_t{0}); });
    ASSERT_EQ(error_, 0);
  }
  EXPECT_LE(session_.nodes().open_count(), NodeTable::kMaxOpen);
  Ask(Op::kGetAttr, handles.front(), Nothing);
  EXPECT_EQ(error_, 0);
  // Another object under the name is not mistaken for it.
  ::rename((top_ + "/tree/many/d1").c_str(), (top_ + "/tree/many/x").c_str());
  ASSERT_EQ(::mkdir((top_ + "/tree/many/d1").c_str(), 0755), 0);
  Ask(Op::kGetAttr, handles[1], Nothing);
  EXPECT_EQ(error_, ESTALE);
}

// Valid operations with random contents: no crash, no escape, and the server still answers.
TEST_F(ServerTest, RandomRequests) {
  std::mt19937 random(7);
  const std::string names[] = {"file", "dir", "up", "..", "fifo", "x", "", "a/b"};
  for (int round = 0; round < 20000; ++round) {
    auto op = static_cast<Op>(1 + random() % static_cast<uint32_t>(Op::kMaxOp));
    if (op == Op::kNewChannel) op = Op::kWalk;
    const Handle handle = random() % 4 ? (Handle{1} << 32) + random() % 64 : random();
    Ask(session_, op, handle, random() % 8 ? 0 : random(), [&](Writer& out) {
      const int words = static_cast<int>(random() % 12);
      for (int i = 0; i < words; ++i) {
        if (random() % 2)
          out.Put(static_cast<uint32_t>(random() % 5));
        else
          out.PutString(names[random() % std::size(names)]);
      }
    });
    fd_.reset();
  }
  Ask(Op::kGetAttr, Root(session_), Nothing);
  EXPECT_EQ(error_, 0);
  std::ifstream secret(top_ + "/secret");
  std::string text;
  secret >> text;
  EXPECT_EQ(text, "secret");
}

}  // namespace
}  // namespace sandbox::gofer
