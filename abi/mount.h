// linux/mount.h of Linux 6.18, newer than the C library's headers.
#pragma once

#include <cstdint>

namespace sandbox::abi {

struct MountAttr {  // struct mount_attr
  uint64_t attr_set;
  uint64_t attr_clr;
  uint64_t propagation;
  uint64_t userns_fd;
};

struct MountIdRequest {  // struct mnt_id_req
  uint32_t size;
  uint32_t spare;
  uint64_t mount_id;
  uint64_t param;
  uint64_t namespace_id;
};
inline constexpr uint32_t kMountIdRequestSize0 = 24, kMountIdRequestSize1 = 32;

struct StatMount {  // struct statmount, before its strings
  uint32_t size;
  uint32_t options;  // this and the other names of strings: offsets into them
  uint64_t mask;
  uint32_t device_major, device_minor;
  uint64_t magic;
  uint32_t fs_flags;
  uint32_t fs_type;
  uint64_t id, parent_id;
  uint32_t old_id, old_parent_id;
  uint64_t attributes;
  uint64_t propagation;
  uint64_t peer_group, master, propagate_from;
  uint32_t root, point;
  uint64_t namespace_id;
  uint32_t fs_subtype;
  uint32_t source;
  uint32_t option_count, option_array;
  uint32_t security_option_count, security_option_array;
  uint64_t supported_mask;
  uint64_t spare[45];
};
static_assert(sizeof(StatMount) == 512);

enum StatMountMask : uint64_t {
  kStatMountSbBasic = 0x1,
  kStatMountMntBasic = 0x2,
  kStatMountPropagateFrom = 0x4,
  kStatMountMntRoot = 0x8,
  kStatMountMntPoint = 0x10,
  kStatMountFsType = 0x20,
  kStatMountMntNsId = 0x40,
  kStatMountMntOpts = 0x80,
  kStatMountFsSubtype = 0x100,
  kStatMountSbSource = 0x200,
  kStatMountSupportedMask = 0x1000,
};
inline constexpr uint64_t kListMountRoot = ~uint64_t{0};  // LSMT_ROOT
inline constexpr uint32_t kListMountReverse = 1;

inline constexpr uint64_t kMountAttrRdonly = 0x1, kMountAttrNosuid = 0x2, kMountAttrNodev = 0x4, kMountAttrNoexec = 0x8,
                          kMountAttrAtime = 0x70, kMountAttrNoatime = 0x10, kMountAttrStrictatime = 0x20,
                          kMountAttrNodiratime = 0x80, kMountAttrIdmap = 0x100000, kMountAttrNosymfollow = 0x200000;

}  // namespace sandbox::abi
