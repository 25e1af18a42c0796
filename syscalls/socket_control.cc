#include "syscalls/socket_control.h"

#include <linux/capability.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "abi/socket.h"
#include "sentry/kernel/kernel.h"
#include "sentry/kernel/pidfd.h"

namespace sandbox::syscalls {
namespace {

constexpr size_t kMaxControl = 64 * 1024;  // Linux: net.core.optmem_max
constexpr size_t kMaxRights = 253;         // Linux: SCM_MAX_FD
constexpr size_t kHeader = CMSG_LEN(0);

Result<void> ReadRights(Task& task, const char* data, size_t size, SocketControl& control) {
  const size_t count = size / sizeof(int32_t);
  if (control.rights.size() + count > kMaxRights) return Err(EINVAL);
  for (size_t i = 0; i < count; ++i) {
    int32_t number;
    std::memcpy(&number, data + i * sizeof(number), sizeof(number));
    control.rights.push_back(TRY(task.fds().GetAny(Fd(number))));
  }
  return {};
}

// Linux: scm_check_creds.
// And what they are inside the sentry.
Result<void> CheckCredentials(Task& task, ucred& claim) {
  const Credentials& creds = task.creds();
  claim.uid = TRY(creds.ActualUid(claim.uid));
  claim.gid = TRY(creds.ActualGid(claim.gid));
  const bool pid_ok = claim.pid == task.group().pid()->own() || creds.HasIn(*task.pid_space().owner(), CAP_SYS_ADMIN);
  const bool uid_ok =
      claim.uid == creds.uid || claim.uid == creds.euid || claim.uid == creds.suid || creds.HasOwn(CAP_SETUID);
  const bool gid_ok =
      claim.gid == creds.gid || claim.gid == creds.egid || claim.gid == creds.sgid || creds.HasOwn(CAP_SETGID);
  if (!pid_ok || !uid_ok || !gid_ok) return Err(EPERM);
  claim.pid = task.ActualPid(claim.pid);
  const bool alive = task.kernel().FindTask(claim.pid) != nullptr || task.kernel().FindGroup(claim.pid) != nullptr;
  return alive ? Result<void>() : Err(ESRCH);
}

Result<void> ReadItem(Task& task, const cmsghdr& header, const char* data, SocketControl& control) {
  const size_t size = header.cmsg_len - kHeader;
  if (header.cmsg_level != SOL_SOCKET) {
    control.items.push_back({header.cmsg_level, header.cmsg_type, std::string(data, size)});
    return {};
  }
  if (header.cmsg_type == SCM_RIGHTS) return ReadRights(task, data, size, control);
  if (header.cmsg_type != SCM_CREDENTIALS || size != sizeof(ucred)) return Err(EINVAL);
  ucred claim;
  std::memcpy(&claim, data, sizeof(claim));
  TRY(CheckCredentials(task, claim));
  control.credentials = claim;
  return {};
}

// Builds the guest's control buffer, dropping what does not fit.
class ControlWriter {
 public:
  explicit ControlWriter(uint64_t size) : room_(size) {}

  // Bytes of payload the next item may have.
  size_t PayloadRoom() const { return room_ > bytes_.size() + kHeader ? room_ - bytes_.size() - kHeader : 0; }
  bool Put(int level, int type, const void* payload, size_t size) {
    const bool fits = size <= PayloadRoom();
    size = std::min(size, PayloadRoom());
    if (room_ < bytes_.size() + kHeader) return false;
    cmsghdr header{};
    header.cmsg_len = kHeader + size;
    header.cmsg_level = level;
    header.cmsg_type = type;
    Append(&header, sizeof(header));
    Append(payload, size);
    bytes_.resize(std::min<size_t>(room_, CMSG_ALIGN(bytes_.size())));
    return fits;
  }
  const std::vector<char>& bytes() const { return bytes_; }

 private:
  void Append(const void* data, size_t size) {
    const char* p = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), p, p + size);
  }
  const size_t room_;
  std::vector<char> bytes_;
};

// Installs as many descriptors as fit. Those that do not are closed with the message.
bool PutRights(Task& task, ControlWriter& writer, const std::vector<FileRef>& rights, bool close_on_exec) {
  std::vector<int32_t> numbers;
  const size_t count = std::min(rights.size(), writer.PayloadRoom() / sizeof(int32_t));
  for (size_t i = 0; i < count; ++i) {
    const auto fd = task.fds().Install(task, rights[i], close_on_exec);
    if (!fd.ok()) break;
    numbers.push_back(fd->number());
  }
  if (!numbers.empty()) writer.Put(SOL_SOCKET, SCM_RIGHTS, numbers.data(), numbers.size() * sizeof(int32_t));
  return numbers.size() == rights.size();
}

// A pidfd of the sender, or in its place the errno, as Linux has it.
bool PutProcess(Task& task, ControlWriter& writer, int32_t pid) {
  if (writer.PayloadRoom() < sizeof(int32_t)) return false;
  const auto group = task.kernel().FindGroup(pid);
  int32_t number = -ESRCH;
  if (group != nullptr && task.ShownPid(pid) != 0) {
    const auto fd = task.fds().Install(task, MakeRef<PidFd>(group, O_RDWR), true);
    number = fd.ok() ? fd->number() : -fd.error().value();
  }
  return writer.Put(SOL_SOCKET, abi::kScmPidfd, &number, sizeof(number));
}

}  // namespace

Result<SocketControl> ReadControl(Task& task, GuestAddr from, uint64_t size) {
  SocketControl control;
  if (size < sizeof(cmsghdr)) return control;
  if (size > kMaxControl) return Err(ENOBUFS);
  std::vector<char> bytes(size);
  TRY(task.memory().Read(from, bytes.data(), size));
  for (size_t at = 0; at + sizeof(cmsghdr) <= size;) {
    cmsghdr header;
    std::memcpy(&header, bytes.data() + at, sizeof(header));
    if (header.cmsg_len < sizeof(header) || header.cmsg_len > size - at) return Err(EINVAL);
    TRY(ReadItem(task, header, bytes.data() + at + kHeader, control));
    at += CMSG_ALIGN(header.cmsg_len);
  }
  return control;
}

Result<uint64_t> WriteControl(Task& task, GuestAddr to, uint64_t size, const SocketControl& control, bool close_on_exec,
                              int* flags) {
  ControlWriter writer(std::min<uint64_t>(size, kMaxControl));
  bool complete = true;
  for (const auto& item : control.items) {
    complete &= writer.Put(item.level, item.type, item.payload.data(), item.payload.size());
  }
  if (control.credentials) {
    const ucred& from = *control.credentials;
    const ucred shown{task.ShownPid(from.pid), task.creds().ShownUid(from.uid), task.creds().ShownGid(from.gid)};
    complete &= writer.Put(SOL_SOCKET, SCM_CREDENTIALS, &shown, sizeof(shown));
  }
  if (!control.rights.empty()) complete &= PutRights(task, writer, control.rights, close_on_exec);
  if (control.process) complete &= PutProcess(task, writer, *control.process);
  if (!complete) *flags |= MSG_CTRUNC;
  TRY(task.memory().Write(to, writer.bytes().data(), writer.bytes().size()));
  return writer.bytes().size();
}

}  // namespace sandbox::syscalls
