#include "worker/session.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "core/base/random.h"

namespace saffron {
namespace {

// One request stays far below gRPC's 4 MiB.
constexpr int kMeasurementsMax = 10'000;
constexpr int kResultsMax = 500;
// A point of a learning curve reaches the database at most this much later.
constexpr absl::Duration kMeasurementDelay = absl::Seconds(1);
constexpr double kMeanWeight = 0.2;
// As worker.proto says.
constexpr int kMissingMax = 64;

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

void ToProto(absl::Duration duration, google::protobuf::Duration* out) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration - absl::Seconds(seconds))));
}

double SecondsTaken(const v1::AttemptResult& result) {
  return static_cast<double>(result.ended().seconds() - result.started().seconds()) +
         1e-9 * (result.ended().nanos() - result.started().nanos());
}

}  // namespace

Session::Session(Options options) : options_(std::move(options)) {}

v1::AttemptRef Session::RefOf(const Key& key) {
  v1::AttemptRef ref;
  ref.set_trial_id(key.first);
  ref.set_attempt(key.second);
  return ref;
}

void Session::Measured(const v1::AttemptRef& ref, std::vector<v1::Measurement> measurements,
                       absl::Time now) {
  const auto found = attempts_.find(KeyOf(ref));
  if (found == attempts_.end()) return;  // abandoned meanwhile
  std::vector<v1::Measurement>& kept = found->second.measurements;
  kept.insert(kept.end(), std::make_move_iterator(measurements.begin()),
              std::make_move_iterator(measurements.end()));
  news_at_ = std::min(news_at_, now + kMeasurementDelay);
}

void Session::Finished(v1::AttemptResult result) {
  const auto found = attempts_.find(KeyOf(result.ref()));
  if (found == attempts_.end()) return;
  if (result.has_missing_corpus()) {
    Miss(result.missing_corpus());
  } else if (result.has_started() && result.has_ended()) {
    const double seconds = std::max(0.0, SecondsTaken(result));
    mean_seconds_ =
        mean_seconds_ < 0 ? seconds : (1 - kMeanWeight) * mean_seconds_ + kMeanWeight * seconds;
  }
  found->second.result = std::move(result);
  news_at_ = absl::InfinitePast();
}

void Session::Miss(const v1::CorpusRef& corpus) {
  const bool known = std::any_of(
      missing_corpora_.begin(), missing_corpora_.end(),
      [&](const v1::CorpusRef& other) { return other.fingerprint() == corpus.fingerprint(); });
  if (known) return;
  if (std::ssize(missing_corpora_) == kMissingMax) {
    missing_more_ = true;
  } else {
    missing_corpora_.push_back(corpus);
  }
}

void Session::Found(const v1::CorpusRef& corpus) {
  std::erase_if(missing_corpora_, [&](const v1::CorpusRef& other) {
    return other.fingerprint() == corpus.fingerprint();
  });
  missing_more_ = false;  // those without a name are tried again, and named
  news_at_ = absl::InfinitePast();
}

void Session::Restore(v1::SpoolRecord record) {
  Attempt& attempt = attempts_[KeyOf(record.result().ref())];
  attempt.first_sequence = record.undelivered().first_sequence();
  attempt.measurements.assign(record.undelivered().measurements().begin(),
                              record.undelivered().measurements().end());
  attempt.result = std::move(*record.mutable_result());
  news_at_ = absl::InfinitePast();
}

v1::SpoolRecord Session::RecordOf(const v1::AttemptRef& ref) const {
  v1::SpoolRecord record;
  const auto found = attempts_.find(KeyOf(ref));
  if (found == attempts_.end() || !found->second.result.has_value()) return record;
  *record.mutable_result() = *found->second.result;
  v1::AttemptProgress* undelivered = record.mutable_undelivered();
  *undelivered->mutable_ref() = ref;
  undelivered->set_first_sequence(found->second.first_sequence);
  undelivered->mutable_measurements()->Assign(found->second.measurements.begin(),
                                              found->second.measurements.end());
  return record;
}

void Session::Drain() {
  draining_ = true;
  news_at_ = absl::InfinitePast();
}

int64_t Session::in_hand() const {
  return std::count_if(attempts_.begin(), attempts_.end(),
                       [](const auto& entry) { return !entry.second.result.has_value(); });
}

int64_t Session::undelivered() const { return std::ssize(attempts_) - in_hand(); }

int Session::Want() const {
  if (draining_) return 0;
  double ahead = 0;
  if (mean_seconds_ >= 0) {
    ahead = std::floor(absl::ToDoubleSeconds(options_.ahead) / std::max(mean_seconds_, 1e-6));
    ahead = std::min<double>(ahead, options_.ahead_max);
  }
  const int64_t target = options_.slots * (1 + static_cast<int64_t>(ahead));
  return static_cast<int>(std::max<int64_t>(0, target - in_hand()));
}

v1::RegisterRequest Session::Registration() const {
  v1::RegisterRequest request;
  request.set_worker_id(options_.worker_id);
  request.set_hostname(options_.hostname);
  request.set_pid(options_.pid);
  request.set_process_space(options_.process_space);
  request.set_slots(options_.slots);
  request.set_numerics_version(options_.numerics_version);
  request.set_build(options_.build);
  return request;
}

v1::SyncRequest Session::NextSync() {
  v1::SyncRequest request;
  request.set_worker_id(options_.worker_id);
  request.set_sequence(++sequence_);
  request.set_want(Want());
  request.set_draining(draining_);
  request.mutable_missing_corpora()->Assign(missing_corpora_.begin(), missing_corpora_.end());
  request.set_missing_more(missing_more_);
  request.set_no_bf16(options_.no_bf16);
  saying_draining_ = draining_;
  // A third of the lease: two renewals may be lost. A worker that leaves waits for nothing.
  ToProto(draining_ ? absl::ZeroDuration()
                    : std::clamp(lease_ / 3, absl::Milliseconds(100), absl::Seconds(10)),
          request.mutable_wait());
  int measurements_left = kMeasurementsMax;
  bool complete = true;
  for (const auto& [key, attempt] : attempts_) {
    const int64_t pending = std::ssize(attempt.measurements);
    const int64_t sent = std::min<int64_t>(pending, measurements_left);
    measurements_left -= static_cast<int>(sent);
    // A result goes only with or after the last of its measurements.
    const bool send_result =
        attempt.result.has_value() && sent == pending && request.finished_size() < kResultsMax;
    if (sent < pending || (attempt.result.has_value() && !send_result)) complete = false;
    if (send_result) *request.add_finished() = *attempt.result;
    if (send_result && sent == 0) continue;
    v1::AttemptProgress* progress = request.add_running();
    *progress->mutable_ref() = RefOf(key);
    progress->set_first_sequence(attempt.first_sequence);
    progress->mutable_measurements()->Assign(attempt.measurements.begin(),
                                             attempt.measurements.begin() + sent);
  }
  news_at_ = complete ? absl::InfiniteFuture() : absl::InfinitePast();
  return request;
}

void Session::Succeeded() { failures_ = 0; }

Session::Orders Session::Registered(const v1::RegisterResponse& response) {
  Succeeded();
  Orders orders;
  if (!coordinator_id_.empty() && coordinator_id_ != response.coordinator_id()) {
    for (const auto& [key, attempt] : attempts_) orders.abandon.push_back(RefOf(key));
    attempts_.clear();
  }
  registered_ = true;
  coordinator_id_ = response.coordinator_id();
  lease_ = FromProto(response.lease());
  return orders;
}

Session::Orders Session::Synced(const v1::SyncResponse& response, absl::Duration held) {
  Succeeded();
  said_draining_ = said_draining_ || saying_draining_;
  Orders orders;
  for (const v1::MeasurementsDurable& durable : response.measurements_durable()) {
    const auto found = attempts_.find(KeyOf(durable.ref()));
    if (found == attempts_.end()) continue;
    Attempt& attempt = found->second;
    const int64_t count = std::clamp<int64_t>(durable.next_sequence() - attempt.first_sequence, 0,
                                              std::ssize(attempt.measurements));
    attempt.measurements.erase(attempt.measurements.begin(), attempt.measurements.begin() + count);
    attempt.first_sequence += count;
  }
  for (const v1::AttemptRef& ref : response.results_acknowledged()) {
    const auto found = attempts_.find(KeyOf(ref));
    if (found == attempts_.end() || !found->second.result.has_value()) continue;
    attempts_.erase(found);
    orders.delivered.push_back(ref);
  }
  for (const v1::AttemptRef& ref : response.abandon()) {
    const auto found = attempts_.find(KeyOf(ref));
    if (found == attempts_.end()) continue;
    (found->second.result.has_value() ? orders.delivered : orders.abandon).push_back(ref);
    attempts_.erase(found);
  }
  for (const v1::Assignment& assignment : response.assignments()) {
    // One that came too late for a draining worker is taken all the same, and handed back.
    if (attempts_.try_emplace(KeyOf(assignment.ref())).second) orders.start.push_back(assignment);
  }
  if (response.leave()) Drain();
  const bool empty = !response.leave() && response.assignments_size() == 0 &&
                     response.abandon_size() == 0 && response.results_acknowledged_size() == 0 &&
                     response.measurements_durable_size() == 0;
  orders.pause = empty && !Done()
                     ? std::max(absl::ZeroDuration(), FromProto(response.next_sync()) - held)
                     : absl::ZeroDuration();
  return orders;
}

absl::Duration Session::Failed(const absl::Status& status, absl::Duration retry_after) {
  ++failures_;
  news_at_ = absl::InfinitePast();
  if (absl::IsNotFound(status)) {
    registered_ = false;
    if (failures_ == 1) return absl::ZeroDuration();
  }
  const double growth = std::pow(2.0, std::min(failures_ - 1, 30));
  const absl::Duration longest = std::min(options_.backoff_max, options_.backoff_min * growth);
  const CounterRandom random(std::hash<std::string>()(options_.worker_id), RandomPurpose::kBackoff);
  return std::max(retry_after, longest * (0.5 + 0.5 * random.Uniform(backoffs_++)));
}

absl::Time Session::NewsAt() const { return news_at_; }

}  // namespace saffron
