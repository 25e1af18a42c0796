#include "sentry/core/cpus.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace sandbox {
namespace {

CpuSet (*cpu_source)(const Context&) = [](const Context&) { return SandboxCpus(); };

constexpr unsigned kMostCpus = 8192;  // Linux: NR_CPUS at most

void Trim(CpuSet& cpus) {
  while (cpus.size() > 1 && cpus.back() == 0) cpus.pop_back();
}

}  // namespace

CpuSet SandboxCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Of the main thread: others may be bound to one processor.
  if (::sched_getaffinity(::getpid(), sizeof(set), &set) != 0) CPU_SET(0, &set);
  CpuSet words(sizeof(set) / sizeof(uint64_t));
  std::memcpy(words.data(), &set, sizeof(set));
  Trim(words);
  return words;
}

CpuSet ParseCpuList(std::string_view text) {
  CpuSet cpus;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end && *at != '\n') {
    unsigned first = 0, last = 0;
    auto number = std::from_chars(at, end, first);
    last = first;
    if (number.ec == std::errc() && number.ptr < end && *number.ptr == '-')
      number = std::from_chars(number.ptr + 1, end, last);
    if (number.ec != std::errc() || last < first || last >= kMostCpus) return {};
    if (cpus.size() <= last / 64) cpus.resize(last / 64 + 1);
    for (unsigned cpu = first; cpu <= last; ++cpu) cpus[cpu / 64] |= uint64_t{1} << (cpu % 64);
    at = number.ptr;
    if (at < end && *at == ',')
      ++at;
    else if (at < end && *at != '\n')
      return {};
  }
  return cpus;
}

CpuSet FirstCpus(CpuSet cpus, int most) {
  for (uint64_t& word : cpus) {
    uint64_t kept = 0;
    for (; word != 0 && most > 0; --most) {
      kept |= word & -word;
      word &= word - 1;
    }
    word = kept;
  }
  Trim(cpus);
  return cpus;
}

int CountOf(const CpuSet& cpus) {
  int count = 0;
  for (const uint64_t word : cpus) count += std::popcount(word);
  return count;
}

CpuSet CpusOf(const Context& context) { return cpu_source(context); }

void SetCpuSource(CpuSet (*source)(const Context& context)) { cpu_source = source; }

int CpuCount(const Context& context) { return std::max(1, CountOf(CpusOf(context))); }

std::string CpuList(int count) { return count == 1 ? "0" : "0-" + std::to_string(count - 1); }

std::string CpuMask(int count) {
  std::string mask;
  for (int group = (count - 1) / 32; group >= 0; --group) {
    const int bits = std::min(count - group * 32, 32);
    const uint64_t word = (uint64_t{1} << bits) - 1;
    char text[16];
    std::snprintf(text, sizeof(text), mask.empty() ? "%lx" : ",%08lx", word);
    mask += text;
  }
  return mask;
}

}  // namespace sandbox
