#pragma once
// The coordinator's numbers over HTTP, for Prometheus to scrape. What they mean: README, "Watching
// a cluster".

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/engine_thread.h"

namespace saffron {

class MetricsServer {
 public:
  // Serves http://ADDRESS/metrics until destroyed. `engine` and `thread` must outlive it.
  // `database` is the file whose size is told. UNAVAILABLE: cannot listen there.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& address,
                                                              Engine* engine,
                                                              const EngineThread* thread,
                                                              const std::string& database);
  ~MetricsServer();

  int port() const;

 private:
  struct Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace saffron
