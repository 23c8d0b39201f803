// `saffron replay`: runs a stored trial again and compares every deterministic number, bit for bit.
// What it starts from is made again first: its parent's model, and that one's parent's.

#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "coordinator/report/replay_comparison.h"
#include "core/base/numerics_version.h"
#include "core/base/status_macros.h"
#include "core/data/process.h"
#include "core/model/own_numerics.h"
#include "core/train/trainer.h"
#include "core/train/training_state.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

struct ReplayOptions {
  int64_t trial = 0;
};

struct StoredTrial {
  ResolvedVariant variant;
  uint64_t seed = 0;
  std::string fingerprint, state;
  // Where it starts from another trial's model:
  std::optional<int64_t> parent = {};
  std::string role = {};  // of the parent's checkpoint
  StartFrom start = {};   // the file apart
};

// The parts of a row of LoadTrial that say what the trial starts from; takes them out of `params`.
void SetStart(const std::vector<Cell>& row, Params* params, StoredTrial* stored) {
  const auto state = params->find("init_from.state");
  stored->start.keep_state = state == params->end();
  std::erase_if(*params, [](const auto& p) { return absl::StartsWith(p.first, "init_from."); });
  const auto* parent = std::get_if<int64_t>(&row[5]);
  if (parent == nullptr) return;
  stored->parent = *parent;
  stored->role = std::get<std::string>(row[6]);
  const auto* derive = std::get_if<std::string>(&row[7]);
  if (derive == nullptr) return;
  for (const auto& op : nlohmann::json::parse(*derive)) stored->start.derive.push_back(op);
}

absl::StatusOr<StoredTrial> LoadTrial(ReadSource& source, int64_t trial) {
  ASSIGN_OR_RETURN(
      const ResultTable table,
      source.Query(absl::StrCat("SELECT v.json, t.seed, d.fingerprint, t.numerics, t.state, "
                                "t.parent, v.init_checkpoint, v.init_derive "
                                "FROM trials t JOIN variants v ON v.id = t.variant "
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
  ASSIGN_OR_RETURN(auto params, ParamsFromJson(std::get<std::string>(row[0])));
  SetStart(row, &params, &stored);
  if (const absl::Status same = TakeOwnNumerics(&params); !same.ok()) {
    return absl::FailedPreconditionError(absl::StrCat("trial ", trial, ": ", same.message()));
  }
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

class Rerun {
 public:
  Rerun(ReadSource& source, const std::string& data_root, const std::string& folder)
      : source_(source),
        data_(data_root),
        statistics_({.dir = StatisticsCache::DefaultDir()}),
        folder_(folder) {}

  absl::StatusOr<std::vector<MetricPoint>> Run(const StoredTrial& trial) {
    Collector collector;
    TrainerEnv env{.data = &data_, .statistics = &statistics_};
    ASSIGN_OR_RETURN(const TrialResult result, RunOne(trial, std::move(env), collector));
    for (const auto& [key, value] : result.metrics) {
      collector.points.push_back({key, std::nullopt, value});
    }
    return std::move(collector.points);
  }

 private:
  absl::StatusOr<TrialResult> RunOne(const StoredTrial& trial, TrainerEnv env,
                                     MeasurementSink& sink) {
    if (trial.parent.has_value()) {
      ASSIGN_OR_RETURN(env.init_from, MakeStart(trial));
    }
    return RunTrial(trial.variant, trial.seed, trial.fingerprint, env, sink);
  }

  absl::StatusOr<StartFrom> MakeStart(const StoredTrial& trial) {
    PrintMessage(absl::StrCat("making the model of trial ", *trial.parent, ", its parent, again"));
    ASSIGN_OR_RETURN(const StoredTrial parent, LoadTrial(source_, *trial.parent));
    StartFrom start = trial.start;
    start.missing = absl::StrCat("trial ", *trial.parent, " leaves no model");
    TrainerEnv env{.data = &data_, .statistics = &statistics_};
    env.checkpoints = {.prefix = absl::StrCat(folder_, "/", *trial.parent),
                       .every_s = std::numeric_limits<double>::infinity(),
                       .keep = {trial.role},
                       .on_saved = [&](const absl::StatusOr<SavedCheckpoint>& saved) {
                         if (saved.ok()) start.path = saved->path;
                       }};
    Collector unheard;
    RETURN_IF_ERROR(RunOne(parent, env, unheard).status());
    return start;
  }

  ReadSource& source_;
  DataStore data_;
  StatisticsCache statistics_;
  const std::string folder_;
};

std::string NumberText(std::optional<double> value) {
  return value.has_value() ? absl::StrFormat("%.17g", *value) : "nothing";
}

absl::StatusOr<ExitCode> Replay(Cli& cli, const ReplayOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ReadSource> source, OpenSource(cli));
  ASSIGN_OR_RETURN(const StoredTrial trial, LoadTrial(*source, options.trial));
  ASSIGN_OR_RETURN(const std::vector<MetricPoint> stored, LoadMetrics(*source, options.trial));
  ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::Make());
  ASSIGN_OR_RETURN(const std::vector<MetricPoint> replayed,
                   Rerun(*source, cli.data_root, folder.path()).Run(trial));
  const std::vector<MetricDifference> differences = CompareMetrics(stored, replayed);
  // Programs read an empty list, people the message.
  if (!differences.empty() || cli.output != OutputMode::kTable) {
    PrintToStdout(cli, DifferenceTable(differences));
  }
  if (differences.empty()) {
    PrintMessage(absl::StrCat("trial ", options.trial, ": the same, bit for bit, in ",
                              stored.size(), " numbers"));
    return ExitCode::kDone;
  }
  const MetricDifference& first = differences.front();
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
