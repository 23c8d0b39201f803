// Telling a running coordinator what to do, looking at what it did, and looking after its database.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ControlTest : public testing::Test {
 protected:
  std::unique_ptr<Process> Worker() {
    return scene_.Start({"worker", "--coordinator", scene_.address()});
  }
  Ended Submit(const std::string& sweep) {
    return scene_.Run({"submit", scene_.Write("sweep.yaml", sweep)});
  }
  static std::string Count(const std::string& state) {
    return absl::StrCat("(SELECT count(*) FROM trials WHERE state = '", state, "')");
  }
  bool Reaches(const std::string& condition) {
    return Eventually([&] { return scene_.Holds(condition); });
  }
  Scene scene_;
};

// The page at http://127.0.0.1:PORT/metrics.
std::string Scrape(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string page;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), std::ssize(request));
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) page.append(buffer, n);
  }
  close(fd);
  return page;
}

TEST_F(ControlTest, APausedRoadmapWaitsAndADrainedWorkerLeaves) {
  auto serve = scene_.Serve();
  ASSERT_EQ(Submit(NoopSweep(2)).exit_code, 0);
  EXPECT_EQ(scene_.Run({"pause", "noops", "--reason", "lunch"}).exit_code, 0);
  auto worker = Worker();
  ASSERT_TRUE(worker->WaitFor("joined the coordinator"));
  EXPECT_THAT(scene_.Run({"status"}).out, HasSubstr("paused: lunch"));
  EXPECT_THAT(scene_.Run({"explain", "1"}).out, HasSubstr("noops is paused (lunch)"));
  EXPECT_THAT(scene_.Run({"worker", "list"}).out, HasSubstr("idle"));
  EXPECT_THAT(scene_.Run({"resume", "last"}).err, HasSubstr("noops goes on"));
  EXPECT_EQ(scene_.Run({"wait", "noops"}).exit_code, 0);
  const Ended drain = scene_.Run({"worker", "drain", "all", "--reason", "reboot"});
  EXPECT_EQ(drain.exit_code, 0) << drain.err;
  const Ended left = worker->Wait();
  EXPECT_EQ(left.exit_code, 0) << left.err;
  EXPECT_THAT(left.err, HasSubstr("drained"));
  EXPECT_EQ(scene_.Run({"worker", "drain", "nobody"}).exit_code, 4);
  const Ended events = scene_.Run({"events", "last", "--kind", "pause,unpause"});
  EXPECT_THAT(events.out, AllOf(HasSubstr("lunch"), HasSubstr("unpause")));
}

TEST_F(ControlTest, TopAndLogsShowWhatRunsAndHowItEnded) {
  auto serve = scene_.Serve();
  EXPECT_THAT(scene_.Run({"top"}).out, AllOf(HasSubstr("0 workers"), HasSubstr("no roadmap yet")));
  ASSERT_EQ(Submit(R"(
name: noops
baseline: {model.type: noop, model.sleep_ms: 3600000}
parameters: {model.behaviour: {values: [fail]}}
)")
                .exit_code,
            0);
  auto worker = scene_.Start({"worker", "--coordinator", scene_.address(), "--slots", "2"});
  ASSERT_TRUE(Reaches(Count("leased") + " = 2"));
  EXPECT_THAT(scene_.Run({"top"}).out,
              AllOf(HasSubstr("1 worker, 2 of 2 slots busy"), HasSubstr("noops"),
                    HasSubstr("behaviour=fail"), HasSubstr("0/2 (0 %)")));
  EXPECT_EQ(scene_.Run({"cancel", "noops", "--trials", "1"}).exit_code, 0);
  // Without --follow what is known is printed at once; with it, until the trial has ended.
  EXPECT_THAT(scene_.Run({"logs", "2"}).out, AllOf(HasSubstr("submitted"), HasSubstr("leased")));
  const Ended followed = scene_.Run({"logs", "1", "--follow"});
  EXPECT_EQ(followed.exit_code, 0);
  EXPECT_THAT(followed.out, AllOf(HasSubstr("leased  attempt 1"), HasSubstr("cancelled")));
  EXPECT_EQ(scene_.Run({"logs", "99"}).exit_code, 4);
}

TEST_F(ControlTest, RetryAndPrioritySayWhatTheyDidAndWhatTheyWillNotDo) {
  auto serve = scene_.Serve();
  ASSERT_EQ(Submit("version: 1\nname: bad\nbaseline: {model.type: noop, model.behaviour: fail}\n"
                   "retry: {error: 0}\n")
                .exit_code,
            0);
  auto worker = Worker();
  EXPECT_EQ(scene_.Run({"wait", "bad"}).exit_code, 3);
  const Ended retry = scene_.Run({"retry", "bad", "--class", "error"});
  EXPECT_EQ(retry.exit_code, 0) << retry.err;
  EXPECT_THAT(retry.err, HasSubstr("1 trial queued again; failed as: 1 error"));
  EXPECT_EQ(scene_.Run({"retry", "bad", "--class", "timeout"}).exit_code, 4);
  EXPECT_THAT(scene_.Run({"retry", "bad", "--class", "oops"}).err, HasSubstr("want preempted"));
  EXPECT_THAT(scene_.Run({"retry", "bad", "--set", "train.lr=1"}).err,
              HasSubstr("another trial, with another result"));
  EXPECT_THAT(scene_.Run({"priority", "bad", "2"}).err, HasSubstr("has priority 2"));
  EXPECT_EQ(scene_.Run({"priority", "bad", "0"}).exit_code, 2);
  EXPECT_EQ(scene_.Run({"cancel", "bad", "--blocks", "nope"}).exit_code, 4);
}

TEST_F(ControlTest, WhatChangesNothingSaysSoAndProgramsReadWhatDid) {
  auto serve = scene_.Serve();
  ASSERT_EQ(Submit(NoopSweep(2)).exit_code, 0);
  const auto json = [&](const std::vector<std::string>& command, int exit_code) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"--output", "json"});
    const Ended ended = scene_.Run(arguments);
    EXPECT_EQ(ended.exit_code, exit_code) << command[0] << ": " << ended.err;
    return nlohmann::json::parse(ended.out, nullptr, /*allow_exceptions=*/false);
  };
  EXPECT_EQ(json({"pause", "noops"}, 0)["roadmaps_changed"], 1);
  EXPECT_EQ(json({"resume", "noops"}, 0)["roadmaps_unpaused"], 1);
  EXPECT_EQ(json({"resume", "noops"}, 4)["trials_changed"], 0);
  EXPECT_EQ(json({"priority", "noops", "2"}, 0)["priority"], 2);
  EXPECT_EQ(json({"cancel", "noops"}, 0)["trials_changed"], 2);
  EXPECT_EQ(json({"cancel", "noops"}, 4)["trials_changed"], 0);
  EXPECT_EQ(json({"retry", "noops"}, 4), nlohmann::json::array());
  EXPECT_THAT(scene_.Run({"cancel", "noops"}).err, HasSubstr("nothing to cancel"));
  EXPECT_EQ(scene_.Run({"resume", "noops", "--output", "quiet"}).out, "2\n");
}

TEST_F(ControlTest, ABackupOfALiveDatabaseIsWholeAndCheckSaysSo) {
  auto serve = scene_.Serve();
  ASSERT_EQ(Submit(NoopSweep(30)).exit_code, 0);
  auto worker = Worker();
  const Ended backup = scene_.Run({"backup", scene_.Path("copy.db")});
  EXPECT_EQ(backup.exit_code, 0) << backup.err;
  EXPECT_EQ(scene_.Run({"backup", scene_.Path("copy.db")}).exit_code, 2) << "it is there";
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  for (const char* database : {"results.db", "copy.db"}) {
    const Ended check = scene_.Run({"check", "--db", scene_.Path(database)});
    EXPECT_EQ(check.exit_code, 0) << check.out;
    EXPECT_THAT(check.err, HasSubstr("whole"));
  }
}

TEST_F(ControlTest, NumbersAndEventsAreThereForMachines) {
  auto serve = scene_.Serve({"--metrics", "127.0.0.1:0", "--log-format", "json"});
  ASSERT_TRUE(serve->WaitFor("/metrics"));
  const std::string log = serve->err();
  const size_t at = log.find("http://127.0.0.1:");
  ASSERT_NE(at, std::string::npos) << log;
  const int port = std::stoi(log.substr(at + 17));
  ASSERT_EQ(Submit(NoopSweep(3)).exit_code, 0);
  auto worker = Worker();
  EXPECT_EQ(scene_.Run({"wait", "last"}).exit_code, 0);
  const std::string page = Scrape(port);
  EXPECT_THAT(page, HasSubstr("saffron_trials{roadmap=\"noops\",state=\"succeeded\"} 3"));
  EXPECT_THAT(page, HasSubstr("saffron_attempts_ended_total{outcome=\"succeeded\"} 3"));
  EXPECT_THAT(page, HasSubstr("saffron_workers 1"));
  EXPECT_THAT(page, HasSubstr("saffron_batch_seconds_count"));
  serve->Signal(SIGTERM);
  const Ended ended = serve->Wait();
  EXPECT_THAT(ended.err, AllOf(HasSubstr("\"kind\":\"succeeded\""), HasSubstr("\"message\":"),
                               Not(HasSubstr("saffron: "))));
}

}  // namespace
}  // namespace saffron
