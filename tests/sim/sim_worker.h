#pragma once
// A worker process in virtual time: the real session and the real spool; what the real Worker does
// with threads, gRPC and child processes, this does with an agenda, a simulated network and trials
// that are a known function of their variant and seed.
//
// It may be killed (its spool survives), lose its machine (the spool's unsynced end is torn),
// freeze and come back, or be told to leave; afterwards another process takes its place.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/sim/agenda.h"
#include "tests/sim/bug.h"
#include "worker/session.h"
#include "worker/spool.h"

namespace saffron {

// How an attempt ended whose worker could not open its corpus.
inline constexpr char kNoCorpusMessage[] = "no such corpus here";

// What a trial is and comes to, whoever runs it.
struct SimTrial {
  int64_t bits = 0;
  uint64_t seed = 0;
  double start = 0;  // the model that it starts from; 0: none

  static constexpr int kSteps = 3;  // measurements: train/loss at steps 1, 2, ...
  double Loss(int64_t step) const {
    return static_cast<double>(bits) + 0.01 * static_cast<double>(seed) + 1.0 / (2.0 + step) +
           start;
  }
  double Perplexity() const { return Loss(1000); }
  // Its checkpoint, "best" or "last", and its state after a step, as files.
  double Model(const std::string& role) const { return Loss(role == "best" ? 2000 : 3000) / 8; }
  std::string Checkpoint(const std::string& role) const;
  std::string State(int64_t step) const;

  bool Diverges() const { return bits % 7 == 0; }
  bool Fails() const { return bits % 11 == 0; }   // however often it is tried
  bool EndsWorker() const { return bits == 13; }  // whoever tries it
  static const char* CorpusOf(int64_t bits) { return bits % 3 == 1 ? "cafe" : "f00d"; }
};

// The simulated network, as a worker sees it. `done` is called once, later, unless the call is
// given up.
class SimNetwork {
 public:
  using CallId = int64_t;
  virtual ~SimNetwork() = default;
  virtual CallId Register(
      const v1::RegisterRequest& request, int machine,
      std::function<void(absl::StatusOr<v1::RegisterResponse>, absl::Duration)> done) = 0;
  virtual CallId Sync(
      const v1::SyncRequest& request, int machine,
      std::function<void(absl::StatusOr<v1::SyncResponse>, absl::Duration)> done) = 0;
  virtual void GiveUp(CallId call) = 0;
  // A whole file to the coordinator, or from it: nullopt when it cannot be had.
  virtual CallId Store(const v1::AttemptRef& ref, const v1::Artifact& artifact,
                       const std::string& content, int machine,
                       std::function<void(absl::Status)> done) = 0;
  virtual std::optional<std::string> Fetch(const std::string& sha256, int machine) = 0;
};

class SimWorker {
 public:
  struct Options {
    int number = 0;   // of the worker; its processes are "w<number>.<life>"
    int machine = 0;  // workers of a machine share a folder of spools
    int slots = 1;
    std::string spool_dir;
    // How long a trial takes on this worker; not set: by chance, up to 20 s.
    std::function<absl::Duration(const SimTrial&)> length = {};
    bool checkpoints = false;  // trials leave states on the way
    // Whether whatever runs here fails at the moment. Not set: never.
    std::function<bool()> is_bad = {};
    // Whether the corpus of this fingerprint cannot be opened here at the moment. Not set: never.
    std::function<bool(const std::string& fingerprint)> lacks = {};
    Bug bug = Bug::kNone;
  };
  SimWorker(const Options& options, Agenda* agenda, Dice* dice, SimNetwork* network, Marks* marks);

  void Start();  // a new process
  enum class Death { kProcess, kMachine };
  void Kill(Death death);
  void Freeze(absl::Duration length);
  void Leave();

  bool up() const { return session_ != nullptr; }
  std::string name() const;
  int machine() const { return options_.machine; }

 private:
  using Key = std::pair<int64_t, int32_t>;
  enum class Mode { kIdle, kCalling, kPausing, kBackingOff };

  // In this process's life, and not while it is frozen.
  void InLife(absl::Duration wait, std::function<void()> what);
  void Go();           // the next call
  void NewsMayWake();  // what waits for news looks whether there is some
  void WaitForNews();  // ... now and when a delayed measurement becomes news
  void OnRegistered(const absl::StatusOr<v1::RegisterResponse>& response, absl::Duration retry);
  void OnSynced(const absl::StatusOr<v1::SyncResponse>& response, absl::Duration retry);
  void OnFailure(const absl::Status& status, absl::Duration retry_after);
  void Pause(Mode mode, absl::Duration length);
  void Apply(const Session::Orders& orders);
  void LookForCorpora();
  bool Lacks(const std::string& fingerprint) const;
  void Exit();

  // Slots.
  struct Running {
    SimTrial trial;
    int64_t step = 0;               // measured so far
    std::vector<std::string> keep;  // checkpoints
    bool has_ended = false;         // and waits for its files to be delivered
  };
  // null: the attempt was abandoned, or has ended.
  Running* Find(const v1::AttemptRef& ref);
  void FillSlots();
  void Begin(const v1::Assignment& assignment);
  void Run(const v1::Assignment& assignment, int fetches_left);
  // The model that the trial starts from: its parent's checkpoint, or the parent trained again.
  // nullopt: it could not be fetched.
  std::optional<double> StartOf(const v1::Assignment& assignment);
  void Measure(const v1::AttemptRef& ref, int64_t step);
  void Finish(const v1::AttemptRef& ref);
  void Preempt(const v1::AttemptRef& ref);
  // The attempt has ended: the result goes once its files have, or `within` has passed.
  void End(v1::AttemptResult result, absl::Duration within);
  void Deliver(v1::AttemptResult result);
  void HandBack(const v1::AttemptRef& ref, const std::string& message);

  // Files on their way to the coordinator, one after the other: as Courier.
  struct Parcel {
    v1::AttemptRef ref;
    v1::Artifact artifact;
    std::string content;
    int64_t number = 0;
  };
  void Send(const v1::AttemptRef& ref, const std::string& kind, const std::string& role,
            int64_t step, const std::string& content);
  void SendNext();
  void DropParcels(const v1::AttemptRef& ref, bool states_only);

  static Key KeyOf(const v1::AttemptRef& ref) { return {ref.trial_id(), ref.attempt()}; }
  std::string SpoolPath() const;

  const Options options_;
  Agenda* const agenda_;
  Dice* const dice_;
  SimNetwork* const network_;
  Marks* const marks_;

  int life_ = 0;
  bool frozen_ = false;
  std::vector<std::function<void()>> deferred_;  // what happens once it thaws
  std::unique_ptr<Session> session_;             // null while there is no process
  std::unique_ptr<Spool> spool_;
  int64_t spool_synced_ = 0;  // bytes of it that survive a power cut
  Mode mode_ = Mode::kIdle;
  int64_t turn_ = 0;  // outdates the end of an earlier pause
  SimNetwork::CallId call_ = 0;
  bool owes_ = false;  // the open call says something
  absl::Time call_begun_;
  absl::Time look_at_ = absl::InfinitePast();  // for missing corpora
  bool leaving_ = false;
  std::deque<v1::Assignment> waiting_;
  std::map<Key, Running> running_;
  std::deque<Parcel> parcels_;  // survive the process
  int64_t parcel_number_ = 0;
  bool sending_ = false;
};

}  // namespace saffron
