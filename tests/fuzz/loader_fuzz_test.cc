// Programs that a guest hands to execve(2): ELF files and scripts.
#include <elf.h>
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <iterator>

#include "sentry/loader/elf_file.h"
#include "sentry/loader/script.h"
#include "tests/fuzz/fuzz.h"

namespace sandbox::loader {
namespace {

constexpr uint64_t kUserEnd = 0x7ffffffff000;

std::string FirstBytes(const char* path, size_t size) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(size, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

Result<ElfFile> Parse(const std::string& bytes) {
  return ParseElf({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

// What the mapping code relies on without looking again.
void CheckInvariants(const ElfFile& elf) {
  ASSERT_FALSE(elf.segments.empty());
  uint64_t end = 0;
  for (const Segment& segment : elf.segments) {
    ASSERT_LE(end, segment.address);
    ASSERT_LE(segment.file_size, segment.memory_size);
    ASSERT_LE(segment.memory_size, kUserEnd);
    ASSERT_LE(segment.address, kUserEnd - segment.memory_size);
    if (segment.file_size > 0) {
      ASSERT_LE(segment.file_offset, uint64_t{INT64_MAX} - segment.file_size);
      ASSERT_EQ(segment.file_offset % 4096, segment.address % 4096);
    }
    ASSERT_EQ(segment.prot & ~7, 0);
    end = segment.end();
  }
  ASSERT_TRUE(std::has_single_bit(elf.alignment));
  ASSERT_LT(elf.interpreter.size(), 4096u);
  ASSERT_EQ(elf.interpreter.find('\0'), std::string::npos);
  ASSERT_LT(elf.entry, kUserEnd);
}

TEST(LoaderFuzz, DamagedProgramsAreRefusedOrKeepTheInvariants) {
  // A static program (this one) and a dynamic one, cut short: a file's tail says nothing to the loader.
  const std::string own = FirstBytes("/proc/self/exe", 8192), dynamic = FirstBytes("/bin/sh", 8192);
  ASSERT_TRUE(Parse(FirstBytes("/proc/self/exe", 64 << 20)).ok());
  fuzz::Mutator mutator(fuzz::Seed(), {own.substr(0, 1024), dynamic.substr(0, 1024), own.substr(0, 64)},
                        {std::string("\177ELF\2\1\1", 7), std::string("\1\0\0\0\5\0\0\0", 8),
                         std::string("\3\0\0\0\4\0\0\0", 8), "/lib64/ld-linux-x86-64.so.2"});
  uint64_t accepted = 0, refused = 0;
  fuzz::Run(200'000, [&](uint64_t) {
    // Damage to the headers only, in front of the rest of a file.
    std::string bytes = mutator.Next(2048);
    if (mutator.Below(2) == 0) bytes += own.substr(std::min(bytes.size(), own.size()));
    const auto elf = Parse(bytes);
    if (!elf.ok()) {
      ++refused;
      const int error = elf.error().value();
      EXPECT_TRUE(error == ENOEXEC || error == EIO || error == ENOMEM || error == EINVAL) << error;
      return;
    }
    ++accepted;
    CheckInvariants(*elf);
  });
  EXPECT_GT(accepted, 0u);
  EXPECT_GT(refused, 0u);
}

TEST(LoaderFuzz, DamagedScriptLines) {
  fuzz::Mutator mutator(fuzz::Seed(), {"#!/bin/sh\n", "#! /usr/bin/env  python3 -u \nprint()", "#!/x y z\n"},
                        {"#!", "\n", " ", "\t", std::string(1, '\0'), std::string(250, 'a'), "/"});
  uint64_t accepted = 0;
  fuzz::Run(200'000, [&](uint64_t) {
    const std::string head = "#!" + mutator.Next(254);
    const auto line = ParseScriptLine(head);
    if (!line.ok()) {
      EXPECT_TRUE(line.Is(ENOEXEC)) << line.error().value();
      return;
    }
    ++accepted;
    EXPECT_FALSE(line->interpreter.empty());
    EXPECT_EQ(line->interpreter.find_first_of(" \t\n"), std::string::npos) << head;
    EXPECT_NE(head.find(line->interpreter), std::string::npos) << head;
  });
  EXPECT_GT(accepted, 0u);
}

}  // namespace
}  // namespace sandbox::loader
