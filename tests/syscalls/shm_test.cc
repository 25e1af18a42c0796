// shmget(2), shmat(2), shmdt(2), shmctl(2).
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "tests/util/guest.h"

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
            }),
            0);
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

}  // namespace
