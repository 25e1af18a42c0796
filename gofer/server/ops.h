// The operations of the server, one function each. `in` holds the request behind its header. An operation that finds
// the request malformed returns EPROTO, which closes the channel; any other error is the reply.
#pragma once

#include "base/result.h"
#include "gofer/protocol/messages.h"
#include "gofer/protocol/wire.h"
#include "gofer/server/node.h"
#include "gofer/server/session.h"

namespace sandbox::gofer {

using OpFunction = Result<void>(NodeTable& nodes, const RequestHeader& header, Reader& in, Reply& reply);

// walk_ops.cc
OpFunction OpHello, OpForget, OpWalk, OpLookupMany, OpReadLink;
// attr_ops.cc
OpFunction OpGetAttr, OpSetAttr, OpStatFs, OpGetXattr, OpSetXattr, OpListXattr, OpRemoveXattr, OpSync;
// open_ops.cc
OpFunction OpOpen, OpCreate, OpTmpfile;
// dir_ops.cc
OpFunction OpReadDir, OpPlace, OpLink, OpUnlink, OpRename;

// --- Shared by the operations. ---

// The node and its descriptor; EACCES for kernel file systems.
struct Target {
  NodeRef node;
  SharedFd fd;
};
Result<Target> GetTarget(NodeTable& nodes, Handle handle);
// As GetTarget, and EROFS for a read-only tree.
Result<Target> GetWritable(NodeTable& nodes, Handle handle);
// As GetWritable, and ENOTDIR for what is no directory.
Result<Target> GetWritableDir(NodeTable& nodes, Handle handle);

// A name of one component from the request: EPROTO when malformed, EINVAL when it is no component.
Result<std::string> GetName(Reader& in);

// Makes a node and a handle for the object `name` in `parent` with these attributes.
struct Made {
  NodeRef node;
  Handle handle;
};
Result<Made> MakeHandle(NodeTable& nodes, const Target& parent, const std::string& name, const FileAttr& attr);

// Enough free blocks and inodes that changes which take one or two of them will not fail for want of them.
bool HasRoom(const Target& dir);

// Sets those of the two times that `valid` names (SetAttrRequest::kAtime, kMtime).
Result<void> SetTimes(const Target& target, const SetAttrRequest& want);

// Opens a regular file for donation with exactly `flags`' access mode; EACCES/ELOOP/ENXIO for anything else.
Result<UniqueFd> OpenForGuest(NodeTable& nodes, const Target& file, uint32_t flags);

}  // namespace sandbox::gofer
