#include "coordinator/rpc/coordinator_server.h"

#include <future>
#include <map>
#include <thread>

#include "coordinator/sweep/sweep_reader.h"
#include "core/base/numerics_version.h"
#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "gtest/gtest.h"
#include "saffron/v1/roadmap.grpc.pb.h"
#include "saffron/v1/worker.grpc.pb.h"
#include "tests/unit/coordinator_store/store_fixture.h"

namespace saffron {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ServerTest : public testing::Test {
 protected:
  void SetUp() override { Boot(); }

  void Boot() {
    server.reset();
    auto started = CoordinatorServer::Start(Options());
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    channel = server->InProcessChannel();
    roadmaps = v1::RoadmapService::NewStub(channel);
    workers = v1::WorkerService::NewStub(channel);
  }
  CoordinatorServer::Options Options() const {
    return {.db_path = folder.File("results.db"),
            .data_root = folder.File("data"),
            .survive_power_loss = false};
  }

  grpc::Status Submit(const std::string& yaml, v1::SubmitResponse* response = nullptr) {
    const auto spec = ReadSweepText(yaml, SweepFormat::kYaml, "sweep.yaml");
    EXPECT_TRUE(spec.ok()) << spec.status();
    v1::SubmitRequest request;
    *request.mutable_spec() = *spec;
    v1::SubmitResponse unused;
    grpc::ClientContext context;
    return roadmaps->Submit(&context, request, response == nullptr ? &unused : response);
  }
  grpc::Status Register(int numerics = kNumericsVersion) {
    v1::RegisterRequest request;
    request.set_worker_id("w");
    request.set_slots(1);
    request.set_numerics_version(numerics);
    v1::RegisterResponse response;
    grpc::ClientContext context;
    return workers->Register(&context, request, &response);
  }
  v1::SyncResponse Sync(const v1::SyncRequest& request) {
    v1::SyncResponse response;
    grpc::ClientContext context;
    const grpc::Status status = workers->Sync(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }
  // Everything of a query; the status is expected to be OK.
  std::string Query(const std::string& sql, grpc::Status* status = nullptr) {
    v1::QueryRequest request;
    request.set_sql(sql);
    grpc::ClientContext context;
    auto reader = roadmaps->Query(&context, request);
    std::string text;
    v1::QueryRows rows;
    while (reader->Read(&rows)) {
      for (const v1::QueryRow& row : rows.rows()) {
        for (const v1::QueryValue& v : row.values()) {
          absl::StrAppend(&text,
                          v.has_integer()  ? absl::StrCat(v.integer())
                          : v.has_number() ? absl::StrCat(v.number())
                          : v.has_text()   ? v.text()
                                           : "NULL",
                          " ");
        }
      }
    }
    const grpc::Status end = reader->Finish();
    if (status != nullptr) {
      *status = end;
    } else {
      EXPECT_TRUE(end.ok()) << end.error_message();
    }
    return text;
  }

  TemporaryFolder folder;
  std::unique_ptr<CoordinatorServer> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::RoadmapService::Stub> roadmaps;
  std::unique_ptr<v1::WorkerService::Stub> workers;
};

constexpr char kSweep[] = R"(
name: nothing
question: How long does nothing take?
baseline: {model.type: noop}
parameters:
  model.sleep_ms: {values: [0, 1, 2]}
seeds: {count: 2, first: 17}
)";

TEST_F(ServerTest, ARoadmapRunsFromSweepToQuery) {
  v1::SubmitResponse submitted;
  ASSERT_TRUE(Submit(kSweep, &submitted).ok());
  EXPECT_EQ(submitted.revision(), 1);
  EXPECT_EQ(submitted.plan().trials(), 6);
  EXPECT_EQ(submitted.plan().trials_new(), 6);
  ASSERT_TRUE(Register().ok());
  std::vector<int64_t> sleeps;
  v1::SyncRequest request;
  for (int64_t sequence = 1; sequence <= 7; ++sequence) {
    request.set_worker_id("w");
    request.set_sequence(sequence);
    request.set_want(1);
    const v1::SyncResponse response = Sync(request);
    request.Clear();
    for (const v1::Assignment& a : response.assignments()) {
      for (const v1::Param& p : a.variant().params()) {
        if (p.key() == "model.sleep_ms") sleeps.push_back(p.value().integer());
      }
      v1::AttemptResult* result = request.add_finished();
      *result->mutable_ref() = a.ref();
      result->set_outcome(v1::OUTCOME_SUCCEEDED);
      v1::Measurement* metric = result->add_final_metrics();
      metric->set_key("time/total_s");
      metric->set_value(0.5);
    }
  }
  EXPECT_THAT(sleeps, ElementsAre(0, 2, 1, 0, 2, 1));  // the baseline first, then long before short
  EXPECT_EQ(Query("SELECT state, count(*), sum(seconds) FROM v_trials WHERE roadmap = 'nothing' "
                  "GROUP BY state"),
            "succeeded 6 3 ");
}

TEST_F(ServerTest, PlanChangesNothing) {
  v1::SubmitRequest request;
  *request.mutable_spec() = *ReadSweepText(kSweep, SweepFormat::kYaml, "sweep.yaml");
  v1::PlanResponse plan;
  grpc::ClientContext context;
  ASSERT_TRUE(roadmaps->Plan(&context, request, &plan).ok());
  EXPECT_EQ(plan.trials_new(), 6);
  EXPECT_EQ(Query("SELECT count(*) FROM roadmaps"), "0 ");
}

TEST_F(ServerTest, AnUnknownCorpusIsRefusedWithItsPlace) {
  const grpc::Status status = Submit("name: a\nbaseline:\n  data.corpus: nowhere\n");
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr("sweep.yaml:3:"), HasSubstr("nowhere")));
  EXPECT_EQ(Query("SELECT count(*) FROM roadmaps"), "0 ");
}

TEST_F(ServerTest, AWorkerOfAnotherNumericsVersionIsRefused) {
  EXPECT_EQ(Register(kNumericsVersion + 1).error_code(), grpc::FAILED_PRECONDITION);
}

TEST_F(ServerTest, AHeldCallIsAnsweredWhenASweepArrives) {
  ASSERT_TRUE(Register().ok());
  std::thread submitter([&] {
    // The call below is open by then, or finds the work at once: either is right.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_TRUE(Submit(kSweep).ok());
  });
  v1::SyncRequest request;
  request.set_worker_id("w");
  request.set_want(1);
  request.mutable_wait()->set_seconds(10);
  EXPECT_EQ(Sync(request).assignments_size(), 1);
  submitter.join();
}

TEST_F(ServerTest, AHeldCallThatIsGivenUpTakesNoWork) {
  ASSERT_TRUE(Register().ok());
  v1::SyncRequest request;
  request.set_worker_id("w");
  request.set_want(1);
  request.mutable_wait()->set_seconds(10);
  v1::SyncResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(50));
  EXPECT_EQ(workers->Sync(&context, request, &response).error_code(), grpc::DEADLINE_EXCEEDED);
  ASSERT_TRUE(Submit(kSweep).ok());
  // Whether or not the engine heard of it in time, the worker's next call gets the work.
  request.clear_wait();
  EXPECT_EQ(Sync(request).assignments_size(), 1);
}

TEST_F(ServerTest, WatchEndsWhenEveryTrialHasEnded) {
  ASSERT_TRUE(Submit(kSweep).ok());
  v1::WatchRequest request;
  request.set_roadmap("last");
  request.mutable_min_interval()->set_nanos(20'000'000);
  grpc::ClientContext context;
  auto reader = roadmaps->Watch(&context, request);
  v1::RoadmapStatus status;
  ASSERT_TRUE(reader->Read(&status));
  EXPECT_EQ(status.queued(), 6);
  v1::ControlRequest cancel;
  cancel.set_roadmap("nothing");
  v1::ControlResponse cancelled;
  grpc::ClientContext cancel_context;
  ASSERT_TRUE(roadmaps->Cancel(&cancel_context, cancel, &cancelled).ok());
  EXPECT_EQ(cancelled.trials_changed(), 6);
  while (reader->Read(&status)) continue;
  EXPECT_EQ(status.cancelled(), 6);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(ServerTest, AWatchThatIsGivenUpEndsAndAnUnknownRoadmapIsNotFound) {
  ASSERT_TRUE(Submit(kSweep).ok());
  v1::WatchRequest request;
  request.set_roadmap("nothing");
  v1::RoadmapStatus status;
  {
    grpc::ClientContext context;
    auto reader = roadmaps->Watch(&context, request);
    ASSERT_TRUE(reader->Read(&status));
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::CANCELLED);
  }
  request.set_roadmap("nothin");
  grpc::ClientContext context;
  const grpc::Status end = roadmaps->Watch(&context, request)->Finish();
  EXPECT_EQ(end.error_code(), grpc::NOT_FOUND);
  EXPECT_THAT(end.error_message(), HasSubstr("did you mean nothing?"));
}

TEST_F(ServerTest, QueriesStreamTypesAndManyRowsAndRefuseWriting) {
  EXPECT_EQ(Query("SELECT 1, 2.5, 'x', NULL"), "1 2.5 x NULL ");
  const std::string many = Query(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT i "
      "FROM n");
  EXPECT_EQ(std::count(many.begin(), many.end(), ' '), 2000);
  grpc::Status status;
  Query("DELETE FROM trials", &status);
  EXPECT_EQ(status.error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(ServerTest, ARunningQueryDoesNotDelayShutdown) {
  v1::QueryRequest request;
  request.set_sql(
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n");
  request.mutable_time_limit()->set_seconds(1000);
  grpc::ClientContext context;
  auto reader = roadmaps->Query(&context, request);
  std::thread stopper([&] { server->Shutdown(); });
  v1::QueryRows rows;
  EXPECT_FALSE(reader->Read(&rows));
  EXPECT_FALSE(reader->Finish().ok());
  stopper.join();
}

TEST_F(ServerTest, ExplainTellsWhyATrialWaits) {
  ASSERT_TRUE(Submit(kSweep).ok());
  v1::ExplainRequest request;
  request.set_trial_id(1);
  v1::ExplainResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(roadmaps->Explain(&context, request, &response).ok());
  EXPECT_EQ(response.state(), "queued");
  EXPECT_THAT(response.reasons(0), HasSubstr("No worker is connected"));
}

TEST_F(ServerTest, APortInUseIsRefused) {
  CoordinatorServer::Options options = Options();
  options.db_path = folder.File("other.db");
  options.listen = server->address();
  const auto second = CoordinatorServer::Start(options);
  EXPECT_TRUE(absl::IsAlreadyExists(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr(absl::StrCat("port ", server->port(), " is in use")));
}

TEST_F(ServerTest, ADatabaseInUseIsRefused) {
  EXPECT_TRUE(absl::IsFailedPrecondition(CoordinatorServer::Start(Options()).status()));
}

TEST_F(ServerTest, AddressesThatCannotBeListenedOnAreRefused) {
  CoordinatorServer::Options options = Options();
  options.db_path = folder.File("other.db");
  for (const char* listen : {"", "localhost", "1.2.3.4", "127.0.0.1:x", "127.0.0.1:99999", ":80",
                             "::1:80", "192.0.2.1:0", "no.such.host.invalid:0"}) {
    options.listen = listen;
    EXPECT_TRUE(absl::IsInvalidArgument(CoordinatorServer::Start(options).status())) << listen;
  }
}

TEST_F(ServerTest, ItListensOnARealPort) {
  EXPECT_GT(server->port(), 0);
  auto stub = v1::RoadmapService::NewStub(
      grpc::CreateChannel(server->address(), grpc::InsecureChannelCredentials()));
  v1::ExplainRequest request;
  v1::ExplainResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(stub->Explain(&context, request, &response).error_code(), grpc::NOT_FOUND);
}

// The status that Check of grpc.health.v1.Health answers: 1 is SERVING. (By hand: the message is
// one field, and no generated code of it is installed.)
TEST_F(ServerTest, HealthIsServing) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  const grpc::Slice empty;
  grpc::ByteBuffer request(&empty, 1), response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &request, &response,
                 [&](grpc::Status status) { done.set_value(status); });
  const grpc::Status status = done.get_future().get();
  ASSERT_TRUE(status.ok()) << status.error_message();
  grpc::Slice slice;
  ASSERT_TRUE(response.DumpToSingleSlice(&slice).ok());
  EXPECT_EQ(std::string(slice.begin(), slice.end()), std::string("\x08\x01"));
}

TEST_F(ServerTest, ReflectionIsOn) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  const grpc::Slice empty;
  grpc::ByteBuffer request(&empty, 1), response;
  std::promise<grpc::Status> done;
  // Not a stream: the method exists, so the complaint is about the empty request.
  stub.UnaryCall(&context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", {},
                 &request, &response, [&](grpc::Status status) { done.set_value(status); });
  EXPECT_NE(done.get_future().get().error_code(), grpc::UNIMPLEMENTED);
}

TEST_F(ServerTest, ARestartKeepsEverything) {
  ASSERT_TRUE(Submit(kSweep).ok());
  Boot();
  v1::SubmitResponse again;
  ASSERT_TRUE(Submit(kSweep, &again).ok());
  EXPECT_EQ(again.revision(), 1);
  EXPECT_EQ(again.plan().trials_pending(), 6);
}

}  // namespace
}  // namespace saffron
