// `serve`, `worker`, `submit` and their friends: a coordinator and workers that come and go.

#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "saffron/v1/worker.grpc.pb.h"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class ClusterTest : public testing::Test {
 protected:
  std::unique_ptr<Process> Worker(int slots = 1) {
    return scene_.Start(
        {"worker", "--coordinator", scene_.address(), "--slots", absl::StrCat(slots)});
  }
  Ended Submit(const std::string& sweep) {
    return scene_.Run({"submit", scene_.Write("sweep.yaml", sweep)});
  }
  bool Reaches(const std::string& condition) {
    return Eventually([&] { return scene_.Holds(condition); });
  }
  static std::string Count(const std::string& state) {
    return absl::StrCat("(SELECT count(*) FROM trials WHERE state = '", state, "')");
  }
  Scene scene_;
};

TEST_F(ClusterTest, WorkersMayComeBeforeTheCoordinatorAndAfterAndLeaveAtWill) {
  auto serve = scene_.Serve();
  const std::string address = scene_.address();
  serve->Signal(SIGTERM);
  EXPECT_EQ(serve->Wait().exit_code, 143);
  auto early = Worker();
  EXPECT_TRUE(early->WaitFor("no coordinator at"));
  serve = scene_.Start({"serve", "--listen", address});
  EXPECT_TRUE(early->WaitFor("joined"));
  ASSERT_EQ(Submit(NoopSweep(40, 50)).exit_code, 0);
  ASSERT_TRUE(Reaches(Count("succeeded") + " > 1"));
  auto late = Worker(2);
  EXPECT_TRUE(late->WaitFor("joined"));
  ASSERT_TRUE(Reaches(Count("succeeded") + " > 8"));
  early->Signal(SIGTERM);
  EXPECT_EQ(early->Wait().exit_code, 143);
  const Ended wait = scene_.Run({"wait", "last"});
  EXPECT_EQ(wait.exit_code, 0) << wait.err;
  EXPECT_THAT(wait.out, HasSubstr("40/40"));
  EXPECT_EQ(scene_.One("SELECT count(DISTINCT worker) FROM attempts"), "2");
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts WHERE outcome = 'succeeded'"), "40");
}

TEST_F(ClusterTest, ATrialOfAKilledWorkerIsRunAgainByAnother) {
  auto serve = scene_.Serve({"--lease", "0.5"});
  ASSERT_EQ(Submit(NoopSweep(1, 800)).exit_code, 0);
  auto doomed = Worker();
  ASSERT_TRUE(Reaches(Count("leased") + " = 1"));
  doomed->SignalGroup(SIGKILL);
  auto other = Worker();
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  EXPECT_EQ(scene_.One("SELECT group_concat(coalesce(failure_class, outcome)) FROM (SELECT * FROM "
                       "attempts ORDER BY number)"),
            "worker_lost,succeeded");
}

TEST_F(ClusterTest, AFrozenWorkerThatThawsCountsNothingTwice) {
  auto serve = scene_.Serve({"--lease", "0.5"});
  ASSERT_EQ(Submit(NoopSweep(6, 300)).exit_code, 0);
  auto frozen = Worker();
  ASSERT_TRUE(Reaches(Count("leased") + " > 0"));
  frozen->SignalGroup(SIGSTOP);
  auto other = Worker();
  ASSERT_TRUE(Reaches(Count("succeeded") + " > 2"));
  frozen->SignalGroup(SIGCONT);
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  EXPECT_EQ(scene_.One("SELECT " + Count("succeeded")), "6");
  EXPECT_EQ(scene_.One("SELECT count(*) FROM results WHERE key = 'test/perplexity'"), "6");
}

TEST_F(ClusterTest, ACoordinatorKilledAndStartedAgainFindsItsWorkersAtWork) {
  auto serve = scene_.Serve();
  auto worker = Worker(2);
  ASSERT_EQ(Submit(NoopSweep(12, 400)).exit_code, 0);
  auto wait = scene_.Start({"wait", "last"});
  ASSERT_TRUE(wait->WaitFor("/12"));
  ASSERT_TRUE(Reaches(Count("succeeded") + " > 1"));
  serve->Signal(SIGKILL);
  serve->Wait();
  EXPECT_TRUE(worker->WaitFor("training goes on"));
  EXPECT_TRUE(wait->WaitFor("waiting for it to come back"));
  serve = scene_.Start({"serve", "--listen", scene_.address()});
  EXPECT_TRUE(worker->WaitFor("is back"));
  EXPECT_EQ(wait->Wait().exit_code, 0) << wait->err();
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts WHERE outcome IS NOT 'succeeded'"), "0")
      << "no attempt was lost";
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts"), "12");
}

TEST_F(ClusterTest, ResultsOfAWorkerKilledDuringAnOutageAreNotLost) {
  auto serve = scene_.Serve();
  auto worker = Worker();
  ASSERT_EQ(Submit(NoopSweep(1, 400)).exit_code, 0);
  ASSERT_TRUE(Reaches(Count("leased") + " = 1"));
  serve->Signal(SIGKILL);
  serve->Wait();
  ASSERT_TRUE(Eventually([&] {
    for (const auto& file : std::filesystem::recursive_directory_iterator(scene_.Path("state"))) {
      if (file.is_regular_file() && file.file_size() > 0) return true;
    }
    return false;
  })) << "the result was not spooled";
  worker->SignalGroup(SIGKILL);
  worker->Wait();
  serve = scene_.Start({"serve", "--listen", scene_.address()});
  auto next = Worker();
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  EXPECT_THAT(next->err(), HasSubstr("an earlier worker kept"));
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts"), "1") << "it did not run again";
}

// Eight trials that read the corpus "tiny", with no failure forgiven.
std::string ReadingSweep() {
  return "version: 1\nname: reading\nretry: {preempted: 0, error: 0, worker_lost: 0}\n"
         "baseline: {model.type: unigram, data.corpus: tiny, data.vocab: 64, "
         "data.eval_tokens: 500}\n"
         "blocks: [{name: size, parameters: {data.tokens: {values: "
         "[1000, 2000, 3000, 4000, 5000, 6000, 7000]}}}]\n";
}

TEST_F(ClusterTest, AWorkerWithoutTheCorpusCostsNoTrialAnAttempt) {
  scene_.AddTinyCorpus();
  auto serve = scene_.Serve();
  const std::string empty = scene_.Path("empty");
  auto bare = scene_.Start({"worker", "--coordinator", scene_.address(), "--data", empty});
  ASSERT_TRUE(bare->WaitFor("joined"));
  ASSERT_EQ(Submit(ReadingSweep()).exit_code, 0);
  ASSERT_TRUE(bare->WaitFor("handed back"));
  EXPECT_THAT(bare->err(), HasSubstr("no corpus \"tiny\" in " + empty));
  ASSERT_TRUE(Eventually([&] {
    return scene_.Run({"status"}).out.find("waiting for what no worker has") != std::string::npos;
  }));
  const Ended status = scene_.Run({"status"});
  EXPECT_THAT(status.out, AllOf(HasSubstr("8  queued"),
                                HasSubstr("8 trials wait for a worker with corpus \"tiny\""),
                                HasSubstr("lacks it")));
  const Ended explain = scene_.Run({"explain", "1"});
  EXPECT_THAT(explain.out, AllOf(HasSubstr("It waits for a worker with corpus \"tiny\""),
                                 HasSubstr("saffron data add")));
  EXPECT_THAT(scene_.Run({"worker", "list"}).out, HasSubstr("no corpus tiny"));

  auto rich = Worker();
  const Ended wait = scene_.Run({"wait", "last"});
  EXPECT_EQ(wait.exit_code, 0) << wait.err;
  EXPECT_EQ(scene_.One("SELECT " + Count("succeeded")), "8");
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts WHERE failure_class IS NOT NULL"), "0");
  EXPECT_EQ(scene_.One("SELECT count(DISTINCT worker) FROM attempts WHERE outcome = 'succeeded'"),
            "1");
}

TEST_F(ClusterTest, AWorkerThatGetsTheCorpusGoesOnByItself) {
  scene_.AddTinyCorpus();
  auto serve = scene_.Serve({"--lease", "0.5"});
  const std::string folder = scene_.Path("other");
  // Another text of the same name.
  std::vector<std::string> add = {"data", "add", "tiny", "--data", folder};
  for (int i = 0; i < 60; ++i) {
    const std::string text = scene_.Read(absl::StrCat("texts/", 100 + i, ".txt"));
    add.push_back(scene_.Write(absl::StrCat("texts/other", i, ".txt"), text + "and more\n"));
  }
  ASSERT_EQ(scene_.Run(add).exit_code, 0);
  auto worker = scene_.Start({"worker", "--coordinator", scene_.address(), "--data", folder});
  ASSERT_EQ(Submit(ReadingSweep()).exit_code, 0);
  ASSERT_TRUE(worker->WaitFor("handed back"));
  EXPECT_THAT(worker->err(), AllOf(HasSubstr("want fingerprint"), HasSubstr("found")));
  std::vector<std::string> replace = {"data", "add", "tiny", "--replace", "--data", folder};
  for (int i = 0; i < 60; ++i) {
    replace.push_back(scene_.Path(absl::StrCat("texts/", 100 + i, ".txt")));
  }
  ASSERT_EQ(scene_.Run(replace).exit_code, 0);
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  EXPECT_THAT(worker->err(), HasSubstr("corpus \"tiny\" is here now"));
  EXPECT_EQ(scene_.One("SELECT count(*) FROM attempts WHERE failure_class IS NOT NULL"), "0");
}

TEST_F(ClusterTest, CancelStopsWhatRunsAndResumeRunsItAgain) {
  auto serve = scene_.Serve();
  auto worker = Worker();
  ASSERT_EQ(Submit(NoopSweep(3, 60'000)).exit_code, 0);
  ASSERT_TRUE(Reaches(Count("leased") + " = 1"));
  const Ended cancel = scene_.Run({"cancel", "noops", "--reason", "too slow"});
  EXPECT_EQ(cancel.exit_code, 0) << cancel.err;
  EXPECT_THAT(cancel.err, HasSubstr("3 trials cancelled"));
  EXPECT_EQ(scene_.One("SELECT " + Count("cancelled")), "3");
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  // The slot is free again: the next roadmap gets it.
  ASSERT_EQ(Submit("version: 1\nname: quick\nbaseline: {model.type: noop}\n").exit_code, 0);
  EXPECT_EQ(scene_.Run({"wait", "quick"}).exit_code, 0);
  const Ended resume = scene_.Run({"resume", "noops", "--trials", "1"});
  EXPECT_THAT(resume.err, HasSubstr("1 trial queued again"));
  EXPECT_TRUE(Reaches(Count("leased") + " = 1"));
}

TEST_F(ClusterTest, ExplainAndStatusAnswerWithAndWithoutACoordinator) {
  auto serve = scene_.Serve();
  ASSERT_EQ(Submit(NoopSweep(2)).exit_code, 0);
  EXPECT_THAT(scene_.Run({"explain", "1"}).out,
              AllOf(HasSubstr("queued"), HasSubstr("No worker is connected")));
  EXPECT_THAT(scene_.Run({"status"}).out, HasSubstr("0/2"));
  EXPECT_EQ(scene_.Run({"explain", "77"}).exit_code, 4);
  EXPECT_EQ(scene_.Run({"status", "nope"}).exit_code, 4);
  serve->Signal(SIGTERM);
  serve->Wait();
  EXPECT_THAT(scene_.Run({"explain", "1"}).out,
              AllOf(HasSubstr("queued"), HasSubstr("No coordinator is serving")));
  EXPECT_THAT(scene_.Run({"status", "--output", "json"}).out, HasSubstr("\"queued\": 2"));
  EXPECT_EQ(scene_.Run({"explain", "77"}).exit_code, 4);
  EXPECT_EQ(scene_.Run({"status", "nope"}).exit_code, 4);
}

TEST_F(ClusterTest, PlanSaysTheSameWithAndWithoutACoordinator) {
  const std::string sweep = scene_.Write("sweep.yaml", NoopSweep(5));
  const Ended fresh = scene_.Run({"plan", sweep, "--detailed-exitcode"});
  EXPECT_EQ(fresh.exit_code, 2) << fresh.err;
  EXPECT_THAT(fresh.out, testing::Not(HasSubstr("Collapsed:")));
  EXPECT_FALSE(std::filesystem::exists(scene_.Path("results.db"))) << "a plan makes nothing";
  ASSERT_EQ(scene_.Run({"run", sweep}).exit_code, 0);
  EXPECT_EQ(scene_.Run({"plan", sweep, "--detailed-exitcode"}).exit_code, 0);
  scene_.Write("sweep.yaml", NoopSweep(7));
  const Ended offline = scene_.Run({"plan", sweep, "--detailed-exitcode"});
  EXPECT_EQ(offline.exit_code, 2);
  EXPECT_EQ(scene_.Run({"plan", sweep}).exit_code, 0);
  EXPECT_EQ(scene_.Run({"plan", sweep, "--output", "quiet"}).out, "2\n");
  auto serve = scene_.Serve();
  EXPECT_EQ(scene_.Run({"plan", sweep, "--coordinator", scene_.address()}).out, offline.out);
}

TEST_F(ClusterTest, PlanSaysWhyCombinationsAreNotVariants) {
  const std::string sweep = scene_.Write("sweep.yaml", R"(version: 1
name: same
metric: {name: valid/perplexity, goal: minimize}
baseline: {model.type: noop, model.sleep_ms: 1}
blocks:
  - name: sleeps
    parameters: {model.sleep_ms: {values: [1, 2]}}
)");
  EXPECT_THAT(scene_.Run({"plan", sweep}).out, AllOf(testing::ContainsRegex("sleeps +1 +1 +0"),
                                                     HasSubstr("Collapsed: the same as")));
}

TEST_F(ClusterTest, CommandsThatNeedACoordinatorSayHowToStartOne) {
  scene_.environment["SAFFRON_COORDINATOR"] = "127.0.0.1:1";
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{"submit", scene_.Write("s.yaml", NoopSweep(1))},
                                             {"wait"},
                                             {"cancel", "last"},
                                             {"resume", "last"},
                                             {"status"},
                                             {"explain", "1"}}) {
    const Ended ended = scene_.Run(command);
    EXPECT_EQ(ended.exit_code, 5) << command[0];
    EXPECT_THAT(ended.err, AllOf(StartsWith("saffron: "), HasSubstr("saffron serve")))
        << command[0];
  }
}

TEST_F(ClusterTest, ACommandWaitsForACoordinatorThatIsJustStarting) {
  { auto serve = scene_.Serve(); }  // leaves its address behind
  auto submit = scene_.Start({"submit", scene_.Write("sweep.yaml", NoopSweep(2))});
  ASSERT_TRUE(submit->WaitFor("waiting a moment"));
  auto serve = scene_.Serve();
  EXPECT_EQ(submit->Wait().exit_code, 0) << submit->err();
  EXPECT_EQ(scene_.One("SELECT count(*) FROM trials"), "2");
}

TEST_F(ClusterTest, ASecondCoordinatorOfADatabaseIsRefusedNamingTheFirst) {
  auto serve = scene_.Serve();
  const Ended second = scene_.Run({"serve", "--listen", "127.0.0.1:0"});
  EXPECT_EQ(second.exit_code, 2);
  EXPECT_THAT(second.err, HasSubstr(absl::StrCat(serve->pid())));
  const Ended run = scene_.Run({"run", scene_.Write("sweep.yaml", NoopSweep(1))});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, AllOf(HasSubstr(absl::StrCat(serve->pid())), HasSubstr("submit")));
}

TEST_F(ClusterTest, APortInUseIsRefused) {
  auto serve = scene_.Serve();
  const Ended second =
      scene_.Run({"serve", "--db", scene_.Path("other.db"), "--listen", scene_.address()});
  EXPECT_EQ(second.exit_code, 2);
  EXPECT_THAT(second.err, HasSubstr(scene_.address().substr(scene_.address().find(':') + 1)));
  EXPECT_EQ(scene_.Run({"serve", "--listen", "nonsense"}).exit_code, 2);
}

TEST_F(ClusterTest, AWorkerOfOtherNumericsIsRefusedNamingBothVersions) {
  auto serve = scene_.Serve();
  const auto stub = v1::WorkerService::NewStub(
      grpc::CreateChannel(scene_.address(), grpc::InsecureChannelCredentials()));
  v1::RegisterRequest request;
  request.set_worker_id("from the future");
  request.set_slots(1);
  request.set_numerics_version(999);
  v1::RegisterResponse response;
  grpc::ClientContext context;
  const grpc::Status status = stub->Register(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("999"));
}

}  // namespace
}  // namespace saffron
