#include "coordinator/rpc/artifact_edge.h"

#include <filesystem>
#include <fstream>
#include <future>

#include "coordinator/rpc/coordinator_server.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/digest.h"
#include "core/base/numerics_version.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "saffron/v1/roadmap.grpc.pb.h"
#include "saffron/v1/worker.grpc.pb.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;

// A coordinator with one trial in the hands of worker "w".
class ArtifactEdgeTest : public testing::Test {
 protected:
  void SetUp() override {
    auto started = CoordinatorServer::Start({.db_path = folder_.File("results.db"),
                                             .data_root = folder_.File("data"),
                                             .survive_power_loss = false});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    artifacts_ = v1::ArtifactService::NewStub(server_->InProcessChannel());
    workers_ = v1::WorkerService::NewStub(server_->InProcessChannel());
    const auto spec = ReadSweepText("version: 1\nname: a\nbaseline: {model.type: noop}\n",
                                    SweepFormat::kYaml, "sweep.yaml");
    ASSERT_TRUE(spec.ok()) << spec.status();
    v1::SubmitRequest submit;
    *submit.mutable_spec() = *spec;
    v1::SubmitResponse submitted;
    grpc::ClientContext context;
    const auto roadmaps = v1::RoadmapService::NewStub(server_->InProcessChannel());
    const grpc::Status status = roadmaps->Submit(&context, submit, &submitted);
    ASSERT_TRUE(status.ok()) << status.error_message();
    v1::RegisterRequest join;
    join.set_worker_id("w");
    join.set_slots(1);
    join.set_numerics_version(kNumericsVersion);
    v1::RegisterResponse joined;
    grpc::ClientContext join_context;
    ASSERT_TRUE(workers_->Register(&join_context, join, &joined).ok());
    v1::SyncRequest want;
    want.set_want(1);
    const v1::SyncResponse assigned = Sync(want);
    ASSERT_EQ(assigned.assignments_size(), 1);
    ref_ = assigned.assignments(0).ref();
  }

  v1::SyncResponse Sync(v1::SyncRequest request) {
    request.set_worker_id("w");
    v1::SyncResponse response;
    grpc::ClientContext context;
    const grpc::Status status = workers_->Sync(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  v1::OfferArtifactRequest OfferOf(const std::string& text, int64_t step = 10) {
    v1::OfferArtifactRequest offer;
    *offer.mutable_attempt() = ref_;
    offer.mutable_artifact()->set_sha256(Sha256Hex(text));
    offer.mutable_artifact()->set_bytes(static_cast<int64_t>(text.size()));
    offer.mutable_artifact()->set_kind("state");
    offer.mutable_artifact()->set_step(step);
    return offer;
  }
  grpc::Status Offer(const v1::OfferArtifactRequest& offer, v1::OfferArtifactResponse* answer) {
    grpc::ClientContext context;
    return artifacts_->Offer(&context, offer, answer);
  }
  // STORED, SEND or UNWANTED.
  v1::OfferArtifactResponse MustOffer(const v1::OfferArtifactRequest& offer) {
    v1::OfferArtifactResponse answer;
    const grpc::Status status = Offer(offer, &answer);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return answer;
  }
  grpc::Status Put(const v1::OfferArtifactRequest& offer, int64_t offset, const std::string& data,
                   size_t chunk = 1000, bool break_off = false) {
    grpc::ClientContext context;
    v1::PutArtifactResponse response;
    const auto writer = artifacts_->Put(&context, &response);
    v1::PutArtifactRequest message;
    *message.mutable_artifact() = offer;
    message.set_offset(offset);
    for (size_t at = 0; at < data.size(); at += chunk) {
      message.set_data(data.substr(at, chunk));
      if (!writer->Write(message)) break;
      message.Clear();
    }
    if (break_off) context.TryCancel();
    writer->WritesDone();
    return writer->Finish();
  }
  grpc::Status Get(const std::string& digest, int64_t offset, std::string* text) {
    grpc::ClientContext context;
    v1::GetArtifactRequest request;
    request.set_sha256(digest);
    request.set_offset(offset);
    const auto reader = artifacts_->Get(&context, request);
    v1::GetArtifactResponse message;
    while (reader->Read(&message)) *text += message.data();
    return reader->Finish();
  }

  TemporaryFolder folder_;
  std::unique_ptr<CoordinatorServer> server_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  v1::AttemptRef ref_;
};

TEST_F(ArtifactEdgeTest, AFileGoesUpAndDownAgain) {
  std::string text(700'000, 'x');
  text[5] = 'y';
  const auto offer = OfferOf(text);
  EXPECT_EQ(MustOffer(offer).answer(), v1::OfferArtifactResponse::SEND);
  const grpc::Status put = Put(offer, 0, text, 1 << 20);
  ASSERT_TRUE(put.ok()) << put.error_message();
  EXPECT_EQ(MustOffer(offer).answer(), v1::OfferArtifactResponse::STORED);
  std::string whole, tail;
  EXPECT_TRUE(Get(offer.artifact().sha256(), 0, &whole).ok());
  EXPECT_TRUE(Get(offer.artifact().sha256(), 600'000, &tail).ok());
  EXPECT_EQ(whole, text);
  EXPECT_EQ(tail, text.substr(600'000));
}

TEST_F(ArtifactEdgeTest, ATransferThatBrokeOffGoesOn) {
  const std::string text = std::string(4'000, 'a') + std::string(4'000, 'b');
  const auto offer = OfferOf(text);
  // Ends before the file does: what came is kept.
  EXPECT_EQ(Put(offer, 0, text.substr(0, 3'000)).error_code(), grpc::StatusCode::DATA_LOSS);
  const auto answer = MustOffer(offer);
  EXPECT_EQ(answer.answer(), v1::OfferArtifactResponse::SEND);
  ASSERT_EQ(answer.offset(), 3'000);
  EXPECT_EQ(Put(offer, 0, text).error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_TRUE(Put(offer, 3'000, text.substr(3'000)).ok());
  EXPECT_EQ(MustOffer(offer).answer(), v1::OfferArtifactResponse::STORED);
}

TEST_F(ArtifactEdgeTest, AFileThatTheCoordinatorCanSeeIsNotSent) {
  const std::string text = "the same disk";
  auto offer = OfferOf(text);
  offer.set_path(folder_.File("state.safetensors"));
  std::ofstream(offer.path()) << text;
  EXPECT_EQ(MustOffer(offer).answer(), v1::OfferArtifactResponse::STORED);
  // One that holds something else has to be sent.
  auto other = OfferOf("something else");
  other.set_path(offer.path());
  EXPECT_EQ(MustOffer(other).answer(), v1::OfferArtifactResponse::SEND);
}

TEST_F(ArtifactEdgeTest, WrongBytesAndWrongCallsAreRefused) {
  const auto offer = OfferOf("text");
  EXPECT_EQ(Put(offer, 0, "TEXT").error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Put(offer, 0, std::string(3 << 20, 'x'), 3 << 20).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::OfferArtifactResponse answer;
  auto bad = offer;
  bad.mutable_artifact()->set_sha256("../../x");
  EXPECT_EQ(Offer(bad, &answer).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  bad = offer;
  bad.mutable_artifact()->set_kind("virus");
  EXPECT_EQ(Offer(bad, &answer).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  bad = offer;
  bad.mutable_attempt()->set_trial_id(77);
  bad.set_path(folder_.File("seen"));
  std::ofstream(bad.path()) << "text";
  EXPECT_EQ(Offer(bad, &answer).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_FALSE(std::filesystem::exists(folder_.File("results.db.artifacts") + "/" +
                                       offer.artifact().sha256().substr(0, 2) + "/" +
                                       offer.artifact().sha256().substr(2)))
      << "taken in for nobody";
  std::string text;
  EXPECT_EQ(Get(Sha256Hex("none"), 0, &text).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Get("../../../etc/passwd", 0, &text).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ArtifactEdgeTest, TheNextAttemptIsToldAndAResultRemovesTheFile) {
  const auto offer = OfferOf("state at 10");
  ASSERT_TRUE(Put(offer, 0, "state at 10").ok());
  v1::SyncRequest back;
  v1::AttemptResult* result = back.add_finished();
  *result->mutable_ref() = ref_;
  result->set_outcome(v1::OUTCOME_FAILED);
  result->set_failure_class(v1::FAILURE_CLASS_PREEMPTED);
  back.set_want(1);
  const v1::SyncResponse again = Sync(back);
  ASSERT_EQ(again.assignments_size(), 1);
  EXPECT_EQ(again.assignments(0).resume_from().sha256(), offer.artifact().sha256());
  EXPECT_EQ(again.assignments(0).resume_from().step(), 10);

  v1::SyncRequest done;
  result = done.add_finished();
  *result->mutable_ref() = again.assignments(0).ref();
  result->set_outcome(v1::OUTCOME_SUCCEEDED);
  Sync(done);
  std::string text;
  EXPECT_EQ(Get(offer.artifact().sha256(), 0, &text).error_code(), grpc::StatusCode::NOT_FOUND);
  const auto late = MustOffer(offer);
  EXPECT_EQ(late.answer(), v1::OfferArtifactResponse::UNWANTED);
  EXPECT_THAT(late.reason(), HasSubstr("has a result"));
}

TEST_F(ArtifactEdgeTest, AnAbandonedTransferDoesNotKeepTheServerFromStopping) {
  const std::string text(100'000, 'x');
  EXPECT_FALSE(Put(OfferOf(text), 0, text.substr(0, 50'000), 1000, /*break_off=*/true).ok());
  server_->Shutdown();
}

}  // namespace
}  // namespace saffron
