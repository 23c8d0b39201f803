// `saffron cancel`, `resume`, `retry`, `pause` and `priority`: what a coordinator should do with
// its roadmaps.

#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/roadmap_selection.h"
#include "coordinator/cli/views.h"
#include "coordinator/report/listing.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/read_source.h"
#include "coordinator/report/study.h"
#include "coordinator/report/table.h"
#include "coordinator/sweep/quantities.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

struct ControlOptions {
  std::vector<std::string> roadmaps;
  std::string trials;  // IdSelector; empty: all
  std::vector<std::string> variants, blocks;
  std::string reason;

  bool selects() const { return !(trials.empty() && variants.empty() && blocks.empty()); }
};

// The coordinator, and the roadmaps that the selectors mean there.
struct Target {
  Coordinator coordinator;
  std::unique_ptr<ReadSource> source;
  std::vector<RoadmapName> roadmaps;
};

absl::StatusOr<Target> FindTarget(Cli& cli, const std::vector<std::string>& roadmaps) {
  Target target;
  ASSIGN_OR_RETURN(target.coordinator, ConnectToCoordinatorOf(cli));
  cli.coordinator = target.coordinator.address;
  ASSIGN_OR_RETURN(target.source, OpenSource(cli));
  ASSIGN_OR_RETURN(target.roadmaps, SelectRoadmaps(*target.source, roadmaps));
  return target;
}

absl::StatusOr<v1::ControlRequest> RequestFor(ReadSource& source, const RoadmapName& roadmap,
                                              const ControlOptions& options) {
  v1::ControlRequest request;
  request.set_roadmap(absl::StrCat(roadmap.id));
  request.set_reason(options.reason);
  request.mutable_variants()->Assign(options.variants.begin(), options.variants.end());
  request.mutable_blocks()->Assign(options.blocks.begin(), options.blocks.end());
  if (options.trials.empty()) return request;
  ASSIGN_OR_RETURN(const IdSelector selector, IdSelector::Parse(options.trials));
  ASSIGN_OR_RETURN(
      const ResultTable table,
      source.Query(absl::StrCat("SELECT rt.trial FROM roadmaps r JOIN roadmap_trials rt ON "
                                "rt.roadmap = r.id AND rt.revision = r.revision WHERE r.id = ",
                                roadmap.id, " AND ", selector.Sql("rt.trial"), " ORDER BY 1")));
  if (table.rows.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no trial of roadmap ", roadmap.name, " matches '", options.trials, "'"));
  }
  for (const auto& row : table.rows) request.add_trial_ids(std::get<int64_t>(row[0]));
  return request;
}

std::vector<std::string> Names(const std::vector<RoadmapName>& roadmaps) {
  std::vector<std::string> names;
  for (const RoadmapName& roadmap : roadmaps) names.push_back(roadmap.name);
  return names;
}

using Call = grpc::Status (v1::RoadmapService::Stub::*)(grpc::ClientContext*,
                                                        const v1::ControlRequest&,
                                                        v1::ControlResponse*);

absl::StatusOr<int64_t> CallAll(const Target& target, const ControlOptions& options, Call call) {
  int64_t changed = 0;
  for (const RoadmapName& roadmap : target.roadmaps) {
    ASSIGN_OR_RETURN(const v1::ControlRequest request,
                     RequestFor(*target.source, roadmap, options));
    v1::ControlResponse response;
    const auto context = Coordinator::Context();
    RETURN_IF_ERROR(target.coordinator.StatusOf(
        (target.coordinator.stub.get()->*call)(context.get(), request, &response)));
    changed += response.trials_changed();
  }
  return changed;
}

absl::StatusOr<bool> SetPaused(const Coordinator& coordinator, const RoadmapName& roadmap,
                               bool paused, const std::string& reason) {
  v1::PauseRequest request;
  request.set_roadmap(absl::StrCat(roadmap.id));
  request.set_paused(paused);
  request.set_reason(reason);
  v1::PauseResponse response;
  const auto context = Coordinator::Context();
  RETURN_IF_ERROR(coordinator.StatusOf(coordinator.stub->Pause(context.get(), request, &response)));
  return response.changed();
}

absl::StatusOr<ExitCode> Cancel(Cli& cli, const ControlOptions& options) {
  ASSIGN_OR_RETURN(const Target target, FindTarget(cli, options.roadmaps));
  ASSIGN_OR_RETURN(const int64_t changed,
                   CallAll(target, options, &v1::RoadmapService::Stub::Cancel));
  PrintRecord({{"trials_changed", changed}, {"roadmaps", Names(target.roadmaps)}}, cli.output,
              std::cout);
  if (changed == 0) {
    PrintMessage("no such trial is queued or running: nothing to cancel");
    return ExitCode::kNothingMatched;
  }
  PrintMessage(absl::StrCat(Plural(changed, "trial"), " cancelled"));
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Pause(Cli& cli, const ControlOptions& options) {
  ASSIGN_OR_RETURN(const Target target, FindTarget(cli, options.roadmaps));
  int64_t paused = 0;
  for (const RoadmapName& roadmap : target.roadmaps) {
    ASSIGN_OR_RETURN(const bool changed,
                     SetPaused(target.coordinator, roadmap, true, options.reason));
    paused += changed;
    PrintMessage(absl::StrCat(
        roadmap.name, changed ? " is paused: what runs goes on to its end, nothing new starts"
                              : " was paused already"));
  }
  PrintRecord({{"roadmaps_changed", paused}, {"roadmaps", Names(target.roadmaps)}}, cli.output,
              std::cout);
  return ExitCode::kDone;
}

// A paused roadmap goes on as it was; one that is not paused gets back what was cancelled or
// failed.
absl::StatusOr<ExitCode> Resume(Cli& cli, const ControlOptions& options) {
  ASSIGN_OR_RETURN(Target target, FindTarget(cli, options.roadmaps));
  const std::vector<std::string> all = Names(target.roadmaps);
  std::vector<RoadmapName> running;
  for (const RoadmapName& roadmap : target.roadmaps) {
    bool unpaused = false;
    if (!options.selects()) {
      ASSIGN_OR_RETURN(unpaused, SetPaused(target.coordinator, roadmap, false, options.reason));
    }
    if (unpaused) {
      PrintMessage(absl::StrCat(
          roadmap.name, " goes on; to queue cancelled and failed trials too, resume again"));
    } else {
      running.push_back(roadmap);
    }
  }
  const auto unpaused = std::ssize(all) - std::ssize(running);
  target.roadmaps = std::move(running);
  ASSIGN_OR_RETURN(const int64_t changed,
                   CallAll(target, options, &v1::RoadmapService::Stub::Resume));
  PrintRecord({{"trials_changed", changed}, {"roadmaps_unpaused", unpaused}, {"roadmaps", all}},
              cli.output, std::cout);
  if (changed == 0 && unpaused == 0) {
    PrintMessage("nothing is paused, and no such trial was cancelled or failed: nothing to resume");
    return ExitCode::kNothingMatched;
  }
  if (changed > 0) PrintMessage(absl::StrCat(Plural(changed, "trial"), " queued again"));
  return ExitCode::kDone;
}

// ---- Retry

struct RetryOptions {
  ControlOptions what;
  std::vector<std::string> classes;
  std::vector<std::string> set;  // KEY=VALUE
};

const std::map<std::string, v1::FailureClass>& Classes() {
  static const std::map<std::string, v1::FailureClass> classes = {
      {"preempted", v1::FAILURE_CLASS_PREEMPTED},
      {"worker_lost", v1::FAILURE_CLASS_WORKER_LOST},
      {"out_of_memory", v1::FAILURE_CLASS_OUT_OF_MEMORY},
      {"oom", v1::FAILURE_CLASS_OUT_OF_MEMORY},
      {"timeout", v1::FAILURE_CLASS_TIMEOUT},
      {"error", v1::FAILURE_CLASS_ERROR}};
  return classes;
}

absl::Status ApplySetting(const std::string& setting, v1::RetryRequest* request) {
  const size_t equals = setting.find('=');
  const std::string key = setting.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : setting.substr(equals + 1);
  const auto want = [&](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set ", key, ": want ", what, ", got '", value, "'"));
  };
  if (key == "resources.memory") {
    const std::optional<int64_t> bytes = ParseBytes(value);
    if (!bytes || *bytes == 0) return want("a size such as 4GiB");
    request->set_memory_bytes(*bytes);
    return absl::OkStatus();
  }
  if (key == "limits.trial_time") {
    const std::optional<int64_t> ms = ParseDurationMs(value);
    if (!ms || *ms == 0) return want("a duration such as 2h");
    request->mutable_trial_time()->set_seconds(*ms / 1000);
    request->mutable_trial_time()->set_nanos(static_cast<int32_t>(*ms % 1000 * 1'000'000));
    return absl::OkStatus();
  }
  if (FindParam(key) != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--set ", key,
        ": that would be another trial, with another result: change it in the sweep "
        "file (or `saffron submit --set`), which keeps every trial that stays the same"));
  }
  const std::string near = NearestName(key, {"resources.memory", "limits.trial_time"});
  return absl::InvalidArgumentError(
      absl::StrCat("--set ", key, ": want resources.memory or limits.trial_time",
                   near.empty() ? "" : absl::StrCat("; did you mean ", near, "?")));
}

absl::StatusOr<ExitCode> Retry(Cli& cli, const RetryOptions& options) {
  v1::RetryRequest common;
  for (const std::string& name : options.classes) {
    const auto found = Classes().find(name);
    if (found == Classes().end()) {
      std::vector<std::string> names;
      for (const auto& [known, failure] : Classes()) names.push_back(known);
      const std::string near = NearestName(name, names);
      return absl::InvalidArgumentError(absl::StrCat(
          "--class: want preempted, worker_lost, out_of_memory, timeout or error, got '", name, "'",
          near.empty() ? "" : absl::StrCat(" (did you mean ", near, "?)")));
    }
    common.add_classes(found->second);
  }
  for (const std::string& setting : options.set) RETURN_IF_ERROR(ApplySetting(setting, &common));
  ASSIGN_OR_RETURN(const Target target, FindTarget(cli, options.what.roadmaps));
  int64_t changed = 0;
  std::map<std::string, int64_t> failed_as;
  for (const RoadmapName& roadmap : target.roadmaps) {
    v1::RetryRequest request = common;
    ASSIGN_OR_RETURN(*request.mutable_what(), RequestFor(*target.source, roadmap, options.what));
    v1::RetryResponse response;
    const auto context = Coordinator::Context();
    RETURN_IF_ERROR(target.coordinator.StatusOf(
        target.coordinator.stub->Retry(context.get(), request, &response)));
    changed += response.trials_changed();
    for (const auto& [failure, count] : response.failed_as()) failed_as[failure] += count;
  }
  ResultTable table{.columns = {"failure_class", "trials"}, .rows = {}};
  std::string text;
  for (const auto& [failure, count] : failed_as) {
    table.rows.push_back({failure, count});
    absl::StrAppend(&text, text.empty() ? "" : ", ", count, " ", failure);
  }
  if (cli.output != OutputMode::kTable) PrintResult(table, {.mode = cli.output}, std::cout);
  if (failed_as.empty()) {
    PrintMessage("no trial failed like that");
    return ExitCode::kNothingMatched;
  }
  PrintMessage(absl::StrCat(Plural(changed, "trial"), " queued again; failed as: ", text));
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> SetPriority(Cli& cli, const ControlOptions& options, double priority) {
  ASSIGN_OR_RETURN(const Target target, FindTarget(cli, options.roadmaps));
  for (const RoadmapName& roadmap : target.roadmaps) {
    v1::PriorityRequest request;
    request.set_roadmap(absl::StrCat(roadmap.id));
    request.set_priority(priority);
    v1::PriorityResponse response;
    const auto context = Coordinator::Context();
    RETURN_IF_ERROR(target.coordinator.StatusOf(
        target.coordinator.stub->SetPriority(context.get(), request, &response)));
    PrintMessage(absl::StrCat(roadmap.name, " has priority ", FormatNumber(priority),
                              response.changed() ? "" : " already"));
    PrintRecord(
        {{"roadmap", roadmap.name}, {"priority", priority}, {"changed", response.changed()}},
        cli.output, std::cout);
  }
  return ExitCode::kDone;
}

// ---- Options

void AddRoadmaps(CLI::App* command, ControlOptions& options) {
  command
      ->add_option("ROADMAP", options.roadmaps,
                   "Name or id of a roadmap, last, all, or ids such as 1-3")
      ->required();
}

void AddSelection(CLI::App* command, ControlOptions& options) {
  command->add_option("--trials", options.trials, "Only these, such as 7 or 1-10:2,15")
      ->type_name("IDS");
  command
      ->add_option("--variants", options.variants,
                   "Only trials of these: number, label, or the beginning of the digest")
      ->type_name("A,B,...")
      ->delimiter(',');
  command->add_option("--blocks", options.blocks, "Only trials of these blocks of the sweep")
      ->type_name("A,B,...")
      ->delimiter(',');
}

void AddReason(CLI::App* command, ControlOptions& options) {
  command->add_option("--reason", options.reason, "Kept with the trials' history")
      ->capture_default_str();
}

void AddPlace(CLI::App* command, Cli& cli) {
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
  cli.AddOutput(command);
}

}  // namespace

void AddCancelCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<ControlOptions>();
  options->reason = "saffron cancel";
  CLI::App* command = cli.AddCommand(
      app, "cancel", "Cancel queued and running trials; finished ones keep their results",
      "saffron cancel my_sweep\nsaffron cancel last --trials 10-20\n"
      "saffron cancel last --blocks lottery\nsaffron cancel last --variants 3f9a1c,baseline",
      [&cli, options] { return Cancel(cli, *options); });
  AddRoadmaps(command, *options);
  AddSelection(command, *options);
  AddReason(command, *options);
  AddPlace(command, cli);
}

void AddResumeCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<ControlOptions>();
  options->reason = "saffron resume";
  CLI::App* command = cli.AddCommand(
      app, "resume", "Let a paused roadmap go on, or queue cancelled and failed trials again",
      "saffron resume my_sweep\nsaffron resume last --trials 7",
      [&cli, options] { return Resume(cli, *options); });
  AddRoadmaps(command, *options);
  AddSelection(command, *options);
  AddReason(command, *options);
  AddPlace(command, cli);
}

void AddRetryCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<RetryOptions>();
  options->what.reason = "saffron retry";
  CLI::App* command = cli.AddCommand(
      app, "retry", "Queue failed trials again, of one class of failure or of all",
      "saffron retry last\n"
      "saffron retry last --class out_of_memory --set resources.memory=8GiB\n"
      "saffron retry my_sweep --class timeout --set limits.trial_time=4h --blocks lottery",
      [&cli, options] { return Retry(cli, *options); });
  AddRoadmaps(command, options->what);
  command
      ->add_option("--class", options->classes,
                   "Only trials that failed so: preempted, worker_lost, out_of_memory (oom), "
                   "timeout, error; may be repeated")
      ->type_name("CLASS")
      ->allow_extra_args(false);
  command
      ->add_option("--set", options->set,
                   "Other limits for the retried trials: resources.memory or limits.trial_time")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  AddSelection(command, options->what);
  AddReason(command, options->what);
  AddPlace(command, cli);
}

void AddPauseCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<ControlOptions>();
  CLI::App* command = cli.AddCommand(
      app, "pause", "Start no more trials of a roadmap; what runs goes on to its end",
      "saffron pause my_sweep --reason 'waiting for the new corpus'\nsaffron pause all",
      [&cli, options] { return Pause(cli, *options); });
  AddRoadmaps(command, *options);
  AddReason(command, *options);
  AddPlace(command, cli);
}

void AddPriorityCommand(CLI::App& app, Cli& cli) {
  auto options = std::make_shared<ControlOptions>();
  auto priority = std::make_shared<double>(1);
  CLI::App* command =
      cli.AddCommand(app, "priority", "Give a roadmap a larger or smaller share of the workers",
                     "saffron priority urgent 3\nsaffron priority last 0.5",
                     [&cli, options, priority] { return SetPriority(cli, *options, *priority); });
  // Not a list: the share follows it.
  options->roadmaps = {"last"};
  command->add_option("ROADMAP", options->roadmaps[0], "Name, id, or last")->required();
  command
      ->add_option("SHARE", *priority,
                   "Relative to the other roadmaps' (each 1 until set): 3 gets three slots for "
                   "every slot of a roadmap with 1")
      ->required()
      ->check(CLI::Range(0.001, 1000.0));
  AddPlace(command, cli);
}

}  // namespace saffron
