// The one list of lock ranks, outermost first. A thread holding a mutex may take only mutexes further down. Locks of
// equal rank may nest only where their declaration says in which order (for example by address).
#pragma once

namespace sandbox {

enum class LockRank : int {
  kControl = 10,       // runsc control requests, container table
  kFilePosition = 15,  // position of one file description: held across a whole transfer, whatever that takes
  kTaskTree = 20,      // process tree, sessions, process groups, pid table (Linux: tasklist_lock)
  kThreadGroup = 30,   // one thread group's signal and job-control state (Linux: siglock)
  kTask = 40,          // one task's own state
  kTimer = 50,         // timers of a thread group
  kMm = 60,            // list of mappings of one address space
  kFdTable = 70,
  kFsContext = 80,  // cwd, root, umask
  kMount = 90,      // mount tree
  kEpoll = 95,      // one epoll instance
  kRename = 100,    // per file system rename lock
  kDentry = 110,
  kInode = 120,      // parent directory before child
  kFile = 130,       // state of one file description
  kFileLocks = 140,  // record locks
  kSocket = 150,
  kPipe = 160,
  kTty = 170,
  kIpc = 180,
  kFutex = 190,         // futex bucket
  kHostNotifier = 195,  // dispatch of host readiness
  kWaitQueue = 200,
  kGofer = 210,     // gofer connection
  kPlatform = 220,  // platform: thread and listener tables
  kPlatformThread = 230,
  kLeaf = 1000,  // takes nothing else while held
};

}  // namespace sandbox
