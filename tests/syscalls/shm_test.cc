// shmget(2), shmat(2), shmdt(2), shmctl(2); semget(2), semop(2), semctl(2).
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include "tests/util/guest.h"
#include "tests/util/sleeping.h"

namespace {

TEST(ShmTest, SharesBetweenProcessesAndGoesWithTheLastMapping) {
  const int id = shmget(IPC_PRIVATE, 5000, IPC_CREAT | 0600);
  ASSERT_GE(id, 0);
  auto* memory = static_cast<char*>(shmat(id, nullptr, 0));
  ASSERT_NE(memory, reinterpret_cast<char*>(-1));
  EXPECT_EQ(guest::RunInChild([&] {
    memory[4999] = 'c';
    shmid_ds info;
    return shmctl(id, IPC_STAT, &info) == 0 && info.shm_nattch == 2 ? 0 : 1;
  }), 0);
  EXPECT_EQ(memory[4999], 'c');
  shmid_ds info;
  EXPECT_OK(shmctl(id, IPC_STAT, &info));
  EXPECT_EQ(info.shm_nattch, 1u);
  EXPECT_EQ(info.shm_segsz, 5000u);
  EXPECT_EQ(info.shm_cpid, getpid());
  EXPECT_OK(shmctl(id, IPC_RMID, nullptr));
  EXPECT_OK(shmctl(id, IPC_STAT, &info));
  EXPECT_NE(info.shm_perm.mode & SHM_DEST, 0);
  EXPECT_OK(shmdt(memory));
  EXPECT_ERRNO(EINVAL, shmctl(id, IPC_STAT, &info));
  EXPECT_ERRNO(EINVAL, shmdt(memory));
}

TEST(ShmTest, KeysAndErrors) {
  const key_t key = 0x5a000000 + getpid();
  EXPECT_ERRNO(ENOENT, shmget(key, 4096, 0600));
  const int id = shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600);
  ASSERT_GE(id, 0);
  EXPECT_ERRNO(EEXIST, shmget(key, 4096, IPC_CREAT | IPC_EXCL | 0600));
  EXPECT_EQ(shmget(key, 0, 0), id);
  EXPECT_ERRNO(EINVAL, shmget(key, 8192, 0));
  EXPECT_ERRNO(EINVAL, shmget(IPC_PRIVATE, 0, IPC_CREAT));
  EXPECT_ERRNO(EINVAL, reinterpret_cast<long>(shmat(id, reinterpret_cast<void*>(0x1001), 0)));
  EXPECT_ERRNO(EFAULT, shmctl(id, IPC_STAT, static_cast<shmid_ds*>(guest::BadPointer())));
  EXPECT_OK(shmctl(id, IPC_RMID, nullptr));
}

TEST(SemTest, ValuesAndAtomicity) {
  const int id = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600);
  ASSERT_GE(id, 0);
  EXPECT_OK(semctl(id, 1, SETVAL, 5));
  EXPECT_EQ(semctl(id, 1, GETVAL), 5);
  sembuf operations[2] = {{1, -3, 0}, {2, -1, IPC_NOWAIT}};
  EXPECT_ERRNO(EAGAIN, semop(id, operations, 2));
  EXPECT_EQ(semctl(id, 1, GETVAL), 5) << "all or nothing";
  operations[1].sem_op = 2;
  EXPECT_OK(semop(id, operations, 2));
  EXPECT_EQ(semctl(id, 1, GETVAL), 2);
  EXPECT_EQ(semctl(id, 2, GETVAL), 2);
  EXPECT_EQ(semctl(id, 2, GETPID), getpid());
  sembuf beyond = {3, 1, 0};
  EXPECT_ERRNO(EFBIG, semop(id, &beyond, 1));
  EXPECT_ERRNO(ERANGE, semctl(id, 0, SETVAL, 40000));
  EXPECT_ERRNO(EFAULT, semop(id, static_cast<sembuf*>(guest::BadPointer()), 1));
  EXPECT_OK(semctl(id, 0, IPC_RMID));
  EXPECT_ERRNO(EINVAL, semctl(id, 0, GETVAL));
}

TEST(SemTest, WaitsTimesOutAndUndoes) {
  const int id = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  ASSERT_GE(id, 0);
  sembuf take = {0, -1, 0};
  const timespec soon = {0, 20'000'000};
  EXPECT_ERRNO(EAGAIN, semtimedop(id, &take, 1, &soon));
  EXPECT_OK(semctl(id, 0, SETVAL, 1));
  EXPECT_EQ(guest::RunInChild([&] {
    sembuf undone = {0, -1, SEM_UNDO};
    return semop(id, &undone, 1) == 0 ? 0 : 1;
  }), 0);
  EXPECT_EQ(semctl(id, 0, GETVAL), 1) << "given back at the child's end";
  EXPECT_OK(semctl(id, 0, SETVAL, 0));
  EXPECT_EQ(guest::RunInChild([&] {
              const pid_t waiter = getpid();
              if (fork() == 0) {
                guest::AwaitSleepIn(waiter, SYS_semtimedop);
                sembuf give = {0, 1, 0};
                semop(id, &give, 1);
                _exit(0);
              }
              sembuf waiting = {0, -1, 0};
              return semop(id, &waiting, 1) == 0 ? 0 : 1;
            }),
            0);
  EXPECT_OK(semctl(id, 0, IPC_RMID));
}

}  // namespace
