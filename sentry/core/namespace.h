// Namespace: what all kinds have in common (namespaces(7)): a kind, the number that names it in /proc/PID/ns, and the
// user namespace whose capabilities rule it.
#pragma once

#include <cstdint>

#include "base/ref.h"

namespace sandbox {

class UserNamespace;

class Namespace {
 public:
  // Numbers of the initial namespaces, as Linux's (include/linux/proc_ns.h); others count up from here.
  enum Initial : uint64_t {
    kInitialTime = 4026531834,
    kInitialCgroup,
    kInitialPid,
    kInitialUser,
    kInitialUts,
    kInitialIpc,
    kInitialNet,
    kInitialMount,
  };
  virtual ~Namespace() = default;
  Namespace(const Namespace&) = delete;
  Namespace& operator=(const Namespace&) = delete;

  int kind() const { return kind_; }  // CLONE_NEW*
  uint64_t number() const { return number_; }
  // Null for the initial user namespace only: nobody owns it.
  const RefPtr<UserNamespace>& owner() const { return owner_; }
  // The one around it, for the kinds that nest (NS_GET_PARENT).
  virtual RefPtr<Namespace> outer() const { return nullptr; }

 protected:
  Namespace(int kind, RefPtr<UserNamespace> owner, uint64_t number);  // an initial one
  Namespace(int kind, RefPtr<UserNamespace> owner);

 private:
  const int kind_;
  const uint64_t number_;
  const RefPtr<UserNamespace> owner_;
};

using NamespaceRef = RefPtr<Namespace>;

// The name of a kind in /proc/PID/ns ("mnt").
const char* NamespaceKindName(int kind);

}  // namespace sandbox
