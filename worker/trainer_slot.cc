#include "worker/trainer_slot.h"

#include <cstdio>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/train/stopwatch.h"
#include "core/wire/variant_wire.h"
#include "worker/slot_server.h"

namespace saffron {
namespace {

void Say(const v1::Assignment& assignment, const std::string& what) {
  std::fprintf(stderr, "saffron: trial %lld %s\n",
               static_cast<long long>(assignment.ref().trial_id()), what.c_str());
}

class Unheard : public MeasurementSink {
 public:
  void Record(const Measurement&) override {}
};

// One assignment: from what it resumes or starts from to its result.
class AssignedRun {
 public:
  AssignedRun(const v1::Assignment& assignment, const TrialControls& controls, TrainerEnv env,
              MeasurementSink& sink)
      : assignment_(assignment), controls_(controls), env_(std::move(env)), sink_(sink) {}
  // What was made on the way is of no use to anybody else.
  ~AssignedRun() {
    std::error_code error;
    for (const std::string& path : made_) std::filesystem::remove(path, error);
  }

  // A checkpoint of its own saves work and decides nothing: where it is of no use, the trial runs
  // from the start.
  absl::StatusOr<TrialResult> Run() {
    env_.resume_from = controls_.resume_from;
    if (!env_.resume_from.empty()) {
      if (assignment_.has_init_from()) {
        env_.init_from = StartOf(assignment_);
        env_.init_from->missing = "the state is of no use";  // it would be read first
      }
      absl::StatusOr<TrialResult> result = RunIt(assignment_, env_, sink_);
      if (IsNoCorpus(result.status()) ||
          (!absl::IsDataLoss(result.status()) && !absl::IsFailedPrecondition(result.status()))) {
        return result;
      }
      Say(assignment_,
          absl::StrCat("runs from the start: ", std::string(result.status().message())));
      env_.resume_from.clear();
    }
    double made_s = 0;
    // What measures the orchestration computes nothing, and starts from nothing.
    ASSIGN_OR_RETURN(const ResolvedVariant variant, VariantFromProto(assignment_.variant()));
    if (assignment_.has_init_from() && variant.String("model.type") != "noop") {
      const Stopwatch watch;
      ASSIGN_OR_RETURN(env_.init_from, Start(assignment_));
      if (!made_.empty()) made_s = watch.Seconds();
    }
    absl::StatusOr<TrialResult> result = RunIt(assignment_, env_, sink_);
    if (result.ok() && made_s > 0) result->metrics["time/parent_s"] = made_s;
    return result;
  }

 private:
  static absl::StatusOr<TrialResult> RunIt(const v1::Assignment& assignment, const TrainerEnv& env,
                                           MeasurementSink& sink) {
    ASSIGN_OR_RETURN(const ResolvedVariant variant, VariantFromProto(assignment.variant()));
    absl::StatusOr<TrialResult> result =
        RunTrial(variant, assignment.seed(), assignment.data_fingerprint(), env, sink);
    const absl::Status& status = result.status();
    if (status.ok() || absl::IsCancelled(status) || absl::IsResourceExhausted(status)) {
      return result;
    }
    // Whatever it says: without its corpus it had no chance.
    const v1::CorpusRef corpus = CorpusOf(assignment);
    if (corpus.fingerprint().empty()) return result;
    const absl::Status opened = env.data->Check(corpus.name(), corpus.fingerprint());
    return opened.ok() ? std::move(result) : NoCorpusError(opened);
  }

  // All but the file.
  static StartFrom StartOf(const v1::Assignment& child) {
    return {.sha256 = child.init_from().sha256(),
            .derive = {child.init_derive().begin(), child.init_derive().end()},
            .keep_state = !child.init_reset_state()};
  }

  // The parent's model as a file, made again where none is kept.
  absl::StatusOr<StartFrom> Start(const v1::Assignment& child) {
    StartFrom start = StartOf(child);
    if (child.has_parent()) {
      RETURN_IF_ERROR(MakeParent(child, &start));
    } else {
      start.path = controls_.init_from;
      start.missing = controls_.init_missing;
    }
    return start;
  }

  absl::Status MakeParent(const v1::Assignment& child, StartFrom* start) {
    const std::string who = absl::StrCat("trial ", child.init_trial(), ", its parent,");
    if (controls_.checkpoints.prefix.empty()) {
      start->missing = absl::StrCat(who,
                                    " left no checkpoint that is kept, and this worker has no "
                                    "folder to make it again in");
      return absl::OkStatus();
    }
    const v1::Assignment& parent = child.parent();
    TrainerEnv env = env_;
    if (parent.has_init_from()) {
      ASSIGN_OR_RETURN(env.init_from, Start(parent));
    }
    Say(assignment_, absl::StrCat("makes the model of ", who, " again: no checkpoint is kept"));
    env.checkpoints = {
        .prefix = absl::StrCat(controls_.checkpoints.prefix, ".parent", made_.size()),
        .every_s = std::numeric_limits<double>::infinity(),
        .worth_s = std::numeric_limits<double>::infinity(),
        .keep = {child.init_from().role()},
        .on_saved = [&](const absl::StatusOr<SavedCheckpoint>& saved) {
          if (!saved.ok()) {
            start->missing = absl::StrCat("cannot be written: ", saved.status().message());
            return;
          }
          start->path = saved->path;
          start->sha256 = saved->sha256;
        }};
    Unheard unheard;
    const absl::StatusOr<TrialResult> result = RunIt(parent, env, unheard);
    if (absl::IsCancelled(result.status()) || absl::IsResourceExhausted(result.status())) {
      return result.status();
    }
    if (!start->path.empty()) made_.push_back(start->path);
    if (result.ok() && result->outcome == TrainOutcome::kSucceeded) {
      if (start->path.empty() && start->missing.empty()) start->missing = who + " leaves no model";
      return absl::OkStatus();
    }
    start->path.clear();
    start->missing = absl::StrCat(who, " left no checkpoint that is kept, and made again it ",
                                  result.ok() ? absl::StrCat("diverged: ", result->message)
                                              : std::string(result.status().message()));
    return absl::OkStatus();
  }

  const v1::Assignment& assignment_;
  const TrialControls& controls_;
  TrainerEnv env_;
  MeasurementSink& sink_;
  std::vector<std::string> made_;
};

}  // namespace

void ServeTrainerSlot(int fd, const std::string& data_root) {
  DataStore data(data_root);
  StatisticsCache statistics({.dir = StatisticsCache::DefaultDir()});
  ServeSlot({.fd = fd,
             .body = [&](const v1::Assignment& assignment, const TrialControls& controls,
                         MeasurementSink& sink) -> absl::StatusOr<TrialResult> {
               TrainerEnv env{.data = &data,
                              .statistics = &statistics,
                              .stop = &controls.stop,
                              .hand_back = &controls.hand_back,
                              .checkpoints = controls.checkpoints};
               return AssignedRun(assignment, controls, std::move(env), sink).Run();
             }});
}

}  // namespace saffron
