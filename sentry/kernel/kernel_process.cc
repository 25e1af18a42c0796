// Processes the host starts: the container's init and those of `runsc exec`.
#include <sched.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "sentry/kernel/child_wait.h"
#include "sentry/kernel/exec_credentials.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/process_timers.h"
#include "sentry/kernel/task_init.h"
#include "sentry/loader/loader.h"
#include "sentry/vfs/operations.h"

namespace sandbox {
namespace {

std::string PathVariable(const std::vector<std::string>& envv) {
  for (const std::string& entry : envv) {
    if (entry.starts_with("PATH=")) return entry.substr(5);
  }
  return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

// execvp(3): the first entry of PATH that can be opened; EACCES outweighs ENOENT.
Result<std::pair<FileRef, std::string>> FindProgram(Task& task, const CreateProcessArgs& args) {
  const std::string name = args.filename.empty() ? args.argv[0] : args.filename;
  if (name.find('/') != std::string::npos) {
    return std::pair{TRY(OpenForExec(task, task.WalkFromCwd(), name, {})), name};
  }
  const std::string path = PathVariable(args.envv);
  Errno error(ENOENT);
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find(':', at), path.size());
    const std::string folder = path.substr(at, end - at);
    const std::string candidate = folder.empty() ? name : folder + "/" + name;
    auto file = OpenForExec(task, task.WalkFromCwd(), candidate, {});
    if (file.ok()) return std::pair{std::move(*file), candidate};
    if (file.Is(EACCES)) error = file.error();
    at = end + 1;
  }
  return error;
}

CredentialsRef RootCredentials() {
  auto creds = std::make_shared<Credentials>();
  creds->permitted = creds->effective = creds->bounding = kAllCapabilities;
  return creds;
}

}  // namespace

// A new process under construction; what was reserved is given back unless Finish ran.
Result<TaskRef> Kernel::CreateProcess(CreateProcessArgs args) {
  if (args.argv.empty() || args.mounts == nullptr) return Err(EINVAL);
  if (args.creds == nullptr) args.creds = RootCredentials();
  if (args.cgroup == nullptr) args.cgroup = first_cgroup_;
  const CredentialsRef creds = args.creds;
  const PidRef pid = TRY(ReservePid({.creds = *creds,
                                     .nproc_limit = args.limits[RLIMIT_NPROC].soft,
                                     .privileged = true,
                                     .space = args.pids != nullptr ? args.pids : root_pids_,
                                     .cgroup = *args.cgroup}));
  Cleanup release([&] { ReleasePid(*args.cgroup, creds->uid); });
  if (args.fds == nullptr) args.fds = MakeRef<FdTable>();
  auto group = MakeRef<ThreadGroup>(*this, pid, args.cgroup, MakeRef<SignalHandlers>(), args.limits);
  group->oom_score_adj = args.oom_score_adj;
  Task::Init init{.kernel = *this, .group = group, .pid = pid, .creds = creds};
  init.fds = MakeRef<FdTableUsers>(args.fds);
  init.fs = MakeRef<FsContext>(args.mounts->root(), args.mounts->root(), args.umask);
  init.spaces = {.mounts = args.mounts,
                 .uts = args.uts != nullptr ? args.uts : uts_,
                 .ipc = args.ipc != nullptr ? args.ipc : ipc_,
                 .net = NetNamespace::Root(),
                 .cgroup = cgroup_,
                 .pids = pid->numbers.back().space};
  const TaskRef task = MakeRef<Task>(std::move(init));
  task->no_new_privs.store(args.no_new_privs);

  if (!args.cwd.empty()) {
    const Path cwd = TRY(Walk(*task, task->WalkFromCwd(), args.cwd, {.require_dir = true}));
    task->fs().SetCwd(cwd);
  }
  auto [file, filename] = TRY(FindProgram(*task, args));
  task->thread_ = TRY(platform_->NewProcess(*task));
  args.cgroup->Adopt(task->thread_->host_tid());
  Cleanup drop_thread([&] { task->thread_->Exit(); });
  task->mm_ = MakeRef<MemoryManager>(task->thread_->address_space(), platform_->guest_range(), text_cache_);
  LoadArgs load;
  load.file = std::move(file);
  load.filename = filename;
  load.argv = std::move(args.argv);
  load.envv = std::move(args.envv);
  load.base = task->WalkFromCwd();
  load.identify = [&](const FileRef& executable) { return CredentialsForExec(*task, executable); };
  const LoadedImage image = TRY(Load(*task, *task->mm_, *task->thread_, load));
  // Others may look into it before it is started.
  TRY(task->thread_->FlushMemoryOps());
  task->mm_->OpsExecuted(*task->thread_);
  drop_thread.Release();
  release.Release();
  StartLoaded(task, args, image);
  return task;
}

void Kernel::StartLoaded(const TaskRef& task, const CreateProcessArgs& args, const LoadedImage& image) {
  ThreadGroup& group = *task->group_;
  task->creds_ = image.creds;
  task->UpdateLocalIdentity();
  task->ShareSignalState();
  if (args.seccomp != nullptr) task->SetSeccomp({SECCOMP_MODE_FILTER, args.seccomp});
  task->SetName(image.name);
  task->thread_->regs().set_ip(image.entry.value());
  task->thread_->regs().set_sp(image.stack.value());
  group.did_exec.store(true);
  {
    MutexLock tree(tree_mu_);
    ProcessTree::JoinProcessGroupLocked(group, MakeRef<ProcessGroup>(group.pid_, MakeRef<Session>(group.pid_)));
    group.leader_ = task;
    tasks_[task->tid()] = task;
    forks_.fetch_add(1);
    if (PidNamespace& space = group.pid_->space(); args.init && space.init == nullptr) space.init = &group;
    MutexLock lock(group.sig_mu_);
    group.tasks_.push_back(task.get());
    group.leader_task_ = task.get();
    ++group.live_;
    group.unkillable_ = args.init && args.shield_init;
  }
  if (args.terminal != nullptr) (void)JobControl::Acquire(*task, args.terminal, true);
  if (args.limits[RLIMIT_CPU].soft != RLIM_INFINITY) group.timers().FollowCpuLimit();
  if (args.cgroup->frozen()) group.LookAtFreezer();
  if (!args.hold) task->thread_->Start();
}

}  // namespace sandbox
