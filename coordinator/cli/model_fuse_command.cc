// `saffron model fuse`: two checkpoints of one architecture averaged unit by unit.

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/cli/checkpoint_path.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/printing.h"
#include "core/base/status_macros.h"
#include "core/train/fused_file.h"

namespace saffron {
namespace {

struct FuseOptions {
  std::string a, b, to, role = "best";
  double weight = 0.5;
  bool force = false;
};

// What was fused and how each does; without a corpus, empty and a message that says why.
absl::StatusOr<FusionMetrics> Measure(const Cli& cli, const std::string& a, const std::string& b,
                                      const FusedModel& model) {
  DataStore data(cli.data_root);
  StatisticsCache statistics({.dir = StatisticsCache::DefaultDir()});
  absl::StatusOr<FusionMetrics> measured =
      MeasureFusion(a, b, model, {.data = &data, .statistics = &statistics});
  if (!absl::IsFailedPrecondition(measured.status())) return measured;
  PrintMessage(absl::StrCat("not measured: ", measured.status().message()));
  return FusionMetrics();
}

ResultTable TableOf(const FuseOptions& options, const std::string& a, const std::string& b,
                    const FusionMetrics& measured) {
  std::set<std::string> metrics;
  for (const auto& [model, values] : measured) {
    for (const auto& [metric, value] : values) metrics.insert(metric);
  }
  ResultTable table{.columns = {"model"}, .rows = {}};
  table.columns.insert(table.columns.end(), metrics.begin(), metrics.end());
  table.columns.push_back("file");
  for (const auto& [model, file] : {std::pair<std::string, Cell>{"a", a},
                                    {"b", b},
                                    {"average", Cell()},
                                    {"fused", options.to}}) {
    std::vector<Cell> row = {model};
    for (const std::string& metric : metrics) row.emplace_back(measured.at(model).at(metric));
    row.push_back(file);
    table.rows.push_back(std::move(row));
  }
  return table;
}

absl::StatusOr<ExitCode> Fuse(const Cli& cli, const FuseOptions& options) {
  ASSIGN_OR_RETURN(const std::string a, CheckpointPath(cli, options.a, options.role));
  ASSIGN_OR_RETURN(const std::string b, CheckpointPath(cli, options.b, options.role));
  for (const std::string& from : {a, b}) {
    RETURN_IF_ERROR(CheckCheckpointTarget(cli, from, options.to, options.force));
  }
  ASSIGN_OR_RETURN(const FusedModel model, FuseFiles(a, b, options.weight));
  if (!model.doubt.empty()) PrintMessage(model.doubt);
  ASSIGN_OR_RETURN(const FusionMetrics measured, Measure(cli, a, b, model));
  RETURN_IF_ERROR(WriteFused(options.to, model, measured).status());
  PrintMessage(absl::StrFormat(
      "%s: %d of %d units of a changed places; parameters of a and b are %.4g apart, aligned %.4g; "
      "the optimisers' state is left behind",
      options.to, model.aligned.moved, model.aligned.units, model.distance,
      model.distance_aligned));
  PrintToStdout(cli, TableOf(options, a, b, measured));
  return ExitCode::kDone;
}

}  // namespace

void AddModelFuse(CLI::App& model, Cli& cli) {
  auto options = std::make_shared<FuseOptions>();
  CLI::App* command = cli.AddCommand(
      model, "fuse",
      "Average two trained checkpoints of one architecture into one, after hidden units, heads and "
      "experts of the first are matched with those of the second (OTFusion)",
      "saffron model fuse 17 18 --to fused.safetensors\n"
      "saffron model fuse a.safetensors b.safetensors --to fused.safetensors --weight 0.3",
      [&cli, options] { return Fuse(cli, *options); });
  const char* what =
      "A checkpoint of an mlp or a transformer, or the number of a trial that left one";
  command->add_option("A", options->a, what)->required();
  command->add_option("B", options->b, what)->required();
  command
      ->add_option("--checkpoint", options->role, "Of trials: the best evaluation's, or the last")
      ->check(CLI::IsMember({"best", "last"}))
      ->capture_default_str();
  command->add_option("--to", options->to, "The file to write")->required()->type_name("FILE");
  command->add_flag("--force", options->force, "Replace the file of --to");
  command->add_option("--weight", options->weight, "Of the second model, 0 to 1")
      ->capture_default_str();
  cli.AddDatabase(command);
  cli.AddData(command);
  cli.AddOutput(command);
}

}  // namespace saffron
