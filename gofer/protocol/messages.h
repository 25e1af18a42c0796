// The messages between the sentry's gofer client and the gofer server: one request and one reply a
// round trip, each one SOCK_SEQPACKET datagram of at most kMaxMessage bytes.
//
// A message is a fixed header, the operation's fixed fields, then strings and repeated records.
// Both ends decode with Reader (wire.h), which never reads past the datagram: the server treats the
// client as hostile, and the client trusts no size or type the server sends. At most one descriptor
// travels with a reply (kMaxDescriptors with kTmpfile's), and one with the requests kReopenMemory and
// kBindPort; what comes with any other request is closed unseen.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sandbox::gofer {

inline constexpr size_t kMaxMessage = 64 * 1024;
inline constexpr size_t kMaxName = 255;     // NAME_MAX: bytes of one component
inline constexpr size_t kMaxTarget = 4095;  // PATH_MAX without the NUL: a symbolic link's text
inline constexpr size_t kMaxXattrName = 255;
inline constexpr size_t kMaxXattrValue = 60 * 1024;  // of Linux's 64 KiB: must fit one message
inline constexpr size_t kMaxWalk = 64;               // components of one walk, or names of one lookup batch
inline constexpr size_t kMaxForget = 4096;           // handles of one forget
inline constexpr size_t kMaxAddress = 28;            // sockaddr_in6
inline constexpr size_t kMaxDeferred = 1024;         // bytes of one deferred request
inline constexpr size_t kMaxDescriptors = 16;        // beside one message
inline constexpr uint32_t kProtocolVersion = 3;

// Names an object on the server. Zero is never one; a stale or forged value gets EBADF.
using Handle = uint64_t;

enum class Op : uint32_t {
  kHello = 1,   // version -> trees
  kNewChannel,  // -> one more socket of the same session
  kNewJournal,  // -> the socket for deferred requests (below); once a session
  kSettle,      // nothing but RequestHeader::after
  kForget,      // handles the client dropped; no reply
  kWalk,        // names, one below the other -> an Entry for each that exists
  kLookupMany,  // names in one directory -> an Entry or an error for each
  kGetAttr,
  kSetAttr,
  kOpen,     // -> descriptor with exactly the access asked for
  kCreate,   // any type; regular files come back opened
  kTmpfile,  // O_TMPFILE; `flags`: how many, at most kMaxDescriptors
  kPlace,    // gives a file of kTmpfile its first name
  kLink,
  kUnlink,
  kRename,
  kReadLink,
  kReadDir,
  kStatFs,
  kGetXattr,
  kSetXattr,
  kListXattr,
  kRemoveXattr,
  kSync,          // fsync of what has no donated descriptor (directories)
  kReopenMemory,  // a memory file of the sentry, open for reading and writing -> the same, open for
                  // reading only
  kBindPort,      // a socket and the IPv4 or IPv6 address to bind it to, of a port below kFirstFreePort
  kMaxOp = kBindPort,
};

inline constexpr uint16_t kFirstFreePort = 1024;  // Linux: PROT_SOCK

// Deferred requests: kUnlink, kRename, kLink, kPlace and kSetAttr may also be sent over the journal, where they get no
// reply and are carried out in order. The client counts what it sent there and says in every other request how many of
// those must be done first (`after`), so that no answer is older than a change that the client knows of. The server
// answers how many have failed.
struct RequestHeader {
  Op op;
  uint32_t flags;          // per operation
  Handle handle;           // the object (or directory) operated on
  uint32_t processor = 0;  // where the client waits, plus one; 0: not said. A hint
  uint32_t unused = 0;
  uint64_t after = 0;  // deferred requests to be done before this one
};

struct ReplyHeader {
  Op op;
  int32_t error;  // 0 or a Linux errno; on error nothing follows, except for kWalk and kLookupMany
  uint32_t descriptors;
  uint32_t count;       // records that follow, where the operation has records
  uint32_t failed = 0;  // deferred requests of the session that have failed so far
  uint32_t room = 0;    // kCreate, kTmpfile, kPlace, kLink, kUnlink, kRename: the file system is far from full
};

// Attributes of one object as statx(2) reports them.
struct FileAttr {
  uint64_t dev, ino, size, blocks, rdev, attributes, attributes_mask;
  int64_t atime_s, mtime_s, ctime_s, btime_s;
  uint32_t atime_ns, mtime_ns, ctime_ns, btime_ns;
  uint32_t mode, nlink, uid, gid, blksize, has_btime;
};

// One object found: followed by its target string (empty unless it is a symbolic link).
struct Entry {
  Handle handle;
  int32_t error;  // kLookupMany: errno of this name, and nothing else is valid
  uint32_t reserved;
  FileAttr attr;
};

// kHello's records.
struct TreeInfo {
  Handle root;
  uint32_t read_only;
  uint32_t reserved;
  FileAttr attr;
};

// kWalk: `flags` of the header. With kWalkOpen a uint32 of open flags follows the names, and when
// the last component is a regular file that can be opened so, the reply carries its descriptor.
inline constexpr uint32_t kWalkOpen = 1;

struct SetAttrRequest {
  enum : uint32_t { kMode = 1, kUid = 2, kGid = 4, kSize = 8, kAtime = 16, kMtime = 32, kAll = 63 };
  uint64_t size;
  int64_t atime_s, mtime_s;
  uint32_t atime_ns, mtime_ns;
  uint32_t valid, mode, uid, gid;
};

// Operations that change a directory answer its attributes after the change (both directories' for
// kRename), so that the client's cached ones stay right without another round trip.

// kCreate: followed by the name and the target. Reply: Entry, "", directory's FileAttr. kTmpfile: followed by nothing.
// Reply: `count` of (Entry, ""), possibly fewer than asked for, with a descriptor each.
struct CreateRequest {
  uint64_t rdev;
  uint32_t mode, uid, gid;
  uint32_t open_flags;  // access mode of the descriptor, for regular files
};

// kPlace: followed by the name. The file gets `times` (it was made earlier). A directory that hands down an access
// control list refuses with EOPNOTSUPP, unless `flags` says that this was asked before: the file does not have it.
// Reply as of kLink.
inline constexpr uint32_t kPlaceProven = 1;
struct PlaceRequest {
  Handle file;
  int64_t seconds;
  uint32_t nanoseconds;
  uint32_t valid;  // which of SetAttrRequest::kAtime and kMtime
};

// kLink: request is the target's Handle and the name. Reply: FileAttr of the target, then of the
// directory.

// kUnlink: followed by the name. A victim that is still in use keeps its descriptor on the server
// (see node.h).
struct UnlinkRequest {
  Handle victim;  // 0 = nobody uses it
  uint32_t is_dir;
  uint32_t reserved;
};

// kRename: followed by the old and the new name. The header's handle is the old directory.
struct RenameRequest {
  Handle new_dir;
  Handle moved;     // what old name refers to; its handle stays valid under the new name
  Handle replaced;  // what new name refers to, if it is in use; 0 = none
  uint32_t flags;   // RENAME_NOREPLACE, RENAME_EXCHANGE
  uint32_t reserved;
};

// kReadDir: request is a uint64 position (0 = start). Reply: DirReply, then `count` of DirRecord +
// name.
struct DirReply {
  uint64_t next;  // position to continue from
  uint32_t end;   // nothing after this batch
  uint32_t reserved;
};
struct DirRecord {
  uint64_t ino;
  uint32_t type;  // DT_*
  uint32_t reserved;
};

struct StatFsReply {
  uint64_t type, block_size, blocks, blocks_free, blocks_available, files, files_free, name_max, flags;
};

}  // namespace sandbox::gofer
