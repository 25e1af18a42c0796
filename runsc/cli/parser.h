// Declaring a command's options, so that a command's file does not have to parse the library that parses them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace sandbox::cli {

class Parser {
 public:
  explicit Parser(CLI::App& app) : app_(app) {}

  // `names`: "-b,--bundle". What is bound keeps its value, shown as the default when it is not empty, if the option is
  // not given; it must live as long as the command line is used. A list's option is given once for each element.
  Parser& Option(const char* names, std::string& value, const char* help);
  Parser& Option(const char* names, int& value, const char* help);
  Parser& Option(const char* names, std::optional<int64_t>& value, const char* help);
  Parser& Option(const char* names, std::optional<uint64_t>& value, const char* help);
  Parser& Option(const char* names, std::vector<std::string>& values, const char* help);
  Parser& Option(const char* names, std::vector<uint32_t>& values, const char* help);
  // One of these words.
  Parser& Choice(const char* names, std::string& value, std::initializer_list<std::string> allowed, const char* help);
  Parser& Flag(const char* names, bool& value, const char* help);
  // Accepted from callers of other runtimes, with or without a value, and without meaning here.
  Parser& Ignored(const char* names, bool takes_value, const char* help);
  // A word without dashes, in this order. The list takes the rest.
  Parser& Word(const char* name, std::string& value, bool required, const char* help);
  Parser& Words(const char* name, std::vector<std::string>& values, const char* help);
  // Options end at the first word; it and everything behind it is Rest(), options of other programs included.
  Parser& StopAtFirstWord(const char* usage);
  std::vector<std::string> Rest() const;

 private:
  CLI::App& app_;
};

}  // namespace sandbox::cli
