#include "coordinator/rpc/query_reactor.h"

#include "coordinator/rpc/status_map.h"
#include "coordinator/rpc/translate.h"
#include "coordinator/store/read_query.h"

namespace saffron {
namespace {

// A message is sent when it has so much in it.
constexpr int kRowsPerMessage = 500;
constexpr int64_t kBytesPerMessage = 256 << 10;

}  // namespace

void QueryReactor::Run(const std::string& database, const std::string& sql,
                       absl::Duration time_limit) {
  absl::StatusOr<ReadQuery> query = ReadQuery::Open(database);
  if (!query.ok()) return Finish(ToGrpc(query.status()));
  const auto columns = [&](const std::vector<std::string>& names) {
    for (const std::string& name : names) rows_.add_columns(name);
  };
  const auto row = [&](const Statement& statement) {
    AddRow(statement, &rows_);
    rows_bytes_ += static_cast<int64_t>(rows_.rows(rows_.rows_size() - 1).ByteSizeLong());
    if (rows_.rows_size() < kRowsPerMessage && rows_bytes_ < kBytesPerMessage) return true;
    return Flush();
  };
  absl::Status status = query->Run(sql, time_limit, columns, row, &cancelled_);
  // The columns are sent even when there are no rows.
  if (status.ok() && !Flush()) status = absl::CancelledError("the reader went away");
  Finish(ToGrpc(status));
}

bool QueryReactor::Flush() {
  if (rows_.columns_size() == 0 && rows_.rows_size() == 0) return true;
  std::unique_lock<std::mutex> lock(mutex_);
  if (broken_) return false;
  writing_ = true;
  StartWrite(&rows_);
  written_.wait(lock, [this] { return !writing_; });
  rows_.Clear();
  rows_bytes_ = 0;
  return !broken_;
}

void QueryReactor::OnWriteDone(bool ok) {
  std::lock_guard<std::mutex> lock(mutex_);
  writing_ = false;
  broken_ = broken_ || !ok;
  written_.notify_one();
}

}  // namespace saffron
