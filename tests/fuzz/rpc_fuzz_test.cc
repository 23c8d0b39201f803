// A live coordinator, in process, against arbitrary messages on every call it offers: well-formed,
// as the wire demands, and nonsense otherwise. It answers each, never with "our bug", and
// afterwards it still does its work.
//
// Longer: SAFFRON_FUZZ_ITERATIONS=1000000 SAFFRON_FUZZ_SEED=7; SAFFRON_FUZZ_DUMP=FILE holds the
// last message.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"
#include "coordinator/rpc/coordinator_server.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/check.h"
#include "core/base/numerics_version.h"
#include "core/base/random.h"
#include "google/protobuf/message.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "saffron/v1/roadmap.grpc.pb.h"
#include "saffron/v1/worker.grpc.pb.h"
#include "tests/fuzz/mutator.h"

namespace saffron {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// Fills messages with values that are plausible, extreme, or both.
class Nonsense {
 public:
  explicit Nonsense(uint64_t seed) : random_(seed, RandomPurpose::kTest) {}

  uint64_t Below(uint64_t n) { return random_.Below(draws_++, n); }

  // Sets some of the fields, at random.
  void Fill(Message* message, int depth = 0) {
    const google::protobuf::Descriptor* type = message->GetDescriptor();
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor* field = type->field(i);
      if (Below(3) == 0 || (depth > 6 && field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)) {
        continue;
      }
      const uint64_t count = field->is_repeated() ? Below(4) : 1;
      for (uint64_t n = 0; n < count; ++n) Set(message, field, depth);
    }
  }

 private:
  template <typename T>
  T Number() {
    switch (Below(8)) {
      case 0:
        return std::numeric_limits<T>::max();
      case 1:
        return std::numeric_limits<T>::lowest();
      case 2:
        return static_cast<T>(-1);
      case 3:
        return static_cast<T>(random_.Bits(draws_++));
      default:
        return static_cast<T>(Below(6));
    }
  }
  double Real() {
    const double values[] = {0, 1, -1, 0.5, 1e308, -1e-308, NAN, INFINITY, -INFINITY, 1e6};
    return values[Below(10)];
  }
  std::string Text() {
    static const char* const kTexts[] = {"",
                                         "w1",
                                         "w2",
                                         "last",
                                         "fuzz",
                                         "1",
                                         "-1",
                                         "valid/perplexity",
                                         "noop",
                                         "model.type",
                                         "model.sleep_ms",
                                         "= 1 / 0",
                                         "SELECT * FROM trials",
                                         "SELECT count(*) FROM events, metrics",
                                         "DELETE FROM trials",
                                         "PRAGMA journal_mode = DELETE",
                                         "ATTACH '/tmp/x' AS x",
                                         "SELECT load_extension('x')",
                                         "'; DROP TABLE trials; --",
                                         "\xC3\xA9\xE2\x82\xAC",
                                         "../../etc"};
    if (Below(20) == 0) return std::string(Below(5000), 'x');
    if (Below(20) == 0) return std::string("a\0b", 3);
    return kTexts[Below(std::size(kTexts))];
  }

  void Set(Message* message, const FieldDescriptor* field, int depth) {
    const Reflection* r = message->GetReflection();
    const bool many = field->is_repeated();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return many ? r->AddInt32(message, field, Number<int32_t>())
                    : r->SetInt32(message, field, Number<int32_t>());
      case FieldDescriptor::CPPTYPE_INT64:
        return many ? r->AddInt64(message, field, Number<int64_t>())
                    : r->SetInt64(message, field, Number<int64_t>());
      case FieldDescriptor::CPPTYPE_UINT32:
        return many ? r->AddUInt32(message, field, Number<uint32_t>())
                    : r->SetUInt32(message, field, Number<uint32_t>());
      case FieldDescriptor::CPPTYPE_UINT64:
        return many ? r->AddUInt64(message, field, Number<uint64_t>())
                    : r->SetUInt64(message, field, Number<uint64_t>());
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return many ? r->AddDouble(message, field, Real()) : r->SetDouble(message, field, Real());
      case FieldDescriptor::CPPTYPE_FLOAT:
        return many ? r->AddFloat(message, field, static_cast<float>(Real()))
                    : r->SetFloat(message, field, static_cast<float>(Real()));
      case FieldDescriptor::CPPTYPE_BOOL:
        return many ? r->AddBool(message, field, Below(2)) : r->SetBool(message, field, Below(2));
      case FieldDescriptor::CPPTYPE_ENUM:
        return many ? r->AddEnumValue(message, field, static_cast<int>(Below(8)))
                    : r->SetEnumValue(message, field, static_cast<int>(Below(8)));
      case FieldDescriptor::CPPTYPE_STRING:
        return many ? r->AddString(message, field, Text()) : r->SetString(message, field, Text());
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return Fill(many ? r->AddMessage(message, field) : r->MutableMessage(message, field),
                    depth + 1);
    }
  }

  CounterRandom random_;
  uint64_t draws_ = 0;
};

class RpcFuzzTest : public testing::Test {
 protected:
  RpcFuzzTest() {
    std::string pattern = testing::TempDir() + "saffron_rpc_fuzz_XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    auto server = CoordinatorServer::Start({.db_path = database(),
                                            .data_root = folder_ + "/data",
                                            .lease = absl::Seconds(5),
                                            .survive_power_loss = false});
    CHECK(server.ok()) << server.status();
    server_ = *std::move(server);
    workers_ = v1::WorkerService::NewStub(server_->InProcessChannel());
    roadmaps_ = v1::RoadmapService::NewStub(server_->InProcessChannel());
  }
  ~RpcFuzzTest() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  std::string database() const { return folder_ + "/fuzz.db"; }

  static v1::SubmitRequest Trials(const std::string& name, const std::string& values) {
    v1::SubmitRequest request;
    auto spec = ReadSweepText(absl::StrCat("name: ", name,
                                           "\nbaseline: {model.type: noop}\ninclude_baseline: "
                                           "false\nparameters:\n  model.sleep_ms: {values: [",
                                           values, "]}\n"),
                              SweepFormat::kYaml, "fuzz.yaml");
    CHECK(spec.ok()) << spec.status();
    *request.mutable_spec() = *spec;
    return request;
  }

  // Calls that wait are given up soon.
  struct Context : grpc::ClientContext {
    Context() { set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200)); }
  };
  static void Check(const grpc::Status& status, const Message& request) {
    const grpc::StatusCode code = status.error_code();
    CHECK(code != grpc::INTERNAL && code != grpc::UNKNOWN && code != grpc::DATA_LOSS)
        << status.error_message() << "\n"
        << request.ShortDebugString();
  }
  static void Dump(const Message& request) {
    const char* dump = std::getenv("SAFFRON_FUZZ_DUMP");
    if (dump != nullptr) std::ofstream(dump) << request.DebugString();
  }

  template <typename Request, typename Response, typename Stub>
  void Unary(Stub& stub,
             grpc::Status (Stub::*call)(grpc::ClientContext*, const Request&, Response*),
             Request request) {
    Dump(request);
    Context context;
    Response response;
    Check((stub.*call)(&context, request, &response), request);
  }
  template <typename Request>
  Request Filled(Request request = {}) {
    nonsense_.Fill(&request);
    return request;
  }

  void CallSomething() {
    using W = v1::WorkerService::Stub;
    using R = v1::RoadmapService::Stub;
    switch (nonsense_.Below(12)) {
      case 0:
        return Unary(*workers_, &W::Register, Filled<v1::RegisterRequest>());
      case 1: {
        auto request = Filled<v1::RegisterRequest>();
        request.set_worker_id(nonsense_.Below(2) == 0 ? "w1" : "w2");
        request.set_numerics_version(kNumericsVersion);
        return Unary(*workers_, &W::Register, request);
      }
      case 2:
        return Unary(*roadmaps_, &R::Submit, Filled<v1::SubmitRequest>());
      case 3: {
        auto request = Filled(Trials("fuzz", "0, 1, 2, 3"));
        request.mutable_spec()->mutable_limits()->set_variants(20);
        return Unary(*roadmaps_, &R::Plan, request);
      }
      case 4:
        return Unary(*roadmaps_, &R::Cancel, Filled<v1::ControlRequest>());
      case 5:
        return Unary(*roadmaps_, &R::Resume, Filled<v1::ControlRequest>());
      case 6:
        return Unary(*roadmaps_, &R::Explain, Filled<v1::ExplainRequest>());
      case 7: {
        const auto request = Filled<v1::QueryRequest>();
        Dump(request);
        Context context;
        auto reader = roadmaps_->Query(&context, request);
        v1::QueryRows rows;
        while (reader->Read(&rows)) {
        }
        return Check(reader->Finish(), request);
      }
      default: {
        auto request = Filled<v1::SyncRequest>();
        if (nonsense_.Below(4) > 0) {
          request.set_worker_id(nonsense_.Below(2) == 0 ? "w1" : "w2");
          request.clear_sequence();
        }
        if (nonsense_.Below(4) > 0) request.clear_wait();
        return Unary(*workers_, &W::Sync, request);
      }
    }
  }

  // A worker that does what a worker does, until nothing is left to do.
  int WorkUntilIdle(const std::string& name) {
    v1::RegisterRequest registration;
    registration.set_worker_id(name);
    registration.set_slots(2);
    registration.set_numerics_version(kNumericsVersion);
    grpc::ClientContext context;
    v1::RegisterResponse registered;
    CHECK(workers_->Register(&context, registration, &registered).ok());
    v1::SyncRequest request;
    int done = 0;
    for (int calls = 0, idle = 0; calls < 1000 && idle < 3; ++calls) {
      request.set_worker_id(name);
      request.set_want(2);
      grpc::ClientContext call;
      v1::SyncResponse response;
      const grpc::Status status = workers_->Sync(&call, request, &response);
      CHECK(status.ok()) << status.error_message();
      done += response.results_acknowledged_size();
      idle = response.assignments_size() + request.finished_size() == 0 ? idle + 1 : 0;
      request.Clear();
      for (const v1::Assignment& assignment : response.assignments()) {
        v1::AttemptResult* result = request.add_finished();
        *result->mutable_ref() = assignment.ref();
        result->set_outcome(v1::OUTCOME_SUCCEEDED);
      }
    }
    return done;
  }

  std::string folder_;
  std::unique_ptr<CoordinatorServer> server_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  std::unique_ptr<v1::RoadmapService::Stub> roadmaps_;
  Nonsense nonsense_{FromEnvironment("SAFFRON_FUZZ_SEED", 1)};
};

TEST_F(RpcFuzzTest, ACoordinatorOutlivesNonsense) {
  Unary(*roadmaps_, &v1::RoadmapService::Stub::Submit, Trials("fuzz", "0, 1, 2, 3"));
  for (uint64_t i = FromEnvironment("SAFFRON_FUZZ_ITERATIONS", 2000); i > 0; --i) CallSomething();

  // It still works: another roadmap's trials are done by a worker that behaves.
  Unary(*roadmaps_, &v1::RoadmapService::Stub::Submit, Trials("after", "10, 11, 12, 13"));
  WorkUntilIdle("honest");
  auto db = Database::Open(database(), Database::Mode::kReadOnly);
  ASSERT_TRUE(db.ok()) << db.status();
  const auto count = [&](const char* sql) {
    auto statement = db->Prepare(sql);
    EXPECT_TRUE(statement.ok()) << statement.status();
    return statement->One()->value_or(-1);
  };
  EXPECT_EQ(count("SELECT count(*) FROM v_trials WHERE roadmap = 'after' AND state = 'succeeded'"),
            4);
  EXPECT_EQ(count("SELECT count(*) FROM trials t WHERE 1 < (SELECT count(*) FROM attempts a WHERE "
                  "a.trial = t.id AND a.outcome IN ('succeeded', 'diverged', 'pruned'))"),
            0);
  EXPECT_EQ(count("SELECT count(*) FROM pragma_foreign_key_check"), 0);
}

}  // namespace
}  // namespace saffron
