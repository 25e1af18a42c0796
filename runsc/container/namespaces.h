// linux.namespaces of a bundle. On the host the container's process is in them; what guests see is the host's for the
// network and the time, and the sentry's own otherwise.
#pragma once

#include "absl/status/status.h"
#include "runsc/spec/spec.h"

namespace sandbox {

// InvalidArgument for an unknown type, one that is given twice, a path that is no namespace of its type, and id
// mappings without a user namespace to have them.
absl::Status CheckNamespaces(const spec::Spec& spec);

// Fills host and domain name where the bundle gives none: those of the namespace whose path it names, or the runtime's,
// which a new namespace starts with (uts_namespaces(7)).
absl::Status CompleteNames(spec::Spec& spec);

}  // namespace sandbox
