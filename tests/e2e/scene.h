#pragma once
// Real processes for tests: the built `saffron`, in a temporary directory with a small corpus of
// its own, an empty environment apart from that, and nothing left running at the end.

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace saffron {

struct Ended {
  int exit_code = -1;  // 128 + signal when a signal ended it
  std::string out, err;
};

// A running `saffron`, leader of a process group of its own. Killed, group and all, when destroyed.
class Process {
 public:
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // What it has written so far.
  std::string out() const;
  std::string err() const;
  // Waits until `text` was written to stdout or stderr; false after `within`.
  bool WaitFor(const std::string& text, absl::Duration within = absl::Seconds(20)) const;
  void Signal(int signal) const;       // to the process
  void SignalGroup(int signal) const;  // to it and its children
  // Waits for the end; kills it after `within` (exit code 137).
  Ended Wait(absl::Duration within = absl::Seconds(60));
  bool running();

 private:
  friend class Scene;
  Process() = default;
  void Reap(int status);

  pid_t pid_ = -1;
  bool ended_ = false;
  int exit_code_ = -1;
  std::string out_path_, err_path_;
};

class Scene {
 public:
  Scene();
  ~Scene();
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  std::string Write(const std::string& name, const std::string& text) const;  // returns the path
  std::string Read(const std::string& name) const;

  std::unique_ptr<Process> Start(const std::vector<std::string>& arguments);
  Ended Run(const std::vector<std::string>& arguments, absl::Duration within = absl::Seconds(60));

  // `serve` on results.db at a free port, or at `port`. Returns when it answers.
  std::unique_ptr<Process> Serve(const std::vector<std::string>& arguments = {});
  // Where the last Serve listens.
  const std::string& address() const { return address_; }

  // Adds the corpus "tiny": 60 documents of a few hundred words each.
  void AddTinyCorpus();

  // Rows of a query on the database, each joined by '|'. Fails the test on errors.
  std::vector<std::string> Rows(const std::string& sql, const std::string& database = "results.db");
  std::string One(const std::string& sql, const std::string& database = "results.db");
  // Whether the condition holds; false too while there is no such database or table.
  bool Holds(const std::string& condition, const std::string& database = "results.db");
  // Every deterministic metric of every trial, final and along the curves, as text.
  std::string DeterministicMetrics(const std::string& database = "results.db");

  std::map<std::string, std::string> environment;
  // Start programs as a user who may not do everything. Only root can, and needs to.
  bool as_nobody = false;
  // Put before the command line of programs: {"/usr/bin/ip", "netns", "exec", NAME}.
  std::vector<std::string> prefix;

 private:
  std::string dir_, address_;
  int started_ = 0;
};

// Waits until `condition` holds; false after `within`.
template <typename Condition>
bool Eventually(const Condition& condition, absl::Duration within = absl::Seconds(20));

// Of `count` trials that do nothing for `sleep_ms` each.
std::string NoopSweep(int count, int sleep_ms = 0, const std::string& more = "");
// Real models on the tiny corpus: every family, explicit and tuned.
std::string TinySweep();

void SleepBriefly();
absl::Time Now();

template <typename Condition>
bool Eventually(const Condition& condition, absl::Duration within) {
  for (const absl::Time until = Now() + within; Now() < until; SleepBriefly()) {
    if (condition()) return true;
  }
  return condition();
}

}  // namespace saffron
