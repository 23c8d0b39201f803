#include "worker/session.h"

#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);

v1::AttemptRef Ref(int64_t trial, int attempt = 1) {
  v1::AttemptRef ref;
  ref.set_trial_id(trial);
  ref.set_attempt(attempt);
  return ref;
}

v1::AttemptResult Result(int64_t trial, double seconds = 10) {
  v1::AttemptResult result;
  *result.mutable_ref() = Ref(trial);
  result.set_outcome(v1::OUTCOME_SUCCEEDED);
  result.mutable_started()->set_seconds(100);
  result.mutable_ended()->set_seconds(100 + static_cast<int64_t>(seconds));
  result.mutable_ended()->set_nanos(
      static_cast<int>((seconds - static_cast<int64_t>(seconds)) * 1e9));
  return result;
}

std::vector<v1::Measurement> Curve(int first, int count) {
  std::vector<v1::Measurement> curve(count);
  for (int i = 0; i < count; ++i) {
    curve[i].set_key("train/loss");
    curve[i].set_step(first + i);
  }
  return curve;
}

class SessionTest : public testing::Test {
 protected:
  SessionTest() : session_({.worker_id = "w", .slots = 2}) { Register("db"); }

  Session::Orders Register(const std::string& coordinator) {
    v1::RegisterResponse response;
    response.set_coordinator_id(coordinator);
    response.mutable_lease()->set_seconds(30);
    return session_.Registered(response);
  }
  Session::Orders Assign(const std::vector<int64_t>& trials) {
    v1::SyncResponse response;
    for (const int64_t trial : trials) *response.add_assignments()->mutable_ref() = Ref(trial);
    return session_.Synced(response, absl::ZeroDuration());
  }
  Session::Orders Acknowledge(const std::vector<int64_t>& trials) {
    v1::SyncResponse response;
    for (const int64_t trial : trials) *response.add_results_acknowledged() = Ref(trial);
    return session_.Synced(response, absl::ZeroDuration());
  }
  Session::Orders Durable(int64_t trial, int64_t next_sequence) {
    v1::SyncResponse response;
    v1::MeasurementsDurable* durable = response.add_measurements_durable();
    *durable->mutable_ref() = Ref(trial);
    durable->set_next_sequence(next_sequence);
    return session_.Synced(response, absl::ZeroDuration());
  }

  Session session_;
};

TEST_F(SessionTest, AnIdleWorkerWantsATrialForEachSlot) {
  const v1::SyncRequest request = session_.NextSync();
  EXPECT_EQ(request.want(), 2);
  EXPECT_EQ(request.sequence(), 1);
  EXPECT_EQ(request.wait().seconds(), 10);
}

TEST_F(SessionTest, AnAssignmentIsStartedOnceHoweverOftenItArrives) {
  EXPECT_EQ(Assign({1}).start.size(), 1);
  EXPECT_TRUE(Assign({1}).start.empty());
  EXPECT_EQ(session_.NextSync().want(), 1);
}

TEST_F(SessionTest, AResultIsRepeatedUntilItIsAcknowledged) {
  Assign({1});
  session_.Finished(Result(1));
  EXPECT_EQ(session_.NextSync().finished_size(), 1);
  EXPECT_EQ(session_.NextSync().finished_size(), 1);
  EXPECT_EQ(Acknowledge({1}).delivered.size(), 1);
  EXPECT_EQ(session_.NextSync().finished_size(), 0);
  EXPECT_TRUE(Acknowledge({1}).delivered.empty());
}

TEST_F(SessionTest, LongTrialsAreNotFetchedAheadAndShortOnesAre) {
  Assign({1, 2});
  session_.Finished(Result(1, 10));
  EXPECT_EQ(session_.NextSync().want(), 1);
  Session fast({.worker_id = "w", .slots = 2, .ahead = absl::Milliseconds(100), .ahead_max = 8});
  v1::SyncResponse response;
  *response.add_assignments()->mutable_ref() = Ref(1);
  fast.Synced(response, absl::ZeroDuration());
  fast.Finished(Result(1, 0.03));
  EXPECT_EQ(fast.NextSync().want(), 2 * (1 + 3));
}

TEST_F(SessionTest, MeasurementsAreRepeatedFromTheFirstThatIsNotDurable) {
  Assign({1});
  session_.Measured(Ref(1), Curve(0, 5), kNow);
  EXPECT_EQ(session_.NextSync().running(0).measurements_size(), 5);
  Durable(1, 3);
  session_.Measured(Ref(1), Curve(5, 1), kNow);
  const v1::SyncRequest request = session_.NextSync();
  EXPECT_EQ(request.running(0).first_sequence(), 3);
  ASSERT_EQ(request.running(0).measurements_size(), 3);
  EXPECT_EQ(request.running(0).measurements(0).step(), 3);
  Durable(1, 100);  // more than there is, as after a restored database
  EXPECT_EQ(session_.NextSync().running(0).measurements_size(), 0);
  EXPECT_EQ(session_.NextSync().running(0).first_sequence(), 6);
}

TEST_F(SessionTest, AResultNeverOvertakesItsMeasurements) {
  Assign({1});
  session_.Measured(Ref(1), Curve(0, 25'000), kNow);
  session_.Finished(Result(1));
  int64_t sent = 0;
  for (int calls = 1;; ++calls) {
    const v1::SyncRequest request = session_.NextSync();
    ASSERT_LE(request.ByteSizeLong(), 2u << 20);
    ASSERT_EQ(request.running_size(), 1);
    EXPECT_EQ(request.running(0).first_sequence(), sent);
    sent += request.running(0).measurements_size();
    EXPECT_EQ(request.finished_size() == 1, sent == 25'000);
    if (request.finished_size() == 1) break;
    EXPECT_TRUE(session_.HasNews(kNow)) << "there is more to say";
    ASSERT_LT(calls, 10);
    Durable(1, sent);
  }
}

TEST_F(SessionTest, AFinishedTrialIsNewsAtOnceAndAMeasurementAfterASecond) {
  Assign({1});
  session_.NextSync();
  EXPECT_FALSE(session_.HasNews(kNow));
  session_.Measured(Ref(1), Curve(0, 1), kNow);
  EXPECT_FALSE(session_.HasNews(kNow));
  EXPECT_TRUE(session_.HasNews(kNow + absl::Seconds(1)));
  session_.NextSync();
  EXPECT_FALSE(session_.HasNews(kNow + absl::Seconds(1)));
  session_.Finished(Result(1));
  EXPECT_TRUE(session_.HasNews(kNow));
}

TEST_F(SessionTest, AbandonedAttemptsAreForgotten) {
  Assign({1, 2});
  session_.Finished(Result(2));
  v1::SyncResponse response;
  *response.add_abandon() = Ref(1);
  *response.add_abandon() = Ref(2);
  *response.add_abandon() = Ref(3);
  const Session::Orders orders = session_.Synced(response, absl::ZeroDuration());
  EXPECT_EQ(orders.abandon.size(), 1);
  EXPECT_EQ(orders.delivered.size(), 1) << "the finished one need not be kept";
  session_.Measured(Ref(1), Curve(0, 1), kNow);
  session_.Finished(Result(1));
  const v1::SyncRequest request = session_.NextSync();
  EXPECT_EQ(request.running_size() + request.finished_size(), 0);
}

TEST_F(SessionTest, TheSameCoordinatorBackAgainFindsEverythingInHand) {
  Assign({1, 2});
  session_.Finished(Result(2));
  session_.Failed(absl::NotFoundError("unknown worker"), absl::ZeroDuration());
  EXPECT_FALSE(session_.registered());
  EXPECT_TRUE(Register("db").abandon.empty());
  const v1::SyncRequest request = session_.NextSync();
  EXPECT_EQ(request.running_size(), 1);
  EXPECT_EQ(request.finished_size(), 1);
}

TEST_F(SessionTest, NothingIsEverTakenToAnotherDatabase) {
  Assign({1, 2});
  session_.Finished(Result(2));
  EXPECT_EQ(Register("other").abandon.size(), 2);
  const v1::SyncRequest request = session_.NextSync();
  EXPECT_EQ(request.running_size() + request.finished_size(), 0);
}

TEST_F(SessionTest, BackOffGrowsToItsLimitIsJitteredAndStartsAgainAfterSuccess) {
  std::vector<absl::Duration> pauses;
  for (int i = 0; i < 12; ++i) {
    pauses.push_back(session_.Failed(absl::UnavailableError("gone"), absl::ZeroDuration()));
  }
  EXPECT_GE(pauses[0], absl::Milliseconds(50));
  EXPECT_LE(pauses[0], absl::Milliseconds(100));
  for (int i = 8; i < 12; ++i) {
    EXPECT_GE(pauses[i], absl::Milliseconds(2500));
    EXPECT_LE(pauses[i], absl::Seconds(5));
  }
  EXPECT_NE(pauses[10], pauses[11]);
  Assign({});
  EXPECT_LE(session_.Failed(absl::UnavailableError("gone"), absl::ZeroDuration()),
            absl::Milliseconds(100));
  EXPECT_EQ(session_.Failed(absl::ResourceExhaustedError("busy"), absl::Seconds(42)),
            absl::Seconds(42));
}

TEST_F(SessionTest, AWorkerUnknownToTheCoordinatorRegistersWithoutDelayButNotForEver) {
  EXPECT_EQ(session_.Failed(absl::NotFoundError("who?"), absl::ZeroDuration()),
            absl::ZeroDuration());
  EXPECT_GT(session_.Failed(absl::NotFoundError("who?"), absl::ZeroDuration()),
            absl::ZeroDuration());
}

TEST_F(SessionTest, LeavingIsDoneWhenItWasSaidAndNothingIsInHand) {
  Assign({1});
  session_.Drain();
  EXPECT_FALSE(session_.Done());
  EXPECT_TRUE(session_.HasNews(kNow));
  v1::SyncRequest request = session_.NextSync();
  EXPECT_TRUE(request.draining());
  EXPECT_EQ(request.want(), 0);
  EXPECT_EQ(request.wait().seconds() + request.wait().nanos(), 0) << "nothing to wait for";
  Assign({});
  EXPECT_FALSE(session_.Done());
  session_.Finished(Result(1));
  Acknowledge({1});
  EXPECT_TRUE(session_.Done());
}

TEST_F(SessionTest, AnAnswerToACallFromBeforeLeavingDoesNotCountAsFarewell) {
  session_.NextSync();
  session_.Drain();
  Assign({});
  EXPECT_FALSE(session_.Done());
  session_.NextSync();
  v1::SyncResponse farewell;
  farewell.mutable_next_sync()->set_seconds(5);
  EXPECT_EQ(session_.Synced(farewell, absl::ZeroDuration()).pause, absl::ZeroDuration());
  EXPECT_TRUE(session_.Done());
}

TEST_F(SessionTest, WhatWasSpooledIsDeliveredByTheNextSession) {
  Assign({1});
  session_.Measured(Ref(1), Curve(0, 5), kNow);
  Durable(1, 2);
  session_.Finished(Result(1));
  Session next({.worker_id = "next"});
  next.Restore(session_.RecordOf(Ref(1)));
  const v1::SyncRequest request = next.NextSync();
  ASSERT_EQ(request.finished_size(), 1);
  EXPECT_EQ(request.finished(0).ref().trial_id(), 1);
  EXPECT_EQ(request.running(0).first_sequence(), 2);
  EXPECT_EQ(request.running(0).measurements_size(), 3);
}

TEST_F(SessionTest, AnEmptyAnswerIsFollowedByAPauseUnlessTheCallWasHeldOpen) {
  v1::SyncResponse response;
  response.mutable_next_sync()->set_seconds(5);
  EXPECT_EQ(session_.Synced(response, absl::Seconds(1)).pause, absl::Seconds(4));
  EXPECT_EQ(session_.Synced(response, absl::Seconds(10)).pause, absl::ZeroDuration());
  *response.add_assignments()->mutable_ref() = Ref(1);
  EXPECT_EQ(session_.Synced(response, absl::ZeroDuration()).pause, absl::ZeroDuration());
}

v1::AttemptResult NoCorpus(int64_t trial, const std::string& fingerprint) {
  v1::AttemptResult result = Result(trial, 0.001);
  result.set_outcome(v1::OUTCOME_FAILED);
  result.set_failure_class(v1::FAILURE_CLASS_ERROR);
  result.mutable_missing_corpus()->set_fingerprint(fingerprint);
  return result;
}

TEST_F(SessionTest, AMissingCorpusIsNamedInEveryCallUntilItIsFound) {
  Assign({1, 2});
  const int want = session_.NextSync().want();
  session_.Finished(NoCorpus(1, "feed"));
  session_.Finished(NoCorpus(2, "feed"));
  v1::SyncRequest request = session_.NextSync();
  EXPECT_EQ(request.finished_size(), 2);
  ASSERT_EQ(request.missing_corpora_size(), 1);
  EXPECT_EQ(request.missing_corpora(0).fingerprint(), "feed");
  EXPECT_EQ(request.want(), want + 2) << "a trial that never began says nothing about their length";
  Acknowledge({1, 2});
  session_.Failed(absl::NotFoundError("who?"), absl::ZeroDuration());
  Register("db");
  EXPECT_EQ(session_.NextSync().missing_corpora_size(), 1) << "to a new coordinator too";
  session_.Found(request.missing_corpora(0));
  EXPECT_TRUE(session_.HasNews(kNow));
  EXPECT_EQ(session_.NextSync().missing_corpora_size(), 0);
}

TEST_F(SessionTest, SoManyMissingCorporaAreNamedAndNoMore) {
  std::vector<int64_t> trials;
  for (int64_t trial = 1; trial <= 100; ++trial) trials.push_back(trial);
  Assign(trials);
  for (int64_t trial : trials) {
    EXPECT_EQ(session_.NextSync().missing_more(), trial > 65);
    session_.Finished(NoCorpus(trial, std::to_string(trial)));
  }
  EXPECT_EQ(session_.NextSync().missing_corpora_size(), 64);
  session_.Found(session_.missing_corpora()[0]);
  EXPECT_EQ(session_.NextSync().missing_corpora_size(), 63);
  EXPECT_FALSE(session_.NextSync().missing_more()) << "the others are tried again";
}

TEST_F(SessionTest, EveryCallSaysWhetherTheCpuHasBfloat16) {
  EXPECT_FALSE(session_.NextSync().no_bf16());
  Session old({.worker_id = "old", .no_bf16 = true});
  EXPECT_TRUE(old.NextSync().no_bf16());
}

}  // namespace
}  // namespace saffron
