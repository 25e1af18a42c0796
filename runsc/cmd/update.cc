// runsc update: new limits for a container.
#include "absl/strings/numbers.h"
#include "runsc/cmd/container_commands.h"

namespace sandbox::cmd {
namespace {

class Update final : public cli::Command {
 public:
  const char* name() const override { return "update"; }
  const char* help() const override { return "Change the limits of a container"; }
  void Configure(cli::Parser& parser) override {
    parser.Word("id", id_, true, "Container id");
    parser.Option("-r,--resources", resources_file_,
                  "File with linux.resources as in config.json (- = standard input)");
    parser.Option("--memory", limit_, "Memory limit: bytes, or 100M, 2GiB; -1 = none");
    parser.Option("--memory-reservation", reservation_, "Soft memory limit, likewise");
    parser.Option("--memory-swap", swap_, "Limit of memory and swap together, likewise");
    parser.Option("--cpu-quota", cpu_.quota, "Microseconds of CPU time a period");
    parser.Option("--cpu-period", cpu_.period, "The period, microseconds");
    parser.Option("--cpu-burst", cpu_.burst, "Microseconds that may be saved up");
    parser.Option("--cpu-share", cpu_.shares, "Relative weight");
    parser.Option("--cpu-rt-period", cpu_.realtime_period, "Real-time period, microseconds");
    parser.Option("--cpu-rt-runtime", cpu_.realtime_runtime, "Real-time microseconds a period");
    parser.Option("--cpuset-cpus", cpu_.cpus, "CPUs to use: 0-3,7");
    parser.Option("--cpuset-mems", cpu_.mems, "Memory nodes to use");
    parser.Option("--cpu-idle", cpu_.idle, "1 = run only when nothing else does");
    parser.Option("--pids-limit", pids_, "Most tasks; -1 = no limit");
    parser.Option("--blkio-weight", blkio_weight_, "Relative weight of block I/O, 10 to 1000");
    for (const char* obsolete : {"--kernel-memory", "--kernel-memory-tcp"})
      parser.Ignored(obsolete, true, "Accepted; obsolete");
    for (const char* name : {"--l3-cache-schema", "--mem-bw-schema"})
      parser.Ignored(name, true, "Accepted; caches and bandwidth are not divided");
  }
  int Run(const cli::GlobalOptions& options) override {
    auto resources = MakeResources();
    if (!resources.ok()) return Fail(options, resources.status());
    auto found = Find(options, id_, true);
    if (!found.ok()) return Fail(options, found.status());
    auto status = UpdateContainer(found->dir, found->state, *resources);
    return status.ok() ? 0 : Fail(options, status);
  }

 private:
  absl::StatusOr<spec::Resources> MakeResources() const {
    if (!resources_file_.empty()) {
      auto text = ReadDocument(resources_file_);
      if (!text.ok()) return text.status();
      return spec::ParseResources(*text);
    }
    spec::Resources resources;
    spec::Memory& memory = resources.memory.emplace();
    const std::pair<const std::string*, std::optional<int64_t>*> sizes[] = {
        {&limit_, &memory.limit}, {&reservation_, &memory.reservation}, {&swap_, &memory.swap}};
    for (const auto& [text, value] : sizes) {
      if (text->empty()) continue;
      auto bytes = ParseBytes(*text);
      if (!bytes.ok()) return bytes.status();
      *value = *bytes;
    }
    resources.cpu = cpu_;
    if (pids_) resources.pids = spec::Pids{*pids_};
    if (blkio_weight_) resources.block_io.emplace().weight = blkio_weight_;
    return resources;
  }

  std::string id_, resources_file_, limit_, reservation_, swap_;
  spec::Cpu cpu_;
  std::optional<int64_t> pids_;
  std::optional<uint64_t> blkio_weight_;
};

const cli::CommandRegistration registration(std::make_unique<Update>());

}  // namespace
}  // namespace sandbox::cmd
