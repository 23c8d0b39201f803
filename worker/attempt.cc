#include "worker/attempt.h"

#include <utility>

#include "absl/strings/cord.h"

namespace saffron {
namespace {

void SetTimestamp(absl::Time time, google::protobuf::Timestamp* out) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  out->set_seconds(seconds);
  out->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

v1::FailureClass FailureClassOf(const absl::Status& status) {
  return absl::IsResourceExhausted(status) ? v1::FAILURE_CLASS_OUT_OF_MEMORY
                                           : v1::FAILURE_CLASS_ERROR;
}

constexpr char kNoCorpus[] = "saffron/no-corpus";  // a payload's name

}  // namespace

absl::Status NoCorpusError(const absl::Status& why) {
  absl::Status status = absl::NotFoundError(why.message());
  status.SetPayload(kNoCorpus, absl::Cord());
  return status;
}

bool IsNoCorpus(const absl::Status& status) { return status.GetPayload(kNoCorpus).has_value(); }

v1::CorpusRef CorpusOf(const v1::Assignment& assignment) {
  v1::CorpusRef corpus;
  corpus.set_fingerprint(assignment.data_fingerprint());
  for (const v1::Param& param : assignment.variant().params()) {
    if (param.key() == "data.corpus") corpus.set_name(param.value().text());
  }
  return corpus;
}

v1::AttemptResult ResultOf(const v1::Assignment& assignment,
                           const absl::StatusOr<TrialResult>& result, absl::Time started,
                           absl::Time ended) {
  v1::AttemptResult out;
  *out.mutable_ref() = assignment.ref();
  SetTimestamp(started, out.mutable_started());
  SetTimestamp(ended, out.mutable_ended());
  if (!result.ok()) {
    out.set_outcome(v1::OUTCOME_FAILED);
    out.set_failure_class(FailureClassOf(result.status()));
    out.set_message(std::string(result.status().message()));
    if (IsNoCorpus(result.status())) *out.mutable_missing_corpus() = CorpusOf(assignment);
    return out;
  }
  out.set_outcome(result->outcome == TrainOutcome::kDiverged ? v1::OUTCOME_DIVERGED
                                                             : v1::OUTCOME_SUCCEEDED);
  out.set_message(result->message);
  const auto steps = result->metrics.find("train/steps_done");
  const int64_t step = steps == result->metrics.end() ? 0 : static_cast<int64_t>(steps->second);
  for (const auto& [key, value] : result->metrics) {
    v1::Measurement* metric = out.add_final_metrics();
    metric->set_key(key);
    metric->set_step(step);
    metric->set_value(value);
  }
  return out;
}

v1::AttemptResult FailedResult(const v1::AttemptRef& ref, v1::FailureClass failure_class,
                               std::string message) {
  v1::AttemptResult out;
  *out.mutable_ref() = ref;
  out.set_outcome(v1::OUTCOME_FAILED);
  out.set_failure_class(failure_class);
  out.set_message(std::move(message));
  return out;
}

}  // namespace saffron
