// One description of a structure's fields serves reading and writing JSON: `Fields(archive, value)` names each field
// once. Reading is strict about types and remembers where it is, so that an error names the field.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace sandbox::spec {

enum class Presence { kOptional, kRequired };

class JsonReader {
 public:
  JsonReader(const nlohmann::json& json, std::string path, absl::Status& status)
      : json_(json), path_(std::move(path)), status_(status) {
    if (!json_.is_object()) Fail(path_, "must be an object");
  }

  template <typename T>
  void operator()(const char* name, T& field, Presence presence = Presence::kOptional) {
    if (!status_.ok()) return;
    const std::string where = path_.empty() ? name : path_ + "." + name;
    const auto it = json_.find(name);
    if (it == json_.end() || it->is_null()) {
      if (presence == Presence::kRequired) Fail(where, "is required");
      return;
    }
    Read(*it, where, field);
  }

 private:
  void Fail(const std::string& where, const std::string& what) {
    if (status_.ok()) status_ = absl::InvalidArgumentError((where.empty() ? "document" : where) + ": " + what);
  }
  void Read(const nlohmann::json& j, const std::string& where, std::string& out) {
    if (!j.is_string()) return Fail(where, "must be a string");
    out = j.get<std::string>();
    if (out.find('\0') != std::string::npos) Fail(where, "must not contain a NUL character");
  }
  void Read(const nlohmann::json& j, const std::string& where, bool& out) {
    if (!j.is_boolean()) return Fail(where, "must be true or false");
    out = j.get<bool>();
  }
  template <typename T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>) void Read(const nlohmann::json& j,
                                                                        const std::string& where, T& out) {
    if (!j.is_number_integer()) return Fail(where, "must be an integer");
    bool fits;
    if (j.is_number_unsigned()) {
      fits = j.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<T>::max());
    } else {
      const int64_t v = j.get<int64_t>();
      fits = std::is_signed_v<T> && v >= static_cast<int64_t>(std::numeric_limits<T>::min());
    }
    if (!fits) return Fail(where, "is out of range");
    out = j.get<T>();
  }
  template <typename T>
  void Read(const nlohmann::json& j, const std::string& where, std::optional<T>& out) {
    Read(j, where, out.emplace());
  }
  template <typename T>
  void Read(const nlohmann::json& j, const std::string& where, std::vector<T>& out) {
    if (!j.is_array()) return Fail(where, "must be an array");
    out.clear();
    for (size_t i = 0; i < j.size() && status_.ok(); ++i) {
      T item{};
      Read(j[i], where + "[" + std::to_string(i) + "]", item);
      out.push_back(std::move(item));
    }
  }
  template <typename T>
  void Read(const nlohmann::json& j, const std::string& where, std::map<std::string, T>& out) {
    if (!j.is_object()) return Fail(where, "must be an object");
    for (auto it = j.begin(); it != j.end() && status_.ok(); ++it)
      Read(it.value(), where + "." + it.key(), out[it.key()]);
  }
  template <typename T>
  requires std::is_class_v<T>
  void Read(const nlohmann::json& j, const std::string& where, T& out) {
    JsonReader nested(j, where, status_);
    if (status_.ok()) Fields(nested, out);
  }

  const nlohmann::json& json_;
  const std::string path_;
  absl::Status& status_;
};

class JsonWriter {
 public:
  explicit JsonWriter(nlohmann::json& json) : json_(json) { json_ = nlohmann::json::object(); }

  template <typename T>
  void operator()(const char* name, const T& field, Presence = Presence::kOptional) {
    Write(json_[name], field);
  }

 private:
  template <typename T>
  static void Write(nlohmann::json& j, const T& value) {
    if constexpr (std::is_class_v<T> && !std::is_same_v<T, std::string>) {
      JsonWriter nested(j);
      Fields(nested, const_cast<T&>(value));
    } else {
      j = value;
    }
  }
  template <typename T>
  static void Write(nlohmann::json& j, const std::optional<T>& value) {
    if (value) Write(j, *value);
  }
  template <typename T>
  static void Write(nlohmann::json& j, const std::vector<T>& values) {
    j = nlohmann::json::array();
    for (const T& value : values) Write(j.emplace_back(), value);
  }
  template <typename T>
  static void Write(nlohmann::json& j, const std::map<std::string, T>& values) {
    j = nlohmann::json::object();
    for (const auto& [key, value] : values) Write(j[key], value);
  }

  nlohmann::json& json_;
};

}  // namespace sandbox::spec
