// /proc/net's tables of sockets and /sys/class/net (proc_pid_net(5), sysfs-class-net).
#include <arpa/inet.h>
#include <dirent.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <set>
#include <sstream>
#include <vector>

#include "tests/util/guest.h"

namespace guest {
namespace {

unsigned long InodeOf(int fd) {
  struct stat st;
  EXPECT_OK(fstat(fd, &st));
  return st.st_ino;
}

// The words of the line of `table` whose column `column` is this inode; empty when there is none.
std::vector<std::string> LineOf(const std::string& table, unsigned long inode, size_t column) {
  std::istringstream lines(ReadFileText("/proc/net/" + table));
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::vector<std::string> all;
    for (std::string word; words >> word;) all.push_back(word);
    if (all.size() > column && all[column] == std::to_string(inode)) return all;
  }
  return {};
}
constexpr size_t kInternetInode = 9, kUnixInode = 6;

sockaddr_in Loopback() {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return name;
}
sockaddr_in NameOf(int fd) {
  sockaddr_in name{};
  socklen_t size = sizeof(name);
  EXPECT_OK(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size));
  return name;
}
std::string Text(const sockaddr_in& name) {
  char text[32];
  snprintf(text, sizeof(text), "%08X:%04X", name.sin_addr.s_addr, ntohs(name.sin_port));
  return text;
}

TEST(ProcNetTest, Streams) {
  const ScopedFd listener(socket(AF_INET, SOCK_STREAM, 0)), client(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_TRUE(LineOf("tcp", InodeOf(client.get()), kInternetInode).empty());
  const sockaddr_in any = Loopback();
  ASSERT_OK(bind(listener.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(any)));
  ASSERT_OK(listen(listener.get(), 5));
  const sockaddr_in name = NameOf(listener.get());
  auto line = LineOf("tcp", InodeOf(listener.get()), kInternetInode);
  ASSERT_FALSE(line.empty());
  EXPECT_EQ(line[1], Text(name));
  EXPECT_EQ(line[2], "00000000:0000");
  EXPECT_EQ(line[3], "0A");
  EXPECT_EQ(line[7], std::to_string(geteuid()));
  ASSERT_OK(connect(client.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)));
  const ScopedFd server(accept(listener.get(), nullptr, nullptr));
  line = LineOf("tcp", InodeOf(client.get()), kInternetInode);
  ASSERT_FALSE(line.empty());
  EXPECT_EQ(line[1], Text(NameOf(client.get())));
  EXPECT_EQ(line[2], Text(name));
  EXPECT_EQ(line[3], "01");
  ASSERT_EQ(write(client.get(), "12345", 5), 5);
  line = LineOf("tcp", InodeOf(server.get()), kInternetInode);
  ASSERT_FALSE(line.empty());
  EXPECT_EQ(line[4].substr(9), "00000005");
  ASSERT_OK(shutdown(client.get(), SHUT_WR));
  const std::string state = LineOf("tcp", InodeOf(client.get()), kInternetInode)[3];
  EXPECT_TRUE(state == "04" || state == "05") << state;  // FIN_WAIT1 until the other end has acknowledged
  EXPECT_EQ(LineOf("tcp", InodeOf(server.get()), kInternetInode)[3], "08");
}

TEST(ProcNetTest, StreamsOfIpv6) {
  const ScopedFd listener(socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  name.sin6_addr = in6addr_loopback;
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0) GTEST_SKIP() << "no IPv6";
  ASSERT_OK(listen(listener.get(), 5));
  const auto line = LineOf("tcp6", InodeOf(listener.get()), kInternetInode);
  ASSERT_FALSE(line.empty());
  EXPECT_EQ(line[1].substr(0, 33), "00000000000000000000000001000000:");
}

TEST(ProcNetTest, Datagrams) {
  const ScopedFd fd(socket(AF_INET, SOCK_DGRAM, 0));
  EXPECT_TRUE(LineOf("udp", InodeOf(fd.get()), kInternetInode).empty());
  const sockaddr_in any = Loopback();
  ASSERT_OK(bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(any)));
  const auto line = LineOf("udp", InodeOf(fd.get()), kInternetInode);
  ASSERT_FALSE(line.empty());
  EXPECT_EQ(line[1], Text(NameOf(fd.get())));
  EXPECT_EQ(line[3], "07");
}

TEST(ProcNetTest, UnixSockets) {
  TempDir dir;
  const ScopedFd listener(socket(AF_UNIX, SOCK_STREAM, 0)), abstract(socket(AF_UNIX, SOCK_DGRAM, 0));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const std::string path = dir / "s";
  strcpy(name.sun_path, path.c_str());
  ASSERT_OK(bind(listener.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)));
  ASSERT_OK(listen(listener.get(), 1));
  auto line = LineOf("unix", InodeOf(listener.get()), kUnixInode);
  ASSERT_EQ(line.size(), 8u);
  EXPECT_EQ(line[3], "00010000");
  EXPECT_EQ(line[4], "0001");
  EXPECT_EQ(line[5], "01");
  EXPECT_EQ(line[7], path);
  const std::string text = "proc-net-" + std::to_string(getpid());
  memset(name.sun_path, 0, sizeof(name.sun_path));
  strcpy(name.sun_path + 1, text.c_str());
  ASSERT_OK(bind(abstract.get(), reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t) + 1 + text.size()));
  line = LineOf("unix", InodeOf(abstract.get()), kUnixInode);
  ASSERT_EQ(line.size(), 8u);
  EXPECT_EQ(line[4], "0002");
  EXPECT_EQ(line[7], "@" + text);
  int pair[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
  line = LineOf("unix", InodeOf(pair[0]), kUnixInode);
  ASSERT_EQ(line.size(), 7u);
  EXPECT_EQ(line[4], "0005");
  EXPECT_EQ(line[5], "03");
  close(pair[0]);
  close(pair[1]);
}

TEST(ProcNetTest, SocketsAreTheirMakers) {
  EXPECT_EQ(RunAsNobody([&] {
              const ScopedFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
              struct stat st;
              EXPECT_OK(fstat(fd.get(), &st));
              EXPECT_EQ(st.st_uid, geteuid());
              EXPECT_EQ(st.st_gid, getegid());
              return 0;
            }),
            0);
}

TEST(SysNetTest, OneEntryForEachInterface) {
  std::set<std::string> shown, known;
  DIR* const dir = opendir("/sys/class/net");
  if (dir == nullptr) GTEST_SKIP() << "no sysfs";
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') shown.insert(entry->d_name);
  }
  closedir(dir);
  struct if_nameindex* const all = if_nameindex();
  for (auto* one = all; one->if_index != 0; ++one) {
    known.insert(one->if_name);
    const std::string base = "/sys/class/net/" + std::string(one->if_name) + "/";
    EXPECT_EQ(ReadFileText(base + "ifindex"), std::to_string(one->if_index) + "\n");
  }
  if_freenameindex(all);
  EXPECT_EQ(shown, known);
  EXPECT_EQ(ReadFileText("/sys/class/net/lo/address"), "00:00:00:00:00:00\n");
  EXPECT_EQ(ReadFileText("/sys/class/net/lo/type"), "772\n");
  EXPECT_EQ(ReadFileText("/sys/class/net/lo/mtu"), "65536\n");
  EXPECT_FALSE(ReadFileText("/sys/class/net/lo/statistics/rx_bytes").empty());
  EXPECT_ERRNO(ENOENT, access("/sys/class/net/nosuch0", F_OK));
}

}  // namespace
}  // namespace guest
