#include "platform/systrap/platform.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <ctime>

#include "base/log.h"
#include "platform/api/registry.h"
#include "platform/stub/stub.h"
#include "platform/systrap/filter.h"
#include "platform/systrap/host_rules.h"
#include "platform/systrap/rewriter/rewriter.h"
#include "platform/systrap/segment_bases.h"

namespace sandbox::platform::systrap {
namespace {

// How long a thread may take to leave guest code. Only one that masked the control signal takes longer, or one on a
// machine that is in serious trouble.
constexpr int64_t kInterruptLimitNs = 10'000'000'000;

const PlatformRegistration registration("systrap", &StubPlatform::Create, kHostRules);

}  // namespace

Result<std::unique_ptr<Platform>> StubPlatform::Create(const PlatformOptions& options) {
  auto zygote = TRY(Zygote::Create(BuildStubFilter(options.lanes), options.inputs,
                                   {.socket = {}, .clock_page = options.clock_page, .host_proc = options.host_proc}));
  std::unique_ptr<StubPlatform> platform(new StubPlatform(std::move(zygote), options));
  return std::unique_ptr<Platform>(std::move(platform));
}

StubPlatform::StubPlatform(std::unique_ptr<Zygote> zygote, const PlatformOptions& options)
    : zygote_(std::move(zygote)),
      inputs_(options.inputs),
      rewriter_(UsableSegmentBases().readable ? MakeTextRewriter(stub::PlacedAddress(&stub::StubFastEntry)) : nullptr),
      workers_(options.after_trap, shared_watch_),
      pool_(*zygote_, options.pool_size) {
  const auto reap = [](void* self) -> void* {
    static_cast<StubPlatform*>(self)->Reap();
    return nullptr;
  };
  const auto watch = [](void* self) -> void* {
    static_cast<StubPlatform*>(self)->Watch();
    return nullptr;
  };
  CHECK(pthread_create(&reaper_, nullptr, reap, this) == 0);
  CHECK(pthread_create(&watchdog_, nullptr, watch, this) == 0);
}

// Everything dies with the zygote's process group; handlers are not called any more.
StubPlatform::~StubPlatform() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    watch_.notify_all();
  }
  for (const RefPtr<GuestThread>& thread : AllThreads()) thread->Exit();
  zygote_->Shutdown();
  (void)::kill(-zygote_->pid(), SIGKILL);
  CHECK(pthread_join(reaper_, nullptr) == 0);
  CHECK(pthread_join(watchdog_, nullptr) == 0);
  monitor_.Shutdown();
  workers_.Shutdown();
}

GuestRange StubPlatform::guest_range() const { return {GuestAddr(stub::kGuestStart), GuestAddr(stub::kRegionStart)}; }

Result<std::unique_ptr<Thread>> StubPlatform::NewProcess(TrapHandler& handler) {
  auto [stub, report] = TRY(pool_.Take());
  const auto process = MakeRef<HostProcess>(report.pid);
  AddProcess(process);
  // It may have died in the pool, and been collected before the line above.
  if (!process->HasThread(report.pid)) return Err(EAGAIN);
  const auto listener = MakeRef<Listener>(std::move(report.listener), monitor_, spin_);
  const auto space = MakeRef<StubSpace>(0, *zygote_);
  space->AddProcess(process);
  const auto thread = MakeRef<GuestThread>(*this, listener, stub.page(), space, handler, 0);
  thread->Adopt(process, stub.TakeSocket());
  listener->Add(report.pid, thread);
  auto facade = std::make_unique<StubThread>(thread);
  if (fp_state_size_.load() == 0) {
    // The stub is still as the zygote made it, so this is the kernel's word.
    const arch::FpLayout layout = arch::LayoutOf(TRY(thread->GetFpState()));
    fp_features_.store(layout.features);
    fp_state_size_.store(layout.state_size);
  }
  return std::unique_ptr<Thread>(std::move(facade));
}

void StubPlatform::AddProcess(const RefPtr<HostProcess>& process) {
  MutexLock lock(mu_);
  std::erase(expected_, process);
  processes_[process->pid()] = process;
}

void StubPlatform::ExpectProcess(RefPtr<HostProcess> process) {
  MutexLock lock(mu_);
  expected_.push_back(std::move(process));
}

void StubPlatform::ForgetProcess(const HostProcess* process) {
  MutexLock lock(mu_);
  std::erase_if(expected_, [&](const auto& p) { return p.get() == process; });
}

std::vector<RefPtr<GuestThread>> StubPlatform::AllThreads() {
  std::vector<RefPtr<HostProcess>> processes;
  {
    MutexLock lock(mu_);
    processes = expected_;
    for (const auto& [pid, process] : processes_) processes.push_back(process);
  }
  std::vector<RefPtr<GuestThread>> threads;
  for (const auto& process : processes) {
    for (auto& thread : process->Threads()) threads.push_back(std::move(thread));
  }
  return threads;
}

// Waits for stubs only (their process group is the zygote's), so other children of the sentry are left alone. A dead
// process is first looked at and collected later, because its number must not be reused while somebody acts on it.
void StubPlatform::Reap() {
  for (;;) {
    siginfo_t info = {};
    if (::waitid(P_PGID, zygote_->pid(), &info, WEXITED | WSTOPPED | WNOWAIT | __WALL) != 0) {
      if (errno == EINTR) continue;
      return;  // ECHILD: the zygote and all stubs are gone
    }
    if (info.si_code == CLD_STOPPED) {
      // Guests stop in the sentry; a stub that the host stopped would only hang.
      (void)::waitid(P_PID, info.si_pid, &info, WSTOPPED | WNOHANG);
      (void)::kill(info.si_pid, SIGCONT);
      continue;
    }
    Collect(info.si_pid, info.si_code, info.si_status);
  }
}

void StubPlatform::Collect(pid_t pid, int status_code, int status) {
  const auto collect = [pid] {
    siginfo_t info = {};
    (void)::waitid(P_PID, pid, &info, WEXITED | __WALL);
  };
  RefPtr<HostProcess> process;
  bool collected = false;
  {
    MutexLock lock(mu_);
    const auto entry = processes_.find(pid);
    if (entry == processes_.end()) {
      // The zygote, a pool stub, or a child before its hello. Collected under the lock, so that AddProcess knows.
      collect();
      collected = true;
      const auto unborn =
          std::find_if(expected_.begin(), expected_.end(), [&](const auto& p) { return p->claimed() == pid; });
      if (unborn != expected_.end()) process = *unborn;
    } else {
      process = std::move(entry->second);
      processes_.erase(entry);
    }
  }
  if (process == nullptr) return;
  process->Retire();
  if (!collected) collect();
  const int signal = status_code == CLD_EXITED ? 0 : status;
  for (const RefPtr<GuestThread>& thread : process->Threads()) thread->MarkDead(signal);
}

void StubPlatform::WatchInterrupt() {
  MutexLock lock(mu_);
  if (watching_) return;
  watching_ = true;
  watch_.notify_all();
}

// Waits for an interrupt, and then for as long as it may take. False when the platform ends.
bool StubPlatform::AwaitOverdue() {
  std::unique_lock<std::mutex> lock(mu_.native());
  while (!watching_ && !stopping_) watch_.wait(lock);
  const auto limit = std::chrono::steady_clock::now() + std::chrono::nanoseconds(kInterruptLimitNs + 1'000'000'000);
  while (!stopping_ && watch_.wait_until(lock, limit) != std::cv_status::timeout) {
  }
  watching_ = false;
  return !stopping_;
}

// Sleeps without limit while no interrupt was sent, so that an idle sandbox is idle.
void StubPlatform::Watch() {
  while (AwaitOverdue()) {
    const int64_t now = MonotonicNs();
    bool more = false;
    for (const RefPtr<GuestThread>& thread : AllThreads()) {
      if (thread->InterruptOverdue(now - kInterruptLimitNs)) thread->KillHostile("does not answer interrupts");
      more |= thread->InterruptOverdue(now);
    }
    if (more) WatchInterrupt();
  }
}

}  // namespace sandbox::platform::systrap
