#include "tests/e2e/scene.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "core/base/random.h"
#include "core/model/registry.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// A word of two or three syllables; the lower its number, the more often it is used.
std::string Word(uint64_t number) {
  static const char* const kSyllables[] = {"ba", "ce", "di", "fo", "gu", "la", "me", "ni",
                                           "po", "ru", "sa", "te", "vi", "xo", "zu", "ki"};
  std::string word;
  for (uint64_t rest = number + 16; rest > 0; rest /= 16) word += kSyllables[rest % 16];
  return word;
}

std::string Document(int number, int words) {
  const CounterRandom random(static_cast<uint64_t>(number), RandomPurpose::kTest);
  std::string text;
  uint64_t before = 0;
  for (int i = 0; i < words; ++i) {
    // Half of the words follow from the one before, so that there is something to learn.
    const double u = random.Uniform(static_cast<uint64_t>(i));
    const uint64_t next = random.Uniform(static_cast<uint64_t>(i) + 1'000'000) < 0.5
                              ? (before * 7 + 3) % 200
                              : static_cast<uint64_t>(200 * u * u * u);
    absl::StrAppend(&text, Word(next), i % 12 == 11 ? ".\n" : " ");
    before = next;
  }
  return text;
}

// Returns what went wrong, or an empty string.
std::string ReadRows(const std::string& path, const std::string& sql,
                     std::vector<std::string>* rows) {
  sqlite3* db = nullptr;
  if (sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READONLY, nullptr) != SQLITE_OK) {
    sqlite3_close(db);
    return "cannot open " + path;
  }
  sqlite3_busy_timeout(db, 5000);
  const auto add = [](void* out, int n, char** values, char**) {
    std::string row;
    for (int i = 0; i < n; ++i) {
      absl::StrAppend(&row, i == 0 ? "" : "|", values[i] ? values[i] : "NULL");
    }
    static_cast<std::vector<std::string>*>(out)->push_back(row);
    return 0;
  };
  char* message = nullptr;
  std::string error;
  if (sqlite3_exec(db, sql.c_str(), add, rows, &message) != SQLITE_OK) error = message;
  sqlite3_free(message);
  sqlite3_close(db);
  return error;
}

}  // namespace

void SleepBriefly() { absl::SleepFor(absl::Milliseconds(10)); }
absl::Time Now() { return absl::Now(); }

Process::~Process() {
  SignalGroup(SIGKILL);
  if (!ended_) waitpid(pid_, nullptr, 0);
}

std::string Process::out() const { return ReadFile(out_path_); }
std::string Process::err() const { return ReadFile(err_path_); }

bool Process::WaitFor(const std::string& text, absl::Duration within) const {
  return Eventually(
      [&] {
        return out().find(text) != std::string::npos || err().find(text) != std::string::npos;
      },
      within);
}

void Process::Signal(int signal) const {
  if (!ended_) kill(pid_, signal);
}
void Process::SignalGroup(int signal) const { kill(-pid_, signal); }

void Process::Reap(int status) {
  ended_ = true;
  exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

bool Process::running() {
  int status = 0;
  if (!ended_ && waitpid(pid_, &status, WNOHANG) == pid_) Reap(status);
  return !ended_;
}

Ended Process::Wait(absl::Duration within) {
  if (!Eventually([this] { return !running(); }, within)) {
    SignalGroup(SIGKILL);
    int status = 0;
    waitpid(pid_, &status, 0);
    Reap(status);
  }
  return {exit_code_, out(), err()};
}

Scene::Scene() {
  std::string pattern = (std::filesystem::temp_directory_path() / "saffron.XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) abort();
  dir_ = pattern;
  environment = {{"PATH", "/usr/bin:/bin"},          {"HOME", dir_},
                 {"SAFFRON_DB", Path("results.db")}, {"SAFFRON_DATA", Path("data")},
                 {"SAFFRON_CACHE", Path("cache")},   {"XDG_STATE_HOME", Path("state")}};
}

Scene::~Scene() {
  std::error_code error;
  std::filesystem::permissions(dir_, std::filesystem::perms::owner_all, error);
  std::filesystem::remove_all(dir_, error);
}

std::string Scene::Write(const std::string& name, const std::string& text) const {
  std::ofstream(Path(name), std::ios::binary) << text;
  return Path(name);
}

std::string Scene::Read(const std::string& name) const { return ReadFile(Path(name)); }

std::unique_ptr<Process> Scene::Start(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {SAFFRON_BINARY};
  if (as_nobody) {
    argv = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", argv[0]};
  }
  argv.insert(argv.begin(), prefix.begin(), prefix.end());
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables;
  for (const auto& [name, value] : environment) variables.push_back(absl::StrCat(name, "=", value));
  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> all;
    for (std::string& s : strings) all.push_back(s.data());
    all.push_back(nullptr);
    return all;
  };

  std::unique_ptr<Process> process(new Process);
  process->out_path_ = Path(absl::StrCat("process", ++started_, ".out"));
  process->err_path_ = Path(absl::StrCat("process", started_, ".err"));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, process->out_path_.c_str(), O_WRONLY | O_CREAT,
                                   0600);
  posix_spawn_file_actions_addopen(&actions, 2, process->err_path_.c_str(), O_WRONLY | O_CREAT,
                                   0600);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  const int error = posix_spawn(&process->pid_, argv[0].c_str(), &actions, &attributes,
                                pointers(argv).data(), pointers(variables).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    ADD_FAILURE() << "cannot start " << argv[0];
    abort();
  }
  return process;
}

Ended Scene::Run(const std::vector<std::string>& arguments, absl::Duration within) {
  return Start(arguments)->Wait(within);
}

std::unique_ptr<Process> Scene::Serve(const std::vector<std::string>& arguments) {
  std::vector<std::string> all = {"serve", "--listen", "127.0.0.1:0"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::unique_ptr<Process> process = Start(all);
  EXPECT_TRUE(process->WaitFor("serving ")) << process->err();
  address_ = process->out().substr(0, process->out().find('\n'));
  return process;
}

void Scene::AddTinyCorpus() {
  std::filesystem::create_directories(Path("texts"));
  std::vector<std::string> arguments = {"data", "add", "tiny"};
  for (int i = 0; i < 60; ++i) {
    arguments.push_back(Write(absl::StrCat("texts/", 100 + i, ".txt"), Document(i, 400)));
  }
  const Ended added = Run(arguments);
  ASSERT_EQ(added.exit_code, 0) << added.err;
}

std::vector<std::string> Scene::Rows(const std::string& sql, const std::string& database) {
  std::vector<std::string> rows;
  const std::string error = ReadRows(Path(database), sql, &rows);
  EXPECT_EQ(error, "") << sql;
  return rows;
}

bool Scene::Holds(const std::string& condition, const std::string& database) {
  std::vector<std::string> rows;
  return ReadRows(Path(database), "SELECT " + condition, &rows).empty() &&
         rows == std::vector<std::string>{"1"};
}

std::string Scene::One(const std::string& sql, const std::string& database) {
  const std::vector<std::string> rows = Rows(sql, database);
  return rows.size() == 1 ? rows[0] : absl::StrCat("<", rows.size(), " rows>");
}

std::string Scene::DeterministicMetrics(const std::string& database) {
  std::vector<std::string> excluded;
  for (const MetricSpec& metric : AllMetrics()) {
    if (!metric.deterministic) excluded.push_back(absl::StrCat("'", metric.key, "'"));
  }
  // By what a trial is, not by its number. quote() shows every bit of a number that %.15g would
  // not.
  const std::string from = " JOIN trials t ON t.id = m.trial JOIN variants v ON v.id = t.variant";
  std::vector<std::string> rows =
      Rows(absl::StrCat("SELECT v.digest, t.seed, t.state, m.key, m.kind, "
                        "printf('%!.17g', m.value) FROM results m",
                        from, " WHERE m.key NOT IN (", absl::StrJoin(excluded, ","),
                        ") ORDER BY 1, 2, 4"),
           database);
  const std::vector<std::string> curves =
      Rows(absl::StrCat("SELECT v.digest, t.seed, m.key, m.step, m.kind, "
                        "printf('%!.17g', m.value) FROM metrics m",
                        from, " WHERE m.key NOT IN (", absl::StrJoin(excluded, ","),
                        ") ORDER BY 1, 2, 3, 4"),
           database);
  rows.insert(rows.end(), curves.begin(), curves.end());
  return absl::StrJoin(rows, "\n");
}

std::string NoopSweep(int count, int sleep_ms, const std::string& more) {
  return absl::StrCat("version: 1\nname: noops\nbaseline:\n  model.type: noop\n  model.sleep_ms: ",
                      sleep_ms, "\nseeds: {count: ", count, "}\n", more);
}

std::string TinySweep() {
  return R"(version: 1
name: tiny
metric: {name: test/perplexity, goal: minimize}
baseline:
  data.corpus: tiny
  data.vocab: 128
  data.tokens: 20000
  data.eval_tokens: 1000
  model.type: saffu
  model.bits: 16
blocks:
  - name: size
    parameters:
      model.bits: {values: [8, 16]}
      model.context: {values: [2, 3]}
  - name: trained
    parameters:
      train.init: {values: [explicit, random]}
      train.steps: {value: 40}
      train.lr: {values: [0.01, 0.03]}
  - name: references
    parameters:
      model.type: {value: kneser_ney}
      model.order: {values: [2, 3]}
  - name: floor
    parameters: {model.type: {value: unigram}}
seeds: {count: 2}
)";
}

}  // namespace saffron
