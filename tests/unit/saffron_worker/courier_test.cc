#include "worker/courier.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/digest.h"
#include "core/data/files.h"
#include "core/train/routing_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "slot_child.h"

namespace saffron {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// The coordinator's end, in memory and on no disk that the worker could see.
class FakeArtifacts : public v1::ArtifactService::Service {
 public:
  grpc::Status Offer(grpc::ServerContext*, const v1::OfferArtifactRequest* request,
                     v1::OfferArtifactResponse* response) override {
    std::lock_guard lock(mutex_);
    ++offers;
    if (unavailable > 0) {
      --unavailable;
      return {grpc::StatusCode::UNAVAILABLE, "not now"};
    }
    if (refuse) return {grpc::StatusCode::NOT_FOUND, "there is no such trial"};
    const std::string& digest = request->artifact().sha256();
    const bool complete = Sha256Hex(files[digest]) == digest;
    response->set_answer(complete ? v1::OfferArtifactResponse::STORED
                                  : v1::OfferArtifactResponse::SEND);
    response->set_offset(static_cast<int64_t>(files[digest].size()));
    return grpc::Status::OK;
  }
  grpc::Status Put(grpc::ServerContext*, grpc::ServerReader<v1::PutArtifactRequest>* reader,
                   v1::PutArtifactResponse*) override {
    v1::PutArtifactRequest message;
    std::string digest;
    while (reader->Read(&message)) {
      std::lock_guard lock(mutex_);
      if (message.has_artifact()) {
        digest = message.artifact().artifact().sha256();
        order.push_back(message.artifact());
        EXPECT_EQ(message.offset(), static_cast<int64_t>(files[digest].size()));
      }
      files[digest] += message.data();
      if (break_off > 0 && --break_off == 0) return {grpc::StatusCode::UNAVAILABLE, "broke off"};
    }
    std::lock_guard lock(mutex_);
    return Sha256Hex(files[digest]) == digest
               ? grpc::Status::OK
               : grpc::Status(grpc::StatusCode::DATA_LOSS, "other bytes");
  }
  grpc::Status Get(grpc::ServerContext*, const v1::GetArtifactRequest* request,
                   grpc::ServerWriter<v1::GetArtifactResponse>* writer) override {
    std::lock_guard lock(mutex_);
    const auto found = files.find(request->sha256());
    if (found == files.end()) return {grpc::StatusCode::NOT_FOUND, "not stored"};
    v1::GetArtifactResponse message;
    message.set_bytes(static_cast<int64_t>(found->second.size()));
    message.set_path("/nowhere/" + request->sha256());
    for (size_t at = static_cast<size_t>(request->offset()); at < found->second.size();
         at += 1000) {
      message.set_data(found->second.substr(at, 1000));
      writer->Write(message);
      message.Clear();
      if (break_off > 0 && --break_off == 0) return {grpc::StatusCode::UNAVAILABLE, "broke off"};
    }
    return grpc::Status::OK;
  }

  std::map<std::string, std::string> files;
  std::vector<v1::OfferArtifactRequest> order;
  int offers = 0, unavailable = 0, break_off = 0;
  bool refuse = false;
  std::mutex mutex_;
};

class CourierTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "courier.XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&artifacts_);
    server_ = builder.BuildAndStart();
    address_ = "127.0.0.1:" + std::to_string(port);
  }
  void TearDown() override {
    courier_.reset();
    server_->Shutdown();
    fs::remove_all(dir_);
  }

  Courier& Start(const std::string& worker = "w1") {
    courier_ = std::make_unique<Courier>(Courier::Options{
        .channel = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()),
        .dir = dir_,
        .worker_id = worker,
        .checkpoint_every_s = 60,
        .log = [this](const std::string& line) {
          std::lock_guard lock(mutex_);
          log_ += line + "\n";
        }});
    courier_->Open("c1");
    return *courier_;
  }
  // A file of another worker's folder as an attempt would leave it; its digest.
  std::string LeaveFor(const std::string& folder, const std::string& name, int64_t step) {
    fs::create_directories(dir_ + "/" + folder);
    std::ofstream(dir_ + "/" + folder + "/lock");
    const auto variant = ResolvedVariant::Resolve({});
    EXPECT_TRUE(variant.ok()) << variant.status();
    const auto written = WriteRouting(dir_ + "/" + folder + "/" + name,
                                      {*variant, 1, "fingerprint", {}}, step, RoutingMetrics());
    EXPECT_TRUE(written.ok()) << written.status();
    return written.ok() ? written->sha256 : "";
  }
  // A state of the attempt, as its slot would leave it.
  v1::SlotCheckpoint Leave(const v1::AttemptRef& ref, int64_t step, const std::string& text) {
    v1::Assignment assignment;
    *assignment.mutable_ref() = ref;
    v1::SlotCheckpoint checkpoint;
    checkpoint.set_path(courier_->FilesFor(assignment).checkpoint_prefix() + "-" +
                        std::to_string(step) + ".safetensors");
    std::ofstream(checkpoint.path(), std::ios::binary) << text;
    checkpoint.mutable_artifact()->set_sha256(Sha256Hex(text));
    checkpoint.mutable_artifact()->set_bytes(static_cast<int64_t>(text.size()));
    checkpoint.mutable_artifact()->set_kind("state");
    checkpoint.mutable_artifact()->set_step(step);
    return checkpoint;
  }
  static absl::Time Soon() { return absl::Now() + absl::Seconds(10); }
  std::string Log() {
    std::lock_guard lock(mutex_);
    return log_;
  }

  std::string dir_, address_, log_;
  std::mutex mutex_;
  FakeArtifacts artifacts_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Courier> courier_;
  const v1::AttemptRef ref_ = AssignmentFor(12, "", 3).ref();
};

TEST_F(CourierTest, ACheckpointArrivesWholeAndLeavesTheDisk) {
  Courier& courier = Start();
  const std::string text(1'500'000, 'x');
  const v1::SlotCheckpoint checkpoint = Leave(ref_, 40, text);
  courier.Send(ref_, checkpoint);
  courier.AwaitDelivery(ref_, Soon());
  EXPECT_EQ(artifacts_.files[Sha256Hex(text)], text);
  ASSERT_EQ(artifacts_.order.size(), 1u);
  EXPECT_EQ(artifacts_.order[0].attempt().trial_id(), 12);
  EXPECT_EQ(artifacts_.order[0].artifact().step(), 40);
  EXPECT_FALSE(fs::exists(checkpoint.path()));
  courier_.reset();
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(CourierTest, AnOutageAndABrokenTransferAreWaitedOut) {
  artifacts_.unavailable = 2;
  artifacts_.break_off = 2;
  Courier& courier = Start();
  const std::string text(1'500'000, 'y');
  courier.Send(ref_, Leave(ref_, 40, text));
  courier.AwaitDelivery(ref_, Soon());
  EXPECT_EQ(artifacts_.files[Sha256Hex(text)], text);
  EXPECT_GE(artifacts_.offers, 4);
}

TEST_F(CourierTest, OfWaitingStatesOnlyTheNewestIsDelivered) {
  artifacts_.unavailable = 2;
  Courier& courier = Start();
  for (const int step : {10, 20, 30, 40}) {
    courier.Send(ref_, Leave(ref_, step, "state " + std::to_string(step)));
  }
  courier.AwaitDelivery(ref_, Soon());
  EXPECT_EQ(artifacts_.files.count(Sha256Hex("state 40")), 1u);
  EXPECT_EQ(artifacts_.files.count(Sha256Hex("state 20")), 0u);
  EXPECT_EQ(artifacts_.files.count(Sha256Hex("state 30")), 0u);
}

TEST_F(CourierTest, WhatIsRefusedForGoodIsForgottenWithAWord) {
  artifacts_.refuse = true;
  Courier& courier = Start();
  const v1::SlotCheckpoint checkpoint = Leave(ref_, 40, "state");
  courier.Send(ref_, checkpoint);
  courier.AwaitDelivery(ref_, Soon());
  EXPECT_FALSE(fs::exists(checkpoint.path()));
  EXPECT_THAT(Log(), HasSubstr("trial 12 was refused: there is no such trial"));
}

TEST_F(CourierTest, WaitingForDeliveryEndsAtItsDeadline) {
  artifacts_.unavailable = 1'000'000;
  Courier& courier = Start();
  courier.Send(ref_, Leave(ref_, 40, "state"));
  courier.AwaitDelivery(ref_, absl::Now() + absl::Milliseconds(50));
  EXPECT_TRUE(artifacts_.files.empty());
}

TEST_F(CourierTest, WhatADeadWorkerLeftIsDeliveredAsWhatItIs) {
  const std::string routing = LeaveFor("c1.w0.checkpoints", "t12-a3-routing.safetensors", 7),
                    model = LeaveFor("c1.w0.checkpoints", "t12-a3-best.safetensors", 5),
                    state = LeaveFor("c1.w0.checkpoints", "t12-a4-6.safetensors", 6);
  // Broke off while they were written, by another name or by the machine's end.
  std::ofstream(dir_ + "/c1.w0.checkpoints/t12-a3-last.safetensors.tmp") << "half";
  std::ofstream(dir_ + "/c1.w0.checkpoints/t13-a1-routing.safetensors") << "half";
  Courier& courier = Start("w1");
  for (const int attempt : {3, 4})
    courier.AwaitDelivery(AssignmentFor(12, "", attempt).ref(), Soon());
  std::map<std::string, std::string> delivered;
  for (const v1::OfferArtifactRequest& offer : artifacts_.order) {
    EXPECT_EQ(offer.attempt().trial_id(), 12);
    const v1::Artifact& artifact = offer.artifact();
    EXPECT_EQ(artifact.bytes(), static_cast<int64_t>(artifacts_.files[artifact.sha256()].size()));
    delivered[artifact.sha256()] = absl::StrCat(offer.attempt().attempt(), " ", artifact.kind(),
                                                " ", artifact.role(), " ", artifact.step());
  }
  EXPECT_EQ(delivered, (std::map<std::string, std::string>{{routing, "3 trace routing 7"},
                                                           {model, "3 checkpoint best 5"},
                                                           {state, "4 state  6"}}));
  courier_.reset();
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(CourierTest, NothingIsTakenFromALivingWorkerOrForAnotherCoordinator) {
  LeaveFor("c1.w0.checkpoints", "t12-a3-routing.safetensors", 7);
  LeaveFor("c2.w0.checkpoints", "t12-a3-routing.safetensors", 7);
  const int alive = ::open((dir_ + "/c1.w0.checkpoints/lock").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(alive, LOCK_EX | LOCK_NB), 0);
  Start("w1");
  courier_.reset();
  ::close(alive);
  EXPECT_EQ(artifacts_.offers, 0);
  for (const char* folder : {"c1.w0.checkpoints", "c2.w0.checkpoints"}) {
    EXPECT_TRUE(fs::exists(dir_ + "/" + folder + "/t12-a3-routing.safetensors")) << folder;
  }
}

TEST_F(CourierTest, AnAttemptStartsFromAStateThatWasFetchedThroughBreaks) {
  const std::string text(5'000, 'z');
  artifacts_.files[Sha256Hex(text)] = text;
  artifacts_.break_off = 3;
  Courier& courier = Start();
  v1::Assignment assignment = AssignmentFor(12, "", 4);
  assignment.mutable_resume_from()->set_sha256(Sha256Hex(text));
  const v1::SlotFiles files = courier.FilesFor(assignment);
  EXPECT_EQ(*ReadWholeFile(files.resume_from()), text);
  EXPECT_EQ(files.checkpoint_every_s(), 60);
  courier.Forget(assignment.ref());
  EXPECT_FALSE(fs::exists(files.resume_from()));
}

TEST_F(CourierTest, AStateThatCannotBeHadMeansStartingFromTheStart) {
  Courier& courier = Start();
  v1::Assignment assignment = AssignmentFor(12, "", 4);
  assignment.mutable_resume_from()->set_sha256(Sha256Hex("gone"));
  EXPECT_EQ(courier.FilesFor(assignment).resume_from(), "");
  EXPECT_THAT(Log(), HasSubstr("trial 12 runs from the start"));
  // Other bytes than the digest's, and a coordinator that is away, while the worker leaves.
  artifacts_.files[Sha256Hex("gone")] = "something else";
  courier.Hurry();
  EXPECT_EQ(courier.FilesFor(assignment).resume_from(), "");
}

TEST_F(CourierTest, AChildStartsFromItsParentsCheckpointBesideItsOwnState) {
  const std::string parent(3'000, 'p'), state(2'000, 's');
  artifacts_.files[Sha256Hex(parent)] = parent;
  artifacts_.files[Sha256Hex(state)] = state;
  artifacts_.break_off = 2;
  Courier& courier = Start();
  v1::Assignment assignment = AssignmentFor(12, "", 4);
  assignment.mutable_init_from()->set_sha256(Sha256Hex(parent));
  assignment.mutable_resume_from()->set_sha256(Sha256Hex(state));
  const v1::SlotFiles files = courier.FilesFor(assignment);
  EXPECT_EQ(*ReadWholeFile(files.init_from()), parent);
  EXPECT_EQ(*ReadWholeFile(files.resume_from()), state);
  EXPECT_EQ(files.init_missing(), "");
  courier.Forget(assignment.ref());
  EXPECT_FALSE(fs::exists(files.init_from()));
  EXPECT_FALSE(fs::exists(files.resume_from()));
}

TEST_F(CourierTest, AParentsCheckpointThatCannotBeHadIsSaidWithWhatToDo) {
  Courier& courier = Start();
  v1::Assignment assignment = AssignmentFor(12, "", 4);
  assignment.set_init_trial(7);
  assignment.mutable_init_from()->set_role("last");
  v1::SlotFiles files = courier.FilesFor(assignment);
  EXPECT_EQ(files.init_from(), "");
  EXPECT_THAT(files.init_missing(),
              HasSubstr("the last checkpoint of trial 7, its parent, is not kept"));
  assignment.mutable_init_from()->set_sha256(Sha256Hex("gone"));
  files = courier.FilesFor(assignment);
  EXPECT_EQ(files.init_from(), "");
  EXPECT_THAT(files.init_missing(), HasSubstr("cannot be fetched: not stored; `saffron retry`"));
  courier.Hurry();
  EXPECT_NE(courier.FilesFor(assignment).init_missing(), "");
}

TEST_F(CourierTest, WithoutAFolderThereAreNoCheckpoints) {
  const std::string dir = std::exchange(dir_, "");
  EXPECT_EQ(Start().FilesFor(AssignmentFor(1, "")).checkpoint_prefix(), "");
  courier_.reset();
  dir_ = dir;
}

}  // namespace
}  // namespace saffron
