// What `runsc --version` prints. Engines parse "runsc version X" and "spec: Y".
#pragma once

#include <string>

namespace sandbox::cli {

inline constexpr char kVersion[] = "0.1.0";
inline constexpr char kOciVersion[] = "1.1.0";

inline std::string VersionText() { return std::string("runsc version ") + kVersion + "\nspec: " + kOciVersion; }

}  // namespace sandbox::cli
