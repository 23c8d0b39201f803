#pragma once
// A results database in a temporary folder, and small sweeps to put into it.

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/store/read_query.h"
#include "coordinator/store/run_store.h"
#include "gtest/gtest.h"

namespace saffron {

class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& within = testing::TempDir()) {
    std::string pattern = within + "/saffron_XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A sweep over one integer key, by hand: variant i has bits = values[i]. The first is the baseline.
inline Submission SmallSweep(const std::string& name, const std::vector<int64_t>& values,
                             int seeds = 1) {
  Submission s;
  s.name = name;
  s.spec = absl::StrCat("name: ", name);
  s.metric = "test/perplexity";
  s.numerics = 1;
  s.seed_count = seeds;
  s.blocks = {"baseline", "size"};
  for (int64_t value : values) {
    absl::StrAppend(&s.spec, " ", value);
    SubmittedVariant v;
    v.digest = absl::StrCat("digest-of-", value);
    v.params = {{"model.type", std::string("noop")}, {"model.bits", value}, {"train.lr", 0.1}};
    v.label = absl::StrCat("bits=", value);
    const bool first = s.variants.empty();
    v.origins.push_back(
        {first ? 0 : 1, static_cast<int64_t>(s.variants.size()), first ? "baseline" : "grid", ""});
    v.corpus = "sotu";
    v.fingerprint = "f00d";
    v.seconds = static_cast<double>(value);
    s.variants.push_back(v);
  }
  s.spec_digest = absl::StrCat("digest of ", s.spec, seeds);
  return s;
}

class StoreTest : public testing::Test {
 protected:
  void Reopen() {
    store.reset();
    auto opened = RunStore::Open({.path = path, .survive_power_loss = false}, now);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store = std::move(*opened);
  }
  void SetUp() override { Reopen(); }

  // Stores the sweep and queues its trials, as the engine does.
  StoredRevision Submit(const Submission& submission) {
    EXPECT_TRUE(store->Begin().ok());
    absl::StatusOr<StoredRevision> revision = store->RecordSubmission(submission, now);
    EXPECT_TRUE(revision.ok()) << revision.status();
    if (revision->is_new) Apply(revision->change);
    EXPECT_TRUE(store->Commit().ok());
    return *revision;
  }
  Effects Apply(const Event& event) {
    Effects effects = scheduler.Apply(event, now);
    EXPECT_TRUE(store->Record(effects, now).ok());
    return effects;
  }
  WorkerId Join(const std::string& name) {
    const WorkerId worker = *store->RecordWorker(
        {.name = name, .hostname = "here", .build = "b", .pid = 7, .slots = 1}, now);
    Apply(WorkerJoined{worker, 1});
    return worker;
  }
  // Rows of a query as text, columns joined by '|', rows by '\n'.
  std::string Query(const std::string& sql) {
    std::string text;
    absl::StatusOr<ReadQuery> query = ReadQuery::Open(path);
    EXPECT_TRUE(query.ok()) << query.status();
    const absl::Status status = query->Run(
        sql, absl::Seconds(10), [](const auto&) {},
        [&](const Statement& row) {
          absl::StrAppend(&text, text.empty() ? "" : "\n");
          for (int i = 0; i < sqlite3_column_count(row.get()); ++i) {
            absl::StrAppend(&text, i > 0 ? "|" : "",
                            row.IsNull(i) ? "NULL" : std::string(row.Text(i)));
          }
          return true;
        });
    EXPECT_TRUE(status.ok()) << status;
    return text;
  }

  TemporaryFolder folder;
  std::string path = folder.File("results.db");
  absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  std::unique_ptr<RunStore> store;
  Scheduler scheduler{{}};
};

}  // namespace saffron
