#include "runsc/cli/parser.h"

#include <memory>

#include "CLI/CLI.hpp"

namespace sandbox::cli {
namespace {

void ShowDefault(CLI::Option* option, const std::string& value) {
  if (!value.empty()) option->capture_default_str();
}

}  // namespace

Parser& Parser::Option(const char* names, std::string& value, const char* help) {
  ShowDefault(app_.add_option(names, value, help), value);
  return *this;
}

Parser& Parser::Option(const char* names, int& value, const char* help) {
  app_.add_option(names, value, help)->check(CLI::NonNegativeNumber)->capture_default_str();
  return *this;
}

Parser& Parser::Option(const char* names, std::optional<int64_t>& value, const char* help) {
  app_.add_option_function<int64_t>(
      names, [&value](const int64_t& given) { value = given; }, help);
  return *this;
}

Parser& Parser::Option(const char* names, std::optional<uint64_t>& value, const char* help) {
  app_.add_option_function<uint64_t>(
      names, [&value](const uint64_t& given) { value = given; }, help);
  return *this;
}

Parser& Parser::Option(const char* names, std::vector<std::string>& values, const char* help) {
  app_.add_option(names, values, help)->allow_extra_args(false);
  return *this;
}

Parser& Parser::Option(const char* names, std::vector<uint32_t>& values, const char* help) {
  app_.add_option(names, values, help)->allow_extra_args(false);
  return *this;
}

Parser& Parser::Choice(const char* names, std::string& value, std::initializer_list<std::string> allowed,
                       const char* help) {
  ShowDefault(app_.add_option(names, value, help)->check(CLI::IsMember(std::vector<std::string>(allowed))), value);
  return *this;
}

Parser& Parser::Flag(const char* names, bool& value, const char* help) {
  app_.add_flag(names, value, help);
  return *this;
}

Parser& Parser::Ignored(const char* names, bool takes_value, const char* help) {
  if (takes_value) {
    app_.add_option_function<std::string>(
        names, [](const std::string&) {}, help);
  } else {
    app_.add_flag_callback(
        names, [] {}, help);
  }
  return *this;
}

Parser& Parser::Word(const char* name, std::string& value, bool required, const char* help) {
  app_.add_option(name, value, help)->required(required);
  return *this;
}

Parser& Parser::Words(const char* name, std::vector<std::string>& values, const char* help) {
  app_.add_option(name, values, help);
  return *this;
}

Parser& Parser::StopAtFirstWord(const char* usage) {
  app_.prefix_command();
  app_.footer(std::string("usage: ") + usage);
  return *this;
}

std::vector<std::string> Parser::Rest() const {
  std::vector<std::string> rest = app_.remaining();
  if (!rest.empty() && rest[0] == "--") rest.erase(rest.begin());
  return rest;
}

}  // namespace sandbox::cli
