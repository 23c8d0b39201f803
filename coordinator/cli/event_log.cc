#include "coordinator/cli/event_log.h"

#include <chrono>
#include <cstdio>
#include <variant>

#include "absl/strings/str_cat.h"
#include "coordinator/cli/command.h"
#include "coordinator/report/json.h"
#include "coordinator/report/read_source.h"

namespace saffron {
namespace {

constexpr std::chrono::milliseconds kLookAgain(500);
constexpr int kAtOnce = 10'000;

std::string NewsQuery(int64_t after) {
  return absl::StrCat(
      "SELECT e.id AS event, strftime('%Y-%m-%dT%H:%M:%fZ', e.at_us / 1e6, 'unixepoch') AS time, "
      "e.kind AS kind, r.name AS roadmap, e.trial AS trial, e.attempt AS attempt, "
      "w.name AS worker, e.reason AS reason FROM events e LEFT JOIN workers w ON w.id = e.worker "
      "LEFT JOIN roadmaps r ON r.id = e.roadmap WHERE e.id > ",
      after, " ORDER BY e.id LIMIT ", kAtOnce);
}

// Without what the event does not have.
void PrintJson(const ResultTable& table, const std::vector<Cell>& row) {
  nlohmann::ordered_json line;
  for (size_t i = 0; i < row.size(); ++i) {
    if (const auto* n = std::get_if<int64_t>(&row[i])) line[table.columns[i]] = *n;
    const auto* text = std::get_if<std::string>(&row[i]);
    if (text != nullptr && !text->empty()) line[table.columns[i]] = *text;
  }
  std::fputs((JsonText(line) + "\n").c_str(), stderr);
}

}  // namespace

EventLog::EventLog(const std::string& database) {
  thread_ = std::thread([this, database] { Run(database); });
}

EventLog::~EventLog() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void EventLog::Run(const std::string& database) {
  absl::StatusOr<std::unique_ptr<ReadSource>> source = OpenLocalSource(database, "");
  if (!source.ok()) {
    return PrintMessage(absl::StrCat("events are not logged: ", source.status().message()));
  }
  const auto newest = (*source)->Query("SELECT coalesce(max(id), 0) FROM events");
  int64_t last = newest.ok() ? std::get<int64_t>(newest->rows[0][0]) : 0;
  for (bool stop = false; !stop;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait_for(lock, kLookAgain, [this] { return stop_; });
      stop = stop_;
    }
    const absl::StatusOr<ResultTable> news = (*source)->Query(NewsQuery(last));
    if (!news.ok()) continue;
    for (const auto& row : news->rows) {
      PrintJson(*news, row);
      last = std::get<int64_t>(row[0]);
    }
    if (std::ssize(news->rows) == kAtOnce) stop = false;  // there is more
  }
}

}  // namespace saffron
