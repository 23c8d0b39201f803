// `saffron replay`: runs a stored trial again and compares every deterministic number, bit for bit.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "coordinator/report/replay_comparison.h"
#include "core/base/numerics_version.h"
#include "core/base/status_macros.h"
#include "core/train/trainer.h"
#include "core/train/training_state.h"

namespace saffron {
namespace {

struct ReplayOptions {
  int64_t trial = 0;
};

struct StoredTrial {
  ResolvedVariant variant;
  uint64_t seed = 0;
  std::string fingerprint, state;
};

absl::StatusOr<StoredTrial> LoadTrial(ReadSource& source, int64_t trial) {
  ASSIGN_OR_RETURN(
      const ResultTable table,
      source.Query(absl::StrCat("SELECT v.json, t.seed, d.fingerprint, t.numerics, t.state, "
                                "t.parent FROM trials t JOIN variants v ON v.id = t.variant "
                                "JOIN datasets d ON d.id = t.data WHERE t.id = ",
                                trial)));
  if (table.rows.empty()) {
    return absl::NotFoundError(absl::StrCat("there is no trial ", trial, " in ", source.Where()));
  }
  const std::vector<Cell>& row = table.rows[0];
  StoredTrial stored;
  stored.state = std::get<std::string>(row[4]);
  if (stored.state != "succeeded" && stored.state != "diverged") {
    return absl::FailedPreconditionError(
        absl::StrCat("trial ", trial, " has no result to compare with: it is ", stored.state));
  }
  if (const int64_t numerics = std::get<int64_t>(row[3]); numerics != kNumericsVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("trial ", trial, " was computed by numerics version ", numerics,
                     ", this program computes by version ", kNumericsVersion));
  }
  if (const auto* parent = std::get_if<int64_t>(&row[5])) {
    return absl::FailedPreconditionError(absl::StrCat("trial ", trial, " starts from trial ",
                                                      *parent, ", whose checkpoint is needed"));
  }
  ASSIGN_OR_RETURN(const auto params, ParamsFromJson(std::get<std::string>(row[0])));
  ASSIGN_OR_RETURN(stored.variant, ResolvedVariant::Resolve(params));
  stored.seed = static_cast<uint64_t>(std::get<int64_t>(row[1]));
  stored.fingerprint = std::get<std::string>(row[2]);
  return stored;
}

class Collector : public MeasurementSink {
 public:
  void Record(const Measurement& m) override { points.push_back({m.key, m.step, m.value}); }
  std::vector<MetricPoint> points;
};

absl::StatusOr<std::vector<MetricPoint>> RunAgain(const StoredTrial& trial,
                                                  const std::string& data_root) {
  DataStore data(data_root);
  StatisticsCache statistics({.dir = StatisticsCache::DefaultDir()});
  Collector collector;
  ASSIGN_OR_RETURN(const TrialResult result,
                   RunTrial(trial.variant, trial.seed, trial.fingerprint,
                            {.data = &data, .statistics = &statistics}, collector));
  for (const auto& [key, value] : result.metrics) {
    collector.points.push_back({key, std::nullopt, value});
  }
  return std::move(collector.points);
}

std::string NumberText(std::optional<double> value) {
  return value.has_value() ? absl::StrFormat("%.17g", *value) : "nothing";
}

absl::StatusOr<ExitCode> Replay(Cli& cli, const ReplayOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  ASSIGN_OR_RETURN(const StoredTrial trial, LoadTrial(*source, options.trial));
  ASSIGN_OR_RETURN(const std::vector<MetricPoint> stored, LoadMetrics(*source, options.trial));
  ASSIGN_OR_RETURN(const std::vector<MetricPoint> replayed, RunAgain(trial, cli.data_root));
  const std::vector<MetricDifference> differences = CompareMetrics(stored, replayed);
  if (differences.empty()) {
    PrintMessage(absl::StrCat("trial ", options.trial, ": the same, bit for bit, in ",
                              stored.size(), " numbers"));
    return ExitCode::kDone;
  }
  const MetricDifference& first = differences.front();
  PrintToStdout(cli, DifferenceTable(differences));
  PrintMessage(absl::StrCat(
      "trial ", options.trial, " differs in ", differences.size(), " numbers; first ",
      first.step.has_value() ? absl::StrCat("at step ", *first.step) : "in its final metrics", ", ",
      first.key, ": stored ", NumberText(first.stored), ", replayed ", NumberText(first.replayed)));
  return ExitCode::kSomeFailed;
}

}  // namespace

void AddReplayCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<ReplayOptions>();
  CLI::App* command = cli.AddCommand(
      app, "replay",
      "Run a stored trial again, here, and compare every number bit for bit: exit code 0 when all "
      "are the same, 3 when one differs",
      "saffron replay 17\nsaffron replay 17 --output csv",
      [&cli, options] { return Replay(cli, *options); });
  command->add_option("TRIAL", options->trial, "A trial's number")->required();
  cli.AddDatabase(command);
  cli.AddCoordinator(command);
  cli.AddData(command);
  cli.AddOutput(command);
}

}  // namespace saffron
