#include "coordinator/rpc/metrics_server.h"

#include <chrono>
#include <exception>
#include <filesystem>
#include <future>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "prometheus/client_metric.h"
#include "prometheus/collectable.h"
#include "prometheus/exposer.h"
#include "prometheus/metric_family.h"
#include "prometheus/metric_type.h"

namespace saffron {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr std::chrono::seconds kAnswerWithin(2);

// Families of metrics in Prometheus's words, one value at a time.
class Page {
 public:
  void Gauge(const std::string& name, const std::string& help, double value, Labels labels = {}) {
    ClientMetric& metric = Add(name, help, MetricType::Gauge, std::move(labels));
    metric.gauge.value = value;
  }
  void Counter(const std::string& name, const std::string& help, double value, Labels labels = {}) {
    ClientMetric& metric = Add(name, help, MetricType::Counter, std::move(labels));
    metric.counter.value = value;
  }
  void Histogram(const std::string& name, const std::string& help,
                 const EngineThread::BatchTimes& times) {
    auto& histogram = Add(name, help, MetricType::Histogram, {}).histogram;
    for (size_t i = 0; i < times.kBounds.size(); ++i) {
      histogram.sample_count += times.counts[i];
      histogram.bucket.push_back(
          {.cumulative_count = histogram.sample_count, .upper_bound = times.kBounds[i]});
    }
    histogram.sample_count += times.counts.back();
    histogram.sample_sum = times.sum_seconds;
  }
  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  ClientMetric& Add(const std::string& name, const std::string& help, MetricType type,
                    Labels labels) {
    if (families_.empty() || families_.back().name != name) {
      MetricFamily family;
      family.name = name;
      family.help = help;
      family.type = type;
      families_.push_back(std::move(family));
    }
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }
  std::vector<MetricFamily> families_;
};

void AddRoadmaps(const MetricsView& view, Page* page) {
  for (const MetricsView::Roadmap& r : view.roadmaps) {
    const auto add = [&](std::string_view state, int64_t count) {
      page->Gauge("saffron_trials", "Trials of each roadmap's current revision, by state.",
                  static_cast<double>(count), {{"roadmap", r.name}, {"state", std::string(state)}});
    };
    add("queued", r.counts.queued - r.counts.held);
    add("waiting", r.counts.held);
    add("running", r.counts.leased);
    for (int i = 0; i < 5; ++i) add(OutcomeName(static_cast<Outcome>(i)), r.counts.ended[i]);
  }
  for (const MetricsView::Roadmap& r : view.roadmaps) {
    page->Gauge("saffron_cost_seconds", "Estimated core-seconds of a roadmap's trials.",
                r.counts.cost_total, {{"roadmap", r.name}, {"part", "all"}});
    page->Gauge("saffron_cost_seconds", "", r.counts.cost_done,
                {{"roadmap", r.name}, {"part", "done"}});
  }
  for (const MetricsView::Roadmap& r : view.roadmaps) {
    page->Gauge("saffron_roadmap_paused", "1 while a person has paused the roadmap.",
                r.control.paused ? 1 : 0, {{"roadmap", r.name}});
  }
  for (const MetricsView::Roadmap& r : view.roadmaps) {
    page->Gauge("saffron_roadmap_priority", "A roadmap's share of the workers.", r.control.priority,
                {{"roadmap", r.name}});
  }
}

void AddCounters(const EngineCounters& c, Page* page) {
  for (int i = 0; i < 5; ++i) {
    page->Counter("saffron_attempts_ended_total", "Attempts that ended, by outcome.",
                  static_cast<double>(c.ended[i]),
                  {{"outcome", std::string(OutcomeName(static_cast<Outcome>(i)))}});
  }
  for (int i = 0; i < kFailureClasses; ++i) {
    page->Counter("saffron_attempts_failed_total", "Attempts that failed, by class.",
                  static_cast<double>(c.failed[i]),
                  {{"class", std::string(FailureClassName(static_cast<FailureClass>(i)))}});
  }
  const std::pair<const char*, std::pair<const char*, int64_t>> plain[] = {
      {"saffron_attempts_assigned_total", {"Attempts handed to workers.", c.assigned}},
      {"saffron_late_results_total",
       {"First results that came from attempts written off.", c.late_results}},
      {"saffron_workers_lost_total", {"Workers that were silent for a lease.", c.workers_lost}},
      {"saffron_calls_total", {"Calls answered by the engine.", c.calls}},
      {"saffron_commits_total", {"Transactions of the results database.", c.commits}},
      {"saffron_failed_commits_total",
       {"Transactions that could not be written.", c.failed_commits}}};
  for (const auto& [name, value] : plain) {
    page->Counter(name, value.first, static_cast<double>(value.second));
  }
}

class Collector : public prometheus::Collectable {
 public:
  Collector(Engine* engine, const EngineThread* thread, std::string database)
      : engine_(engine), thread_(thread), database_(std::move(database)) {}

  std::vector<MetricFamily> Collect() const override {
    Page page;
    // Shared: an answer may come after we gave up waiting.
    auto promise = std::make_shared<std::promise<absl::StatusOr<MetricsView>>>();
    auto future = promise->get_future();
    engine_->Metrics(
        [promise](absl::StatusOr<MetricsView> view) { promise->set_value(std::move(view)); });
    const bool answered = future.wait_for(kAnswerWithin) == std::future_status::ready;
    const absl::StatusOr<MetricsView> view =
        answered ? future.get() : absl::StatusOr<MetricsView>(absl::DeadlineExceededError("slow"));
    page.Gauge("saffron_up", "1 when the engine answers.", view.ok() ? 1 : 0);
    if (!view.ok()) return page.Take();
    page.Gauge("saffron_paused", "1 while nothing is recorded: the disk is full or failing.",
               view->paused ? 1 : 0);
    AddRoadmaps(*view, &page);
    page.Gauge("saffron_workers", "Workers that are connected.", view->fleet.workers);
    page.Gauge("saffron_workers_barred", "Of them, those that get no new work.",
               view->fleet.barred);
    page.Gauge("saffron_nodes_quarantined", "Machines that fail more often than the fleet.",
               view->quarantined_nodes);
    page.Gauge("saffron_slots", "Trials that the workers can run at once.", view->fleet.slots);
    page.Gauge("saffron_slots_leased", "Trials that the workers hold.", view->fleet.leased);
    AddCounters(view->counters, &page);
    page.Histogram("saffron_batch_seconds",
                   "Time of the engine for a batch of calls and their commit.",
                   thread_->batch_times());
    std::error_code error;
    const auto bytes = std::filesystem::file_size(database_, error);
    if (!error) {
      page.Gauge("saffron_database_bytes", "Size of the results database, without its log.",
                 static_cast<double>(bytes));
    }
    return page.Take();
  }

 private:
  Engine* const engine_;
  const EngineThread* const thread_;
  const std::string database_;
};

}  // namespace

struct MetricsServer::Impl {
  std::shared_ptr<Collector> collector;
  std::unique_ptr<prometheus::Exposer> exposer;  // first to go: its threads collect
};

MetricsServer::MetricsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsServer::~MetricsServer() = default;

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& address,
                                                                    Engine* engine,
                                                                    const EngineThread* thread,
                                                                    const std::string& database) {
  auto impl = std::make_unique<Impl>();
  impl->collector = std::make_shared<Collector>(engine, thread, database);
  try {  // the library's only way to say so
    impl->exposer = std::make_unique<prometheus::Exposer>(address, 1);
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("cannot serve metrics at ", address,
                                               ": want HOST:PORT of this machine with a "
                                               "free port (",
                                               error.what(), ")"));
  }
  impl->exposer->RegisterCollectable(impl->collector);
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(impl)));
}

int MetricsServer::port() const { return impl_->exposer->GetListeningPorts().front(); }

}  // namespace saffron
