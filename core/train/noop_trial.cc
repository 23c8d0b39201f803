// model.type noop: no model, for measuring and testing what runs trials.

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "core/base/random.h"
#include "core/train/trial_families.h"

namespace saffron {
namespace {

using Clock = std::chrono::steady_clock;

// False when stopped before the time was over.
bool Sleep(const TrialInputs& inputs, Clock::duration duration) {
  constexpr auto kSlice = std::chrono::milliseconds(5);
  const auto end = Clock::now() + duration;
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    if (inputs.stopped()) return false;
    std::this_thread::sleep_for(std::min<Clock::duration>(kSlice, end - now));
  }
  return !inputs.stopped();
}

absl::StatusOr<TrialResult> Succeed(TrialResult result) { return result; }
absl::StatusOr<TrialResult> Diverge(TrialResult result) {
  result.outcome = TrainOutcome::kDiverged;
  result.message = "model.behaviour is diverge";
  return result;
}
absl::StatusOr<TrialResult> Fail(TrialResult) {
  return absl::InternalError("model.behaviour is fail");
}
absl::StatusOr<TrialResult> Crash(TrialResult) {
  std::fputs("model.behaviour is crash\n", stderr);
  std::abort();
}

}  // namespace

absl::StatusOr<TrialResult> RunNoopTrial(const TrialInputs& inputs, MeasurementSink& sink) {
  static const auto* const behaviours =
      new std::map<std::string, absl::StatusOr<TrialResult> (*)(TrialResult)>{
          {"succeed", Succeed}, {"diverge", Diverge}, {"fail", Fail}, {"crash", Crash}};
  const auto started = Clock::now();
  const int64_t sleep_ms = inputs.variant.Int("model.sleep_ms");
  const CounterRandom random(inputs.seed, RandomPurpose::kNoise);
  TrialResult result;
  for (const char* split : {"train", "valid", "test"}) {
    const double nats = 1 + random.Uniform(static_cast<uint64_t>(sleep_ms));
    result.metrics[std::string(split) + "/nats_per_token"] = nats;
    result.metrics[std::string(split) + "/perplexity"] = std::exp(nats);
  }
  sink.Record({"valid/nats_per_token", 0, result.metrics["valid/nats_per_token"]});
  if (!Sleep(inputs, std::chrono::milliseconds(sleep_ms))) {
    return absl::CancelledError("stopped while sleeping");
  }
  result.metrics["time/total_s"] = std::chrono::duration<double>(Clock::now() - started).count();
  return behaviours->at(inputs.variant.String("model.behaviour"))(std::move(result));
}

}  // namespace saffron
