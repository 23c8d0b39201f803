#include "worker/worker.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "core/base/numerics_version.h"
#include "core/base/process.h"
#include "core/data/data_store.h"
#include "core/math/bf16_gemm.h"
#include "grpcpp/grpcpp.h"
#include "saffron/v1/worker.grpc.pb.h"
#include "worker/courier.h"
#include "worker/session.h"
#include "worker/spool.h"
#include "worker/trial_runner.h"

namespace saffron {
namespace {

// A call is given up this long after it should have been answered: the coordinator is stuck.
constexpr absl::Duration kAnswerWithin = absl::Seconds(20);
// Results of trials longer than this are synced to disk at once; it costs nothing against the
// trial. Those of shorter ones only while the coordinator is away: a power cut may take the last
// second.
constexpr double kSyncSeconds = 1.0;
// Least time between two looks for corpora that are missing.
constexpr absl::Duration kLookEvery = absl::Seconds(3);

std::string NewWorkerId(const std::string& hostname) {
  std::random_device entropy;
  return absl::StrFormat("%s-%d-%08x", hostname, getpid(), entropy());
}

std::string Hostname() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

// gRPC's codes are absl's.
absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

// Whether the status comes from a coordinator, rather than from gRPC that reached none.
bool IsAnswer(const grpc::Status& status) { return !status.error_details().empty(); }

absl::Duration RetryAfter(const grpc::ClientContext& context) {
  const auto& trailer = context.GetServerTrailingMetadata();
  const auto found = trailer.find("retry-after-ms");
  int64_t ms = 0;
  if (found == trailer.end() ||
      !absl::SimpleAtoi(absl::string_view(found->second.data(), found->second.size()), &ms)) {
    return absl::ZeroDuration();
  }
  return absl::Milliseconds(std::clamp<int64_t>(ms, 0, 3'600'000));
}

// Errors that waiting cannot cure.
bool IsFinal(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsUnauthenticated(status) ||
         absl::IsPermissionDenied(status) || absl::IsUnimplemented(status);
}

// What is not done is done by somebody else.
bool KeepOnDisk(const v1::AttemptResult& result) {
  return result.failure_class() != v1::FAILURE_CLASS_PREEMPTED && !result.has_missing_corpus();
}

bool WasLong(const v1::AttemptResult& result) {
  return static_cast<double>(result.ended().seconds() - result.started().seconds()) >= kSyncSeconds;
}

}  // namespace

std::shared_ptr<grpc::Channel> ConnectToCoordinator(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // How long one attempt to connect may take, whatever its name says; a busy machine takes a while.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // Notices a peer that vanished without closing.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

struct Worker::Impl : RunnerListener {
  explicit Impl(Options given)
      : options(std::move(given)),
        stub(v1::WorkerService::NewStub(options.channel)),
        session({.worker_id = NewWorkerId(Hostname()),
                 .hostname = Hostname(),
                 .pid = getpid(),
                 .process_space = ProcessSpace(),
                 .slots = options.slots,
                 .build = options.build,
                 .numerics_version = kNumericsVersion,
                 .no_bf16 = !CpuHasBf16()}),
        courier({.channel = options.channel,
                 .dir = options.checkpoint_every_s > 0 ? options.spool_dir : "",
                 .worker_id = session.Registration().worker_id(),
                 .checkpoint_every_s = options.checkpoint_every_s,
                 .log = [this](const std::string& line) { Log(line); }}),
        runner(options.slots, options.slot, this) {
    if (!options.spool_dir.empty()) {
      spool = std::make_unique<Spool>(options.spool_dir, session.Registration().worker_id());
    }
  }

  void Measured(const v1::AttemptRef& ref, std::vector<v1::Measurement> measurements) override {
    std::lock_guard lock(mutex);
    session.Measured(ref, std::move(measurements), absl::Now());
    changed.notify_all();
  }

  v1::SlotFiles FilesFor(const v1::Assignment& assignment) override {
    return courier.FilesFor(assignment);
  }
  void Saved(const v1::AttemptRef& ref, v1::SlotCheckpoint checkpoint) override {
    courier.Send(ref, std::move(checkpoint));
  }
  void Dropped(const v1::AttemptRef& ref) override { courier.Drop(ref); }

  // Until when a hand-back may wait for its checkpoint: some time is left to say so.
  absl::Time DeliverUntil() {
    std::lock_guard lock(mutex);
    return (leaving ? left_at : absl::Now()) + 0.7 * options.leave_within;
  }

  void Finished(v1::AttemptResult result) override {
    const v1::AttemptRef ref = result.ref();
    const bool preempted = result.failure_class() == v1::FAILURE_CLASS_PREEMPTED;
    if (!preempted && result.outcome() != v1::OUTCOME_FAILED) courier.DropStates(ref);
    // What others start from is there before they are told of the result.
    courier.AwaitDelivery(ref, DeliverUntil());
    courier.Forget(ref);
    const bool keep = KeepOnDisk(result), was_long = WasLong(result);
    if (result.outcome() == v1::OUTCOME_FAILED && keep) {
      Log(absl::StrCat("trial ", ref.trial_id(), " failed: ", result.message()));
    }
    const std::string message = result.message();
    std::unique_lock lock(mutex);
    const size_t missing = session.missing_corpora().size();
    session.Finished(std::move(result));
    if (session.missing_corpora().size() > missing) {
      Log(absl::StrCat("trial ", ref.trial_id(),
                       " handed back, as will be all that read it: ", message));
    }
    if (spool != nullptr && keep) {
      // Before the coordinator can acknowledge it, hence under the lock; synced outside.
      const bool sync = was_long || session.failures() > 0;
      const v1::SpoolRecord record = session.RecordOf(ref);
      if (record.has_result()) HandleSpoolError(spool->Append(record, false));
      changed.notify_all();
      lock.unlock();
      if (sync) HandleSpoolError(spool->Sync());
      return;
    }
    changed.notify_all();
  }

  void HandleSpoolError(const absl::Status& status) {
    if (status.ok() || spool_failed.exchange(true)) return;
    Log(absl::StrCat("results are kept in memory only: ", status.message()));
  }

  void Log(const std::string& line) {
    std::lock_guard lock(log_mutex);
    if (options.log) options.log(line);
  }

  // Waits until `until`, or news, or a change of mind about leaving. With `lock` held.
  void WaitForNews(std::unique_lock<std::mutex>& lock, absl::Time until) {
    const bool leaving_before = leaving;
    while (leaving == leaving_before && absl::Now() < until && !session.HasNews(absl::Now())) {
      WaitUntil(lock, std::min(until, session.NewsAt()));
    }
  }

  void WaitUntil(std::unique_lock<std::mutex>& lock, absl::Time until) {
    if (until == absl::InfiniteFuture()) {
      changed.wait(lock);
    } else {
      changed.wait_until(lock, absl::ToChronoTime(until));
    }
  }

  // Waits out a back-off; news does not shorten it, leaving does.
  void BackOff(std::unique_lock<std::mutex>& lock, absl::Duration pause) {
    const absl::Time until = absl::Now() + pause;
    const bool leaving_before = leaving;
    while (leaving == leaving_before && absl::Now() < until) WaitUntil(lock, until);
  }

  // One call, `lock` released while it is open. A call that only waits for something to happen is
  // given up for news.
  template <typename Call>
  grpc::Status Await(std::unique_lock<std::mutex>& lock, grpc::ClientContext& context,
                     bool give_up_for_news, Call call) {
    bool done = false;
    grpc::Status status;
    lock.unlock();
    call([this, &done, &status](grpc::Status ended) {
      std::lock_guard inner(mutex);
      status = std::move(ended);
      done = true;
      changed.notify_all();
    });
    lock.lock();
    bool given_up = false;
    while (!done) {
      if (give_up_for_news && !given_up && session.HasNews(absl::Now())) {
        given_up = true;
        lock.unlock();
        context.TryCancel();
        lock.lock();
        continue;
      }
      WaitUntil(lock, give_up_for_news && !given_up ? session.NewsAt() : absl::InfiniteFuture());
    }
    return status;
  }

  absl::Status Register(std::unique_lock<std::mutex>& lock) {
    const v1::RegisterRequest request = session.Registration();
    v1::RegisterResponse response;
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kAnswerWithin));
    const grpc::Status status = Await(lock, context, false, [&](auto on_done) {
      stub->async()->Register(&context, &request, &response, std::move(on_done));
    });
    if (!status.ok()) return HandleFailure(lock, status, RetryAfter(context));
    const bool first = session.coordinator_id().empty();
    courier.Open(response.coordinator_id());
    Reconnected();
    Apply(lock, session.Registered(response));
    if (first && !options.quiet)
      Log(absl::StrCat("joined the coordinator at ", options.address, " with ", options.slots,
                       options.slots == 1 ? " slot" : " slots"));
    if (spool == nullptr) return absl::OkStatus();
    absl::StatusOr<std::vector<v1::SpoolRecord>> adopted = spool->Open(response.coordinator_id());
    HandleSpoolError(adopted.status());
    if (!adopted.ok()) return absl::OkStatus();
    for (v1::SpoolRecord& record : *adopted) session.Restore(std::move(record));
    if (!adopted->empty()) {
      Log(absl::StrCat("delivering ", adopted->size(), " results that an earlier worker kept"));
    }
    return absl::OkStatus();
  }

  // Whether corpora that were missing are there now. Takes no more than a tenth of the time:
  // damaged ones are read.
  void LookForCorpora(std::unique_lock<std::mutex>& lock) {
    const std::vector<v1::CorpusRef> missing = session.missing_corpora();
    if (missing.empty() || options.data_root.empty() || absl::Now() < look_at) return;
    lock.unlock();
    const absl::Time begun = absl::Now();
    const DataStore data(options.data_root);
    std::vector<v1::CorpusRef> found;
    for (const v1::CorpusRef& corpus : missing) {
      if (!data.Check(corpus.name(), corpus.fingerprint()).ok()) continue;
      Log(absl::StrCat("corpus \"", corpus.name(), "\" is here now"));
      found.push_back(corpus);
    }
    lock.lock();
    for (const v1::CorpusRef& corpus : found) session.Found(corpus);
    look_at = absl::Now() + std::max(kLookEvery, 10 * (absl::Now() - begun));
  }

  absl::Status Sync(std::unique_lock<std::mutex>& lock) {
    LookForCorpora(lock);
    const v1::SyncRequest request = session.NextSync();
    const bool owes = request.finished_size() > 0 || request.draining() ||
                      std::any_of(request.running().begin(), request.running().end(),
                                  [](const auto& r) { return r.measurements_size() > 0; });
    v1::SyncResponse response;
    grpc::ClientContext context;
    const absl::Time begun = absl::Now();
    context.set_deadline(
        absl::ToChronoTime(begun + absl::Seconds(request.wait().seconds() + 1) + kAnswerWithin));
    const grpc::Status status = Await(lock, context, !owes, [&](auto on_done) {
      stub->async()->Sync(&context, &request, &response, std::move(on_done));
    });
    // Ours to give up: a call that was held open while something happened here.
    if (status.error_code() == grpc::StatusCode::CANCELLED ||
        status.error_code() == grpc::StatusCode::ABORTED) {
      return absl::OkStatus();
    }
    if (!status.ok()) return HandleFailure(lock, status, RetryAfter(context));
    Reconnected();
    Session::Orders orders = session.Synced(response, absl::Now() - begun);
    const absl::Duration pause = orders.pause;
    Apply(lock, std::move(orders));
    if (pause > absl::ZeroDuration()) WaitForNews(lock, absl::Now() + pause);
    return absl::OkStatus();
  }

  void Reconnected() {
    if (!announced_loss) return;
    announced_loss = false;
    Log(absl::StrCat("the coordinator at ", options.address, " is back"));
  }

  absl::Status HandleFailure(std::unique_lock<std::mutex>& lock, const grpc::Status& ended,
                             absl::Duration retry_after) {
    const absl::Status status = FromGrpc(ended);
    if (IsFinal(status)) return status;
    const absl::Duration pause = session.Failed(status, retry_after);
    if (!absl::IsNotFound(status) && session.failures() == 2 && !announced_loss) {
      announced_loss = true;
      Log(absl::StrCat(
          IsAnswer(ended) ? "no orders from the coordinator at " : "no coordinator at ",
          options.address, " (", status.message(), "); ",
          session.in_hand() + session.undelivered() > 0 ? "training goes on, " : "",
          "trying again"));
    }
    if (session.failures() == 1 && spool != nullptr) {
      lock.unlock();
      HandleSpoolError(spool->Sync());
      lock.lock();
    }
    BackOff(lock, pause);
    return absl::OkStatus();
  }

  // The runner calls back into us, so it is called without the lock.
  void Apply(std::unique_lock<std::mutex>& lock, Session::Orders orders) {
    if (spool != nullptr) {
      for (const v1::AttemptRef& ref : orders.delivered) spool->Forget(ref);
    }
    lock.unlock();
    for (const v1::AttemptRef& ref : orders.abandon) runner.Abandon(ref);
    for (v1::Assignment& assignment : orders.start) runner.Start(std::move(assignment));
    lock.lock();
  }

  absl::Status Run() {
    std::unique_lock lock(mutex);
    absl::Time leave_at = absl::InfiniteFuture();
    for (;;) {
      if (leaving && leave_at == absl::InfiniteFuture()) {
        leave_at = absl::Now() + options.leave_within;
        session.Drain();
        lock.unlock();
        runner.Preempt();
        lock.lock();
        if (!session.registered() && session.in_hand() + session.undelivered() == 0) break;
      }
      if (session.Done() || absl::Now() >= leave_at) break;
      const absl::Status status = session.registered() ? Sync(lock) : Register(lock);
      if (!status.ok()) return status;
    }
    if (session.undelivered() > 0) {
      Log(absl::StrCat(session.undelivered(),
                       " results were not taken; they are kept for the next worker"));
    }
    return absl::OkStatus();
  }

  void Leave() {
    courier.Hurry();
    std::lock_guard lock(mutex);
    if (!leaving) left_at = absl::Now();
    leaving = true;
    session.Drain();
    changed.notify_all();
  }

  const Options options;
  const std::unique_ptr<v1::WorkerService::Stub> stub;
  std::unique_ptr<Spool> spool;
  std::atomic<bool> spool_failed = false;
  std::mutex log_mutex;

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  Session session;
  bool leaving = false;
  absl::Time left_at;  // when leaving began
  bool announced_loss = false;
  absl::Time look_at = absl::InfinitePast();  // for missing corpora

  Courier courier;
  TrialRunner runner;  // last: its threads use all of the above
};

Worker::Worker(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Worker::~Worker() = default;
absl::Status Worker::Run() { return impl_->Run(); }
void Worker::Leave() { impl_->Leave(); }

}  // namespace saffron
