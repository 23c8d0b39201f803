#include "worker/trainer_slot.h"

#include <cstdio>
#include <string>
#include <utility>

#include "core/base/status_macros.h"
#include "core/wire/variant_wire.h"
#include "worker/slot_server.h"

namespace saffron {
namespace {

// A checkpoint saves work and decides nothing: where it is of no use, the trial runs from the
// start.
absl::StatusOr<TrialResult> RunFromCheckpoint(const ResolvedVariant& variant,
                                              const v1::Assignment& assignment, TrainerEnv env,
                                              MeasurementSink& sink) {
  const auto run = [&] {
    return RunTrial(variant, assignment.seed(), assignment.data_fingerprint(), env, sink);
  };
  absl::StatusOr<TrialResult> result = run();
  const bool useless = !env.resume_from.empty() && (absl::IsDataLoss(result.status()) ||
                                                    absl::IsFailedPrecondition(result.status()));
  if (!useless) return result;
  std::fprintf(stderr, "saffron: trial %lld runs from the start: %s\n",
               static_cast<long long>(assignment.ref().trial_id()),
               std::string(result.status().message()).c_str());
  env.resume_from.clear();
  return run();
}

}  // namespace

void ServeTrainerSlot(int fd, const std::string& data_root) {
  DataStore data(data_root);
  StatisticsCache statistics({.dir = StatisticsCache::DefaultDir()});
  ServeSlot({.fd = fd,
             .body = [&](const v1::Assignment& assignment, const TrialControls& controls,
                         MeasurementSink& sink) -> absl::StatusOr<TrialResult> {
               ASSIGN_OR_RETURN(const ResolvedVariant variant,
                                VariantFromProto(assignment.variant()));
               if (assignment.has_init_from()) {
                 return absl::UnimplementedError(
                     "init_from: this worker cannot start a trial from another's model");
               }
               TrainerEnv env{.data = &data,
                              .statistics = &statistics,
                              .stop = &controls.stop,
                              .hand_back = &controls.hand_back,
                              .checkpoints = controls.checkpoints,
                              .resume_from = controls.resume_from};
               return RunFromCheckpoint(variant, assignment, std::move(env), sink);
             }});
}

}  // namespace saffron
