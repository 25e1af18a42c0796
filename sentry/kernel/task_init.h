// What a new task starts from. Private to this folder.
#pragma once

#include "sentry/kernel/task.h"

namespace sandbox {

struct Task::Init {
  Kernel& kernel;
  ThreadGroupRef group;
  PidRef pid;
  RefPtr<MemoryManager> mm;
  RefPtr<FdTableUsers> fds;  // this task is counted already
  RefPtr<FsContext> fs;
  Namespaces spaces;
  CredentialsRef creds;
  std::string name;
  SignalSet mask = 0;
};

// A parent waiting in vfork(2) for its child to exec or exit.
struct VforkWait {
  WeakRef<Task> parent;
  std::atomic<bool> done{false};
  void Complete() {
    done.store(true);
    if (TaskRef task = parent.lock()) task->Wake();
  }
};

}  // namespace sandbox
