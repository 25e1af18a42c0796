#include "sentry/loader/elf_file.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <random>

namespace sandbox::loader {
namespace {

// A small position-independent program: two segments and an interpreter.
class Image {
 public:
  Image() : bytes_(0x3000) {
    auto& h = header();
    std::memcpy(h.e_ident, ELFMAG, SELFMAG);
    h.e_ident[EI_CLASS] = ELFCLASS64;
    h.e_ident[EI_DATA] = ELFDATA2LSB;
    h.e_type = ET_DYN;
    h.e_machine = EM_X86_64;
    h.e_entry = 0x1010;
    h.e_phoff = sizeof(Elf64_Ehdr);
    h.e_phentsize = sizeof(Elf64_Phdr);
    h.e_phnum = 4;
    program(0) = {PT_INTERP, PF_R, 0x800, 0x800, 0, 6, 6, 1};
    std::memcpy(bytes_.data() + 0x800, "/ld.so", 6);
    bytes_[0x805] = 0;
    program(1) = {PT_LOAD, PF_R | PF_X, 0, 0, 0, 0x1800, 0x1800, 0x1000};
    program(2) = {PT_LOAD, PF_R | PF_W, 0x1f00, 0x2f00, 0, 0x200, 0x4000, 0x1000};
    program(3) = {PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16};
  }
  Elf64_Ehdr& header() { return *reinterpret_cast<Elf64_Ehdr*>(bytes_.data()); }
  Elf64_Phdr& program(size_t i) { return reinterpret_cast<Elf64_Phdr*>(bytes_.data() + sizeof(Elf64_Ehdr))[i]; }
  Result<ElfFile> Parse() { return ParseElf(bytes_); }
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

TEST(ElfFileTest, ReadsAWellFormedProgram) {
  Image image;
  const ElfFile elf = *image.Parse();
  EXPECT_TRUE(elf.position_independent);
  EXPECT_EQ(elf.interpreter, "/ld.s");
  EXPECT_EQ(elf.entry, 0x1010u);
  EXPECT_EQ(elf.header_address, sizeof(Elf64_Ehdr));
  ASSERT_EQ(elf.segments.size(), 2u);
  EXPECT_EQ(elf.segments[1].prot, PROT_READ | PROT_WRITE);
  EXPECT_EQ(elf.start(), 0u);
  EXPECT_EQ(elf.end(), 0x6f00u);
  EXPECT_FALSE(elf.executable_stack);
}

TEST(ElfFileTest, RefusesWhatIsNoProgramOfThisMachine) {
  const auto refused = [](auto change) {
    Image image;
    change(image);
    return image.Parse().Is(ENOEXEC);
  };
  EXPECT_TRUE(refused([](Image& i) { i.header().e_ident[0] = 0; }));
  EXPECT_TRUE(refused([](Image& i) { i.header().e_ident[EI_CLASS] = ELFCLASS32; })) << "32-bit";
  EXPECT_TRUE(refused([](Image& i) { i.header().e_machine = EM_AARCH64; }));
  EXPECT_TRUE(refused([](Image& i) { i.header().e_type = ET_REL; }));
  EXPECT_TRUE(refused([](Image& i) { i.header().e_phnum = 0; }));
  EXPECT_TRUE(refused([](Image& i) { i.header().e_phnum = 0xffff; }));
  EXPECT_TRUE(refused([](Image& i) { i.header().e_phentsize = 8; }));
  EXPECT_TRUE(refused([](Image& i) { i.header().e_phoff = ~uint64_t{0}; }));
  EXPECT_TRUE(refused([](Image& i) { i.program(1).p_type = i.program(2).p_type = PT_NULL; })) << "nothing to load";
  EXPECT_TRUE(refused([](Image& i) {
    i.program(2).p_vaddr = 0x1000;
    i.program(2).p_offset = 0x1000;
  })) << "overlap";
  EXPECT_TRUE(refused([](Image& i) { i.program(2).p_memsz = 0x100; })) << "smaller in memory than in the file";
  EXPECT_TRUE(refused([](Image& i) { i.program(2).p_vaddr = ~uint64_t{0} - 0xff; })) << "wraps";
  EXPECT_TRUE(refused([](Image& i) { i.program(2).p_memsz = ~uint64_t{0}; }));
  EXPECT_TRUE(refused([](Image& i) { i.program(2).p_offset += 8; })) << "offset and address disagree in the page";
  EXPECT_TRUE(refused([](Image& i) { i.program(2).p_offset = ~uint64_t{0} - 0xff; }));
  EXPECT_TRUE(refused([](Image& i) { i.program(0).p_filesz = 5000; })) << "interpreter name too long";
  EXPECT_TRUE(refused([](Image& i) { i.bytes()[0x805] = 'x'; })) << "not terminated";
  EXPECT_TRUE(refused([](Image& i) { i.header().e_entry = ~uint64_t{0}; }));
}

TEST(ElfFileTest, RandomDamageNeverBreaksTheInvariants) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20'000; ++round) {
    Image image;
    const size_t damaged = sizeof(Elf64_Ehdr) + 4 * sizeof(Elf64_Phdr);
    for (uint64_t i = 0; i <= random() % 4; ++i) image.bytes()[random() % damaged] = static_cast<uint8_t>(random());
    const auto elf = image.Parse();
    if (!elf.ok()) continue;
    uint64_t end = 0;
    for (const Segment& segment : elf->segments) {
      ASSERT_LE(end, segment.address);
      ASSERT_LE(segment.file_size, segment.memory_size);
      ASSERT_LE(segment.end(), uint64_t{0x7ffffffff000});
      end = segment.end();
    }
  }
}

}  // namespace
}  // namespace sandbox::loader
