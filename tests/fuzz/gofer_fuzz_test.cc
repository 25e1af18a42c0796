// The file protocol, both ways: a hostile sentry's requests to the gofer, a hostile gofer's answers to the sentry.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "gofer/server/host_fs.h"
#include "gofer/server/session.h"
#include "sentry/fs/gofer/client.h"
#include "tests/fuzz/fuzz.h"

namespace sandbox {
namespace {

using namespace gofer;

template <typename Fill>
std::string Message(Fill fill) {
  std::array<std::byte, 4096> buffer;
  Writer out(buffer);
  fill(out);
  return {reinterpret_cast<const char*>(buffer.data()), out.size()};
}

std::span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A folder with a tree that is served, and things beside it that must never be reached.
class Folder {
 public:
  Folder() {
    std::string name = "/tmp/gofer_fuzz_XXXXXX";
    CHECK(::mkdtemp(name.data()) != nullptr);
    top_ = name;
    std::filesystem::create_directories(top_ + "/outside");
    std::ofstream(top_ + "/outside/secret") << "secret";
  }
  // The tree as it was, whatever requests have made of it.
  void Fill() {
    std::filesystem::remove_all(tree());
    std::filesystem::create_directories(top_ + "/tree/a/b");
    std::ofstream(top_ + "/tree/file") << "data";
    std::ofstream(top_ + "/tree/a/x") << "data";
    CHECK(::symlink("../outside", (top_ + "/tree/up").c_str()) == 0);
    CHECK(::mkfifo((top_ + "/tree/fifo").c_str(), 0644) == 0);
  }
  ~Folder() { std::filesystem::remove_all(top_); }
  std::string tree() const { return top_ + "/tree"; }
  const std::string& top() const { return top_; }

 private:
  std::string top_;
};

std::vector<std::string> RequestSeeds() {
  std::vector<std::string> seeds;
  // The handles of the first objects that a session hands out, the root's among them.
  const auto handle = [](uint32_t index) { return (Handle{1} << 32) | index; };
  const auto add = [&](Op op, uint32_t flags, uint32_t index, auto fill) {
    seeds.push_back(Message([&](Writer& out) {
      out.Put(RequestHeader{op, flags, handle(index)});
      fill(out);
    }));
  };
  const auto names = [](std::initializer_list<std::string_view> list) {
    return [list = std::vector<std::string_view>(list)](Writer& out) {
      out.Put(static_cast<uint32_t>(list.size()));
      for (const std::string_view name : list) out.PutString(name);
    };
  };
  const auto nothing = [](Writer&) {};
  add(Op::kHello, 0, 0, [](Writer& out) { out.Put(kProtocolVersion); });
  add(Op::kWalk, 0, 0, names({"a", "b"}));
  add(Op::kWalk, 0, 0, names({"up"}));
  add(Op::kWalk, kWalkOpen, 0, [](Writer& out) {
    out.Put(uint32_t{2});
    out.PutString("a");
    out.PutString("x");
    out.Put(uint32_t{O_RDONLY});
  });
  add(Op::kLookupMany, 0, 0, names({"a", "file", "none", "up", "fifo"}));
  add(Op::kForget, 0, 0, [&](Writer& out) {
    out.Put(uint32_t{2});
    out.Put(handle(7));
    out.Put(handle(8));
  });
  for (uint32_t index = 0; index < 5; ++index) {
    add(Op::kGetAttr, 0, index, nothing);
    add(Op::kReadLink, 0, index, nothing);
    add(Op::kStatFs, 0, index, nothing);
    add(Op::kOpen, 0, index, [](Writer& out) { out.Put(uint32_t{O_RDWR}); });
    add(Op::kReadDir, 0, index, [](Writer& out) { out.Put(uint64_t{0}); });
    add(Op::kSetAttr, 0, index, [](Writer& out) {
      SetAttrRequest change{};
      change.valid = SetAttrRequest::kMode | SetAttrRequest::kSize;
      change.mode = 0600;
      out.Put(change);
    });
    add(Op::kCreate, 0, index, [](Writer& out) {
      CreateRequest create{};
      create.mode = S_IFREG | 0644;
      out.Put(create);
      out.PutString("new");
      out.PutString("");
    });
    add(Op::kTmpfile, 2, index, [](Writer& out) {
      CreateRequest create{};
      create.mode = S_IFREG | 0644;
      out.Put(create);
    });
    add(Op::kPlace, 0, index, [&](Writer& out) {
      PlaceRequest place{};
      place.file = handle(index + 1);
      place.valid = SetAttrRequest::kAtime | SetAttrRequest::kMtime;
      out.Put(place);
      out.PutString("placed");
    });
    add(Op::kUnlink, 0, index, [](Writer& out) {
      out.Put(UnlinkRequest{});
      out.PutString("new");
    });
    add(Op::kRename, 0, index, [](Writer& out) {
      out.Put(RenameRequest{});
      out.PutString("a");
      out.PutString("c");
    });
    add(Op::kSetXattr, 0, index, [](Writer& out) {
      out.PutString("user.k");
      out.PutString("v");
    });
    add(Op::kListXattr, 0, index, nothing);
  }
  return seeds;
}

TEST(GoferFuzz, DamagedRequestsNeverLeadOutOfTheTree) {
  Folder folder;
  ASSERT_TRUE(InitReopen().ok());
  fuzz::Mutator mutator(fuzz::Seed(), RequestSeeds(), {"..", "/", ".", "up", "secret", std::string(1, '\0')});
  std::array<std::byte, kMaxMessage> reply;
  uint64_t succeeded = 0, failed = 0, closed = 0, opened = 0;
  std::unique_ptr<Session> session;
  fuzz::Run(30'000, [&](uint64_t round) {
    if (round % 50 == 0) {
      folder.Fill();
      session = std::make_unique<Session>();
      UniqueFd root(::open(folder.tree().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      ASSERT_TRUE(session->nodes().AddTree(Tree{false, std::move(root)}).ok());
      std::vector<UniqueFd> none;
      const std::string hello = RequestSeeds().front();
      ASSERT_TRUE(session->Handle(Bytes(hello), {}, reply, &none).ok());
    }
    std::string request = mutator.Next(kMaxMessage);
    // No threads of channels here: nobody would talk to them.
    const auto new_channel = static_cast<uint32_t>(Op::kNewChannel);
    if (request.size() >= 4 && std::memcmp(request.data(), &new_channel, 4) == 0) return;
    std::vector<UniqueFd> fds;
    const auto size = session->Handle(Bytes(request), {}, reply, &fds);
    if (!size.ok()) {
      ++closed;
      return;
    }
    if (*size == 0) return;  // kForget
    ASSERT_GE(*size, sizeof(ReplyHeader));
    ASSERT_LE(*size, reply.size());
    Reader in(std::span<const std::byte>(reply).first(*size));
    const auto header = in.Get<ReplyHeader>();
    EXPECT_GE(header.error, 0);
    EXPECT_LT(header.error, 134);
    ++(header.error == 0 ? succeeded : failed);
    EXPECT_EQ(header.descriptors, fds.size());
    EXPECT_LE(fds.size(), kMaxDescriptors);
    for (const UniqueFd& fd : fds) {
      ++opened;
      char link[4096] = {};
      ASSERT_GT(::readlink(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), link, sizeof(link) - 1), 0);
      EXPECT_TRUE(std::string_view(link).starts_with(folder.tree() + "/") || folder.tree() == link) << link;
    }
  });
  RecordProperty("succeeded", std::to_string(succeeded));
  RecordProperty("failed", std::to_string(failed));
  RecordProperty("closed", std::to_string(closed));
  RecordProperty("opened", std::to_string(opened));
  // Every road was taken often, or the seeds are worth nothing.
  EXPECT_GT(succeeded, 100u);
  EXPECT_GT(failed, 100u);
  EXPECT_GT(closed, 100u);
  EXPECT_GT(opened, 10u);
  std::string text;
  std::ifstream(folder.top() + "/outside/secret") >> text;
  EXPECT_EQ(text, "secret");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.top() + "/outside"), {}), 1);
}

std::vector<std::string> ReplySeeds() {
  std::vector<std::string> seeds;
  const auto add = [&](Op op, uint32_t count, auto fill) {
    seeds.push_back(Message([&](Writer& out) {
      out.Put(ReplyHeader{op, 0, 0, count});
      fill(out);
    }));
  };
  FileAttr attr{};
  attr.mode = S_IFDIR | 0755;
  attr.nlink = 1;
  Entry entry{};
  entry.handle = Handle{1} << 32;
  entry.attr = attr;
  add(Op::kWalk, 2, [&](Writer& out) {
    for (int i = 0; i < 2; ++i) {
      out.Put(entry);
      out.PutString("");
    }
  });
  add(Op::kLookupMany, 1, [&](Writer& out) {
    out.Put(entry);
    out.PutString("target");
  });
  add(Op::kGetAttr, 0, [&](Writer& out) { out.Put(attr); });
  add(Op::kReadLink, 0, [](Writer& out) { out.PutString("target"); });
  add(Op::kReadDir, 1, [](Writer& out) {
    out.Put(DirReply{1, 1, 0});
    out.Put(DirRecord{2, DT_REG, 0});
    out.PutString("name");
  });
  add(Op::kListXattr, 2, [](Writer& out) {
    out.PutString("user.a");
    out.PutString("user.b");
  });
  return seeds;
}

// Answers the greeting, then every request with a damaged reply, until the client hangs up.
void ServeBadly(UniqueFd socket, uint64_t seed) {
  Channel channel(std::move(socket));
  fuzz::Mutator mutator(seed, ReplySeeds());
  std::array<std::byte, kMaxMessage> buffer;
  while (channel.Receive(buffer).ok()) {
    Op op;
    std::memcpy(&op, buffer.data(), sizeof(op));
    if (op == Op::kForget) continue;
    std::string reply;
    if (op == Op::kHello) {
      reply = Message([](Writer& out) {
        out.Put(ReplyHeader{Op::kHello, 0, 0, 1});
        TreeInfo tree{};
        tree.root = Handle{1} << 32;
        tree.attr.mode = S_IFDIR | 0755;
        out.Put(tree);
      });
    } else {
      reply = mutator.Next(kMaxMessage);
      // Mostly the right operation, so that more than the first check is met.
      if (reply.size() >= 4 && mutator.Below(8) != 0) std::memcpy(reply.data(), &op, sizeof(op));
      if (reply.empty()) reply = "x";
    }
    if (!channel.Send(Bytes(reply)).ok()) return;
  }
}

// What the client makes of them: an error, or data within the bounds that its users rely on.
void Ask(GoferClient& client, Handle handle, uint64_t choice) {
  const std::array<std::string_view, 3> names = {"a", "b", "c"};
  switch (choice % 6) {
    case 0: {
      const auto walk = client.Walk(handle, names, std::nullopt);
      if (walk.ok()) {
        EXPECT_LE(walk->entries.size(), names.size());
      }
      break;
    }
    case 1: {
      const auto found = client.LookupMany(handle, names);
      if (found.ok()) {
        EXPECT_LE(found->size(), names.size());
      }
      break;
    }
    case 2: {
      const auto attr = client.GetAttr(handle);
      if (attr.ok()) {
        EXPECT_LE(attr->size, static_cast<uint64_t>(INT64_MAX));
      }
      break;
    }
    case 3: {
      const auto target = client.ReadLink(handle);
      if (target.ok()) {
        EXPECT_LE(target->size(), kMaxTarget);
      }
      break;
    }
    case 4: {
      const auto batch = client.ReadDir(handle, 0);
      if (!batch.ok()) break;
      for (const GoferDirEntry& entry : batch->entries) {
        EXPECT_LE(entry.name.size(), kMaxName);
        EXPECT_EQ(entry.name.find('/'), std::string::npos);
        EXPECT_EQ(entry.name.find('\0'), std::string::npos);
      }
      break;
    }
    case 5: {
      const auto list = client.ListXattr(handle);
      if (list.ok()) {
        EXPECT_LE(list->size(), kMaxMessage);
      }
      break;
    }
  }
}

TEST(GoferFuzz, DamagedRepliesAreErrorsOrBounded) {
  fuzz::Run(200, [&](uint64_t round) {
    auto pair = Channel::MakePair();
    ASSERT_TRUE(pair.ok());
    std::thread server(ServeBadly, std::move(pair->second), fuzz::Seed() + round);
    {
      const auto client = GoferClient::Connect(std::move(pair->first));
      ASSERT_TRUE(client.ok());
      for (uint64_t i = 0; i < 100; ++i) Ask(**client, (*client)->trees().front().root, i);
    }
    server.join();
  });
}

}  // namespace
}  // namespace sandbox
