#pragma once
// One open Query: a thread of the pool reads rows and waits while they are written.

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>

#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "saffron/v1/roadmap.grpc.pb.h"

namespace saffron {

// Deletes itself when done.
class QueryReactor : public grpc::ServerWriteReactor<v1::QueryRows> {
 public:
  // Runs the query on the calling thread and ends the call. Call once.
  void Run(const std::string& database, const std::string& sql, absl::Duration time_limit);

  void OnWriteDone(bool ok) override;
  void OnCancel() override { cancelled_ = true; }
  void OnDone() override { delete this; }

 private:
  // Writes and clears `rows_`; false when nobody reads any more.
  bool Flush();

  std::atomic<bool> cancelled_ = false;
  v1::QueryRows rows_;
  int64_t rows_bytes_ = 0;
  std::mutex mutex_;
  std::condition_variable written_;
  bool writing_ = false, broken_ = false;  // guarded by mutex_
};

}  // namespace saffron
