#include "sentry/core/net_namespace.h"

#include <sched.h>

#include "sentry/core/user_namespace.h"

namespace sandbox {

NetNamespace::NetNamespace(InitialTag) : Namespace(CLONE_NEWNET, UserNamespace::Root(), kInitialNet) {}

NetNamespace::NetNamespace(RefPtr<UserNamespace> owner) : Namespace(CLONE_NEWNET, std::move(owner)) {}

const RefPtr<NetNamespace>& NetNamespace::Root() {
  static const RefPtr<NetNamespace> root(new NetNamespace(InitialTag{}));
  return root;
}

}  // namespace sandbox
