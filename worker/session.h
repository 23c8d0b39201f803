#pragma once
// What a worker knows and owes: the attempts in hand, the measurements and results not yet
// acknowledged, and what to say next. A pure state machine: no threads, no network, no clock; time
// and randomness are arguments or derived from the worker's name. Not thread-safe.
//
// Both ends exchange states, not changes (worker.proto), so a lost, late or repeated call is
// harmless: whatever was not acknowledged is simply said again.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "saffron/v1/slot.pb.h"
#include "saffron/v1/worker.pb.h"

namespace saffron {

class Session {
 public:
  struct Options {
    std::string worker_id;  // unique per process
    std::string hostname = {};
    int64_t pid = 0;
    std::string process_space = {};  // where `pid` means something
    int slots = 1;
    std::string build = {};
    int numerics_version = 0;
    bool no_bf16 = false;  // the CPU has no AVX512-BF16
    // Attempts are fetched ahead to cover this much of a slot's time, at most this many a slot:
    // short trials then never wait for a round trip, and long ones are never kept from an idle
    // worker.
    absl::Duration ahead = absl::Milliseconds(250);
    int ahead_max = 64;
    // Back-off between failed calls: exponential between these, each drawn from [1/2, 1] of it.
    absl::Duration backoff_min = absl::Milliseconds(100);
    absl::Duration backoff_max = absl::Seconds(5);
  };
  explicit Session(Options options);

  // --- What the slots did.
  void Measured(const v1::AttemptRef& ref, std::vector<v1::Measurement> measurements,
                absl::Time now);
  void Finished(v1::AttemptResult result);
  // Corpora that cannot be opened here, as results said (AttemptResult.missing_corpus), until they
  // are found. At most 64, and whether there are more.
  const std::vector<v1::CorpusRef>& missing_corpora() const { return missing_corpora_; }
  // It can be opened now.
  void Found(const v1::CorpusRef& corpus);
  // Finished attempts that an earlier process of this machine could not deliver.
  void Restore(v1::SpoolRecord record);
  // What must survive this process until it is acknowledged. The attempt must have finished.
  v1::SpoolRecord RecordOf(const v1::AttemptRef& ref) const;

  // --- Leaving, when told to here or by the coordinator: no new work from now on. Done when
  // nothing is left to say.
  void Drain();
  bool draining() const { return draining_; }
  bool Done() const { return draining_ && said_draining_ && attempts_.empty(); }

  // --- The wire.
  bool registered() const { return registered_; }
  const std::string& coordinator_id() const { return coordinator_id_; }
  v1::RegisterRequest Registration() const;
  v1::SyncRequest NextSync();

  // What to do after an answer.
  struct Orders {
    std::vector<v1::Assignment> start;
    std::vector<v1::AttemptRef> abandon;    // stop and forget
    std::vector<v1::AttemptRef> delivered;  // results that need not be kept any longer
    // Pause before the next call, unless HasNews before; zero: call at once.
    absl::Duration pause;
  };
  // A coordinator of another database than before: everything in hand is abandoned, for the numbers
  // of its trials mean other trials there.
  Orders Registered(const v1::RegisterResponse& response);
  // `held`: how long the call was open.
  Orders Synced(const v1::SyncResponse& response, absl::Duration held);
  // A call failed; `retry_after` is what the coordinator asked for, zero if nothing. Returns how
  // long to wait. NOT_FOUND makes the session register again.
  absl::Duration Failed(const absl::Status& status, absl::Duration retry_after);
  // Failed calls since the last one that succeeded.
  int failures() const { return failures_; }

  // Whether there is something to say that should not wait for a call held open.
  bool HasNews(absl::Time now) const { return now >= NewsAt(); }
  // When HasNews becomes true by itself: the present, a moment soon, or the infinite future.
  absl::Time NewsAt() const;

  int64_t in_hand() const;      // attempts waiting or running
  int64_t undelivered() const;  // results not acknowledged

 private:
  using Key = std::pair<int64_t, int32_t>;  // trial, attempt
  struct Attempt {
    int64_t first_sequence = 0;                 // of measurements.front()
    std::vector<v1::Measurement> measurements;  // not acknowledged
    std::optional<v1::AttemptResult> result;
  };
  static Key KeyOf(const v1::AttemptRef& ref) { return {ref.trial_id(), ref.attempt()}; }
  static v1::AttemptRef RefOf(const Key& key);
  int Want() const;
  void Miss(const v1::CorpusRef& corpus);
  void Succeeded();

  const Options options_;
  bool registered_ = false;
  bool draining_ = false;
  bool saying_draining_ = false;  // the newest call says so
  bool said_draining_ = false;    // an answer came to a call that said so
  std::string coordinator_id_;
  absl::Duration lease_ = absl::Seconds(30);
  std::map<Key, Attempt> attempts_;
  double mean_seconds_ = -1;  // of recent trials; negative: none yet
  absl::Time news_at_ = absl::InfiniteFuture();
  std::vector<v1::CorpusRef> missing_corpora_;
  bool missing_more_ = false;
  int64_t sequence_ = 0;
  int failures_ = 0;
  uint64_t backoffs_ = 0;
};

}  // namespace saffron
