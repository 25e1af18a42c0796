// semget(2), semop(2), semtimedop(2), semctl(2), SEM_UNDO, /proc/sysvipc/sem.
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace guest {
namespace {

class SemTest : public testing::Test {
 protected:
  SemTest() : id_(semget(IPC_PRIVATE, 3, IPC_CREAT | 0600)) { EXPECT_GE(id_, 0); }
  ~SemTest() override { (void)semctl(id_, 0, IPC_RMID); }
  int Do(std::vector<sembuf> operations) { return semop(id_, operations.data(), operations.size()); }
  int Value(int index) { return semctl(id_, index, GETVAL); }
  int SetValue(int index, int value) { return semctl(id_, index, SETVAL, value); }
  semid_ds Stat() {
    semid_ds info = {};
    EXPECT_OK(semctl(id_, 0, IPC_STAT, &info));
    return info;
  }
  // Runs `body` in a child that is waited for at the end; returns its pid once it sleeps in `nr`.
  pid_t Sleeper(long nr, const std::function<int()>& body) {
    const pid_t pid = fork();
    if (pid == 0) _exit(body());
    AwaitSleepIn(pid, nr);
    return pid;
  }
  static int Status(pid_t pid) {
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  const int id_;
};

TEST_F(SemTest, AllOrNothing) {
  EXPECT_OK(SetValue(1, 5));
  EXPECT_ERRNO(EAGAIN, Do({{1, -3, 0}, {2, -1, IPC_NOWAIT}}));
  EXPECT_EQ(Value(1), 5);
  EXPECT_OK(Do({{1, -3, 0}, {2, 2, 0}}));
  EXPECT_EQ(Value(1), 2);
  EXPECT_EQ(Value(2), 2);
  EXPECT_EQ(semctl(id_, 2, GETPID), getpid());
  EXPECT_OK(Do({{1, -2, 0}, {1, 0, 0}, {1, 4, 0}})) << "in order";
  EXPECT_EQ(Value(1), 4);
  EXPECT_ERRNO(EAGAIN, Do({{1, 0, IPC_NOWAIT}}));
}

TEST_F(SemTest, OperationErrors) {
  sembuf one = {0, 1, 0};
  EXPECT_ERRNO(EINVAL, semop(id_, &one, 0));
  EXPECT_ERRNO(E2BIG, semop(id_, &one, 501));
  EXPECT_ERRNO(EINVAL, semop(-1, &one, 1));
  EXPECT_ERRNO(EINVAL, semop(0x7fffff00, &one, 1));
  EXPECT_ERRNO(EFAULT, semop(id_, static_cast<sembuf*>(BadPointer()), 1));
  EXPECT_ERRNO(EFBIG, Do({{3, 1, 0}}));
  EXPECT_ERRNO(ERANGE, Do({{0, 32767, 0}, {0, 1, 0}}));
  EXPECT_EQ(Value(0), 0);
  timespec bad = {0, 1'000'000'000};
  EXPECT_ERRNO(EINVAL, semtimedop(id_, &one, 1, &bad));
  bad = {-1, 0};
  EXPECT_ERRNO(EINVAL, semtimedop(id_, &one, 1, &bad));
  EXPECT_ERRNO(EFAULT, semtimedop(id_, &one, 1, static_cast<timespec*>(BadPointer())));
}

TEST_F(SemTest, ControlErrors) {
  EXPECT_ERRNO(ERANGE, SetValue(0, 32768));
  EXPECT_ERRNO(ERANGE, SetValue(0, -1));
  EXPECT_ERRNO(EINVAL, SetValue(3, 0));
  EXPECT_ERRNO(EINVAL, SetValue(-1, 0));
  EXPECT_ERRNO(EINVAL, semctl(id_, 0, 9999));
  EXPECT_ERRNO(EINVAL, semctl(-1, 0, GETVAL));
  for (const int command : {GETVAL, GETPID, GETNCNT, GETZCNT}) EXPECT_ERRNO(EINVAL, semctl(id_, 3, command)) << command;
  for (const int command : {GETALL, SETALL, IPC_STAT, IPC_SET}) {
    EXPECT_ERRNO(EFAULT, semctl(id_, 0, command, BadPointer())) << command;
  }
  std::array<unsigned short, 3> values = {1, 40000, 2};
  EXPECT_ERRNO(ERANGE, semctl(id_, 0, SETALL, values.data()));
  values[1] = 7;
  EXPECT_OK(semctl(id_, 0, SETALL, values.data()));
  values = {};
  EXPECT_OK(semctl(id_, 0, GETALL, values.data()));
  EXPECT_EQ(values, (std::array<unsigned short, 3>{1, 7, 2}));
}

TEST_F(SemTest, KeysAndSizes) {
  const key_t key = 0x5b000000 + getpid();
  EXPECT_ERRNO(ENOENT, semget(key, 1, 0600));
  EXPECT_ERRNO(EINVAL, semget(key, 0, IPC_CREAT | 0600));
  EXPECT_ERRNO(EINVAL, semget(key, -1, IPC_CREAT | 0600));
  EXPECT_ERRNO(EINVAL, semget(key, 1'000'000, IPC_CREAT | 0600));
  const int id = semget(key, 2, IPC_CREAT | IPC_EXCL | 0640);
  ASSERT_GE(id, 0);
  EXPECT_EQ(semget(key, 0, 0), id);
  EXPECT_EQ(semget(key, 2, IPC_CREAT), id);
  EXPECT_ERRNO(EINVAL, semget(key, 3, 0));
  EXPECT_ERRNO(EEXIST, semget(key, 2, IPC_CREAT | IPC_EXCL));
  const std::string text = ReadFileText("/proc/sysvipc/sem");
  char wanted[64];
  std::snprintf(wanted, sizeof(wanted), "%10d %10d   640", key, id);
  EXPECT_NE(text.find(wanted), std::string::npos) << text;
  EXPECT_EQ(RunAsNobody([&] {
              EXPECT_ERRNO(EACCES, semget(key, 0, 0600));
              EXPECT_EQ(semget(key, 0, 0), id) << "nothing asked, nothing refused";
              return 0;
            }),
            0);
  EXPECT_OK(semctl(id, 0, IPC_RMID));
}

TEST_F(SemTest, Permissions) {
  const auto as_nobody = [&] {
    sembuf up = {0, 1, 0}, zero = {0, 0, IPC_NOWAIT};
    semid_ds info;
    EXPECT_ERRNO(EACCES, semop(id_, &up, 1));
    EXPECT_ERRNO(EPERM, semctl(id_, 0, IPC_RMID));
    EXPECT_ERRNO(EACCES, SetValue(0, 1));
    const bool readable = Value(0) >= 0;
    if (readable) {
      EXPECT_OK(semop(id_, &zero, 1)) << "waiting for zero only reads";
    }
    EXPECT_EQ(semctl(id_, 0, IPC_STAT, &info) == 0, readable);
    return readable ? 1 : 0;
  };
  EXPECT_EQ(RunAsNobody(as_nobody), 0);
  semid_ds info = Stat();
  info.sem_perm.mode = 0604;
  EXPECT_OK(semctl(id_, 0, IPC_SET, &info));
  EXPECT_EQ(Stat().sem_perm.mode, 0604);
  EXPECT_EQ(RunAsNobody(as_nobody), 1);
  info.sem_perm.uid = 65534;
  EXPECT_OK(semctl(id_, 0, IPC_SET, &info));
  EXPECT_EQ(RunAsNobody([&] { return semctl(id_, 0, IPC_RMID); }), 0) << "the owner may";
  EXPECT_ERRNO(EINVAL, Value(0));
}

TEST_F(SemTest, TimesAndCounts) {
  semid_ds info = Stat();
  EXPECT_EQ(info.sem_nsems, 3u);
  EXPECT_EQ(info.sem_otime, 0);
  EXPECT_NE(info.sem_ctime, 0);
  EXPECT_OK(Do({{0, 1, 0}}));
  EXPECT_NE(Stat().sem_otime, 0);
  seminfo limits = {};
  EXPECT_GE(semctl(0, 0, IPC_INFO, &limits), 0);
  EXPECT_EQ(limits.semvmx, 32767);
  EXPECT_EQ(limits.semopm, 500);
}

TEST_F(SemTest, WaitersAreCountedWhereTheyWait) {
  EXPECT_OK(SetValue(0, 1));
  // The first operation could go on; the second is what it waits for.
  const pid_t more = Sleeper(SYS_semtimedop, [&] { return Do({{0, -1, 0}, {1, -1, 0}}); });
  EXPECT_EQ(semctl(id_, 0, GETNCNT), 0);
  EXPECT_EQ(semctl(id_, 1, GETNCNT), 1);
  const pid_t zero = Sleeper(SYS_semtimedop, [&] { return Do({{0, 0, 0}}); });
  EXPECT_EQ(semctl(id_, 0, GETZCNT), 1);
  EXPECT_OK(Do({{1, 1, 0}}));
  EXPECT_EQ(Status(more), 0);
  EXPECT_EQ(Status(zero), 0) << "the first waiter made it zero";
  EXPECT_EQ(semctl(id_, 0, GETZCNT) + semctl(id_, 1, GETNCNT), 0);
}

TEST_F(SemTest, TimesOut) {
  sembuf take = {0, -1, 0};
  const timespec soon = {0, 20'000'000}, now = {};
  EXPECT_ERRNO(EAGAIN, semtimedop(id_, &take, 1, &soon));
  EXPECT_ERRNO(EAGAIN, semtimedop(id_, &take, 1, &now));
}

TEST_F(SemTest, RemovalWakesWaiters) {
  const pid_t waiter = Sleeper(SYS_semtimedop, [&] { return Do({{0, -1, 0}}) == -1 ? errno : 0; });
  EXPECT_OK(semctl(id_, 0, IPC_RMID));
  EXPECT_EQ(Status(waiter), EIDRM);
}

TEST_F(SemTest, SignalsEndTheWaitEvenWithRestart) {
  Interrupter interrupter(/*restart=*/true);
  EXPECT_ERRNO(EINTR, Do({{0, -1, 0}}));
}

TEST_F(SemTest, UndoneAtTheEndOfTheProcess) {
  EXPECT_OK(SetValue(0, 5));
  EXPECT_EQ(RunInChild([&] {
              EXPECT_OK(Do({{0, -2, SEM_UNDO}, {1, 3, SEM_UNDO}, {0, -1, 0}}));
              EXPECT_OK(Do({{1, -1, SEM_UNDO}}));
              return 0;
            }),
            0);
  EXPECT_EQ(Value(0), 4);
  EXPECT_EQ(Value(1), 0);
  EXPECT_NE(semctl(id_, 0, GETPID), getpid());
}

TEST_F(SemTest, UndoNeverGoesBelowZeroAndIsForgottenBySetting) {
  EXPECT_EQ(RunInChild([&] {
              EXPECT_OK(Do({{0, 3, SEM_UNDO}, {1, 1, SEM_UNDO}}));
              EXPECT_OK(Do({{0, -2, 0}}));
              EXPECT_OK(SetValue(1, 7));
              return 0;
            }),
            0);
  EXPECT_EQ(Value(0), 0);
  EXPECT_EQ(Value(1), 7);
}

TEST_F(SemTest, UndoWakesWaiters) {
  EXPECT_OK(SetValue(0, 1));
  int pipes[2];
  ASSERT_OK(pipe(pipes));
  const pid_t holder = fork();
  if (holder == 0) {
    char byte;
    close(pipes[1]);
    const int taken = Do({{0, -1, SEM_UNDO}});
    (void)!read(pipes[0], &byte, 1);
    _exit(taken);
  }
  close(pipes[0]);
  AwaitSleepIn(holder, SYS_read);
  const pid_t waiter = Sleeper(SYS_semtimedop, [&] {
    close(pipes[1]);
    return Do({{0, -1, 0}});
  });
  close(pipes[1]);
  EXPECT_EQ(Status(holder), 0);
  EXPECT_EQ(Status(waiter), 0);
}

TEST_F(SemTest, UndoIsNotInheritedByFork) {
  EXPECT_OK(Do({{0, 1, SEM_UNDO}}));
  EXPECT_EQ(RunInChild([] { return 0; }), 0);
  EXPECT_EQ(Value(0), 1);
}

}  // namespace
}  // namespace guest
