// linux.namespaces of a bundle. Of those that are joined by path, the network is the host's; the others are the
// sentry's own, which starts with fresh ones.
#pragma once

#include "absl/status/status.h"
#include "runsc/spec/spec.h"

namespace sandbox {

// InvalidArgument for an unknown type, one that is given twice, a path that is no namespace of its type, and id
// mappings without a user namespace to have them.
absl::Status CheckNamespaces(const spec::Spec& spec);

}  // namespace sandbox
