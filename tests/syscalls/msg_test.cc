// msgget(2), msgsnd(2), msgrcv(2), msgctl(2), /proc/sysvipc/msg.
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/util/guest.h"

namespace {

struct Message {
  long type;
  char text[64];
};

class MsgTest : public testing::Test {
 protected:
  void SetUp() override {
    id_ = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    ASSERT_GE(id_, 0);
  }
  void TearDown() override { (void)msgctl(id_, IPC_RMID, nullptr); }
  int Send(long type, const char* text, int flags = IPC_NOWAIT) {
    Message message{type, {}};
    std::strncpy(message.text, text, sizeof(message.text) - 1);
    return msgsnd(id_, &message, std::strlen(text), flags);
  }
  // The text of the message received, or the errno in words.
  std::string Receive(long type, int flags = IPC_NOWAIT, size_t most = sizeof(Message::text)) {
    Message message{};
    const ssize_t size = msgrcv(id_, &message, most, type, flags);
    if (size < 0) return std::strerror(errno);
    last_type_ = message.type;
    return std::string(message.text, static_cast<size_t>(size));
  }
  msqid_ds Stat() {
    msqid_ds info{};
    EXPECT_OK(msgctl(id_, IPC_STAT, &info));
    return info;
  }

  int id_ = -1;
  long last_type_ = 0;
};

TEST_F(MsgTest, SelectsByType) {
  ASSERT_OK(Send(3, "three"));
  ASSERT_OK(Send(1, "one"));
  ASSERT_OK(Send(2, "two"));
  ASSERT_OK(Send(1, "uno"));
  EXPECT_EQ(Receive(1), "one");
  EXPECT_EQ(Receive(3, IPC_NOWAIT | MSG_EXCEPT), "two");
  EXPECT_EQ(Receive(-3), "uno");
  EXPECT_EQ(last_type_, 1);
  EXPECT_EQ(Receive(7), std::strerror(ENOMSG));
  EXPECT_EQ(Receive(-2), std::strerror(ENOMSG));
  EXPECT_EQ(Receive(0), "three");
  EXPECT_EQ(Receive(0), std::strerror(ENOMSG));
}

TEST_F(MsgTest, SizesAndTruncation) {
  ASSERT_OK(Send(1, "a longer text"));
  EXPECT_EQ(Receive(0, IPC_NOWAIT, 4), std::strerror(E2BIG));
  EXPECT_EQ(Receive(0, IPC_NOWAIT | MSG_NOERROR, 4), "a lo");
  ASSERT_OK(Send(1, ""));
  EXPECT_EQ(Receive(0), "");
}

TEST_F(MsgTest, CopyLeavesTheMessage) {
  ASSERT_OK(Send(1, "one"));
  ASSERT_OK(Send(2, "two"));
  const std::string copied = Receive(1, IPC_NOWAIT | MSG_COPY);
  EXPECT_EQ(copied, "two");
  EXPECT_EQ(Stat().msg_qnum, 2u);
  EXPECT_EQ(Receive(2, IPC_NOWAIT | MSG_COPY), std::strerror(ENOMSG));
  EXPECT_EQ(Receive(0, MSG_COPY), std::strerror(EINVAL));
  EXPECT_EQ(Receive(0, IPC_NOWAIT | MSG_COPY | MSG_EXCEPT), std::strerror(EINVAL));
}

TEST_F(MsgTest, BadArguments) {
  Message message{1, {}};
  EXPECT_ERRNO(EINVAL, msgsnd(id_, &message, static_cast<size_t>(-1), IPC_NOWAIT));
  EXPECT_ERRNO(EINVAL, msgsnd(id_, &message, 8193, IPC_NOWAIT));
  message.type = 0;
  EXPECT_ERRNO(EINVAL, msgsnd(id_, &message, 1, IPC_NOWAIT));
  message.type = -1;
  EXPECT_ERRNO(EINVAL, msgsnd(id_, &message, 1, IPC_NOWAIT));
  message.type = 1;
  EXPECT_ERRNO(EINVAL, msgsnd(-1, &message, 1, IPC_NOWAIT));
  EXPECT_ERRNO(EFAULT, msgsnd(id_, guest::BadPointer(), 1, IPC_NOWAIT));
  EXPECT_ERRNO(EINVAL, msgrcv(id_, &message, static_cast<size_t>(-1), 0, IPC_NOWAIT));
  EXPECT_ERRNO(EINVAL, msgrcv(-1, &message, 1, 0, IPC_NOWAIT));
  EXPECT_ERRNO(EINVAL, msgctl(id_, 9999, nullptr));
  EXPECT_ERRNO(EFAULT, msgctl(id_, IPC_STAT, static_cast<msqid_ds*>(guest::BadPointer())));
  EXPECT_ERRNO(EFAULT, msgctl(id_, IPC_SET, static_cast<msqid_ds*>(guest::BadPointer())));
  ASSERT_OK(Send(1, "x"));
  EXPECT_ERRNO(EFAULT, msgrcv(id_, guest::BadPointer(), 64, 0, IPC_NOWAIT));
}

TEST_F(MsgTest, FullQueueAndItsLimit) {
  msqid_ds info = Stat();
  info.msg_qbytes = 10;
  ASSERT_OK(msgctl(id_, IPC_SET, &info));
  ASSERT_OK(Send(1, "12345678"));
  EXPECT_ERRNO(EAGAIN, Send(1, "123"));
  EXPECT_OK(Send(1, "12"));
  info = Stat();
  EXPECT_EQ(info.msg_qnum, 2u);
  EXPECT_EQ(info.__msg_cbytes, 10u);
  EXPECT_EQ(info.msg_lspid, getpid());
  EXPECT_EQ(info.msg_lrpid, 0);
  EXPECT_NE(info.msg_stime, 0);
  EXPECT_EQ(info.msg_rtime, 0);
}

TEST_F(MsgTest, BlocksUntilReceivedAndSent) {
  const pid_t child = fork();
  if (child == 0) _exit(Receive(5, 0) == "five" && Send(6, "six") == 0 ? 0 : 1);
  ASSERT_OK(Send(5, "five"));
  EXPECT_EQ(Receive(6, 0), "six");
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(MsgTest, RemovalWakesWaiters) {
  int ready[2];
  ASSERT_OK(pipe(ready));
  const pid_t child = fork();
  if (child == 0) {
    (void)!write(ready[1], "x", 1);
    const std::string result = Receive(0, 0);
    _exit(result == std::strerror(EIDRM) || result == std::strerror(EINVAL) ? 0 : 1);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_OK(msgctl(id_, IPC_RMID, nullptr));
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_ERRNO(EINVAL, Send(1, "x"));
  close(ready[0]);
  close(ready[1]);
}

TEST_F(MsgTest, SignalInterrupts) {
  guest::Interrupter interrupter(/*restart=*/true);  // msgrcv is not restarted even so
  EXPECT_EQ(Receive(0, 0), std::strerror(EINTR));
}

TEST_F(MsgTest, Permissions) {
  EXPECT_EQ(guest::RunAsNobody([&] {
              msqid_ds info;
              if (Send(1, "x") == 0 || errno != EACCES) return 1;
              if (Receive(0) != std::strerror(EACCES)) return 2;
              if (msgctl(id_, IPC_STAT, &info) == 0 || errno != EACCES) return 3;
              if (msgctl(id_, IPC_RMID, nullptr) == 0 || errno != EPERM) return 4;
              return 0;
            }),
            0);
}

TEST_F(MsgTest, KeysAndProc) {
  const key_t key = 0x6a000000 + getpid();
  EXPECT_ERRNO(ENOENT, msgget(key, 0600));
  const int id = msgget(key, IPC_CREAT | IPC_EXCL | 0640);
  ASSERT_GE(id, 0);
  EXPECT_EQ(msgget(key, 0), id);
  EXPECT_ERRNO(EEXIST, msgget(key, IPC_CREAT | IPC_EXCL));
  const std::string text = guest::ReadFileText("/proc/sysvipc/msg");
  EXPECT_NE(text.find("key      msqid perms"), std::string::npos);
  char wanted[64];
  std::snprintf(wanted, sizeof(wanted), "%10d %10d   640", key, id);
  EXPECT_NE(text.find(wanted), std::string::npos) << text;
  msginfo info;
  EXPECT_GE(msgctl(0, IPC_INFO, reinterpret_cast<msqid_ds*>(&info)), 0);
  EXPECT_GT(info.msgmax, 0);
  EXPECT_OK(msgctl(id, IPC_RMID, nullptr));
}

}  // namespace
