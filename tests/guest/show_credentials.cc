// Prints who it runs as: "RUID EUID SUID RGID EGID SGID PERMITTED EFFECTIVE AMBIENT SECURE", sets in hexadecimal.
#include <linux/capability.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>

int main() {
  uid_t ruid, euid, suid;
  gid_t rgid, egid, sgid;
  if (getresuid(&ruid, &euid, &suid) != 0 || getresgid(&rgid, &egid, &sgid) != 0) return 1;
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return 1;
  uint64_t ambient = 0;
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 1) ambient |= uint64_t{1} << capability;
  }
  const auto join = [](uint32_t low, uint32_t high) { return static_cast<unsigned long>(low | uint64_t{high} << 32); };
  std::printf("%u %u %u %u %u %u %lx %lx %lx %lu\n", ruid, euid, suid, rgid, egid, sgid,
              join(data[0].permitted, data[1].permitted), join(data[0].effective, data[1].effective),
              static_cast<unsigned long>(ambient), getauxval(AT_SECURE));
  return 0;
}
