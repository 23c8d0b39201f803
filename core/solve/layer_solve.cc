#include "core/solve/layer_solve.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "core/base/status_macros.h"
#include "core/solve/attention.h"
#include "core/solve/gain_fit.h"
#include "core/solve/holdout.h"
#include "core/solve/holdout_loss.h"
#include "core/solve/key_counts.h"
#include "core/solve/layer_counts.h"
#include "core/solve/target_groups.h"

namespace saffron {
namespace {

// Tried from the third one outwards, as long as the hold-out loss falls.
constexpr double kAlphas[] = {100, 300, 1000, 3000};
constexpr int kFirstAlpha = 2;
// Tried upwards, as long as the hold-out loss falls.
constexpr double kGammas[] = {0, 0.5, 1, 2};
// Rows of r and o keys differ from target to target, so that evidence has to be computed for each:
// more of them than one r key's make do with fewer targets.
constexpr int kPositionalDimMax = 64;
constexpr int64_t kPositionalTargets = 4000;

// What one alpha leads to.
struct Candidate {
  double alpha = 0;
  std::vector<Matrix<float>> r;   // evidence: [NK] (concat) or one for all keys (sum)
  std::vector<double> key_gains;  // [NK] with evidence of each key's own
  std::vector<double> gains;      // [NK] with `r`; the same as key_gains for a concat head
  double loss = 0;                // on some of the hold-out
};

class LayerSolver {
 public:
  LayerSolver(const LayerProblem& problem, StageClock* clock)
      : problem_(problem),
        clock_(*clock),
        keys_(problem.shape.num_keys()),
        rule_(HoldoutRule::For(static_cast<int64_t>(problem.data.train.size()))),
        window_(problem.features, problem.shape.keys, problem.data.train, problem.below) {}

  absl::StatusOr<SaffuLayerSolution> Solve() {
    RETURN_IF_ERROR(Count());
    MakeHoldout();
    ChooseAlpha();
    SetStaticParams();
    if (problem_.shape.attention) Attend();
    if (problem_.spec.refold) RETURN_IF_ERROR(Refold());
    FillWeights();
    return std::move(solution_);
  }

 private:
  bool sum_head() const { return problem_.shape.head == Head::kSum; }

  absl::Status Count() {
    ASSIGN_OR_RETURN(const CountTable lag1,
                     LagCounts(problem_.data, 1, Part::kCounted, problem_.cache));
    token_counts_ = lag1.ColumnSums(problem_.data.vocab);
    SetPrior();
    ASSIGN_OR_RETURN(std::vector<KeyCounts> counts,
                     CountKeys(problem_, rule_, Part::kCounted, &window_));
    f_ = ByOutput(std::move(counts));
    clock_.Lap("count");
    return absl::OkStatus();
  }

  void SetPrior() {
    p_ = OutputPrior(token_counts_, problem_.soft);
    targets_counted_ = 0;
    for (int64_t n : token_counts_) targets_counted_ += static_cast<double>(n);
  }

  std::vector<Matrix<double>> ByOutput(std::vector<KeyCounts> counts) const {
    std::vector<Matrix<double>> f;
    for (KeyCounts& key : counts) {
      f.push_back(CountsByOutput(key, problem_.soft));
      key = {};
    }
    return f;
  }

  void MakeHoldout() {
    int positional = 0;
    for (const KeySpec& key : problem_.shape.keys) positional += IsTokenKey(key) ? 0 : key.dim;
    const std::vector<int32_t> all =
        rule_.Targets(static_cast<int64_t>(problem_.data.train.size()),
                      positional > kPositionalDimMax ? kPositionalTargets : kHoldoutTargets);
    fit_ = std::make_unique<GainFit>(&window_, all, problem_.soft, problem_.spec.gains);
    clock_.Lap("holdout");
  }

  Matrix<float> EvidenceOf(const Matrix<double>& f, double alpha) const {
    Matrix<float> r(f.rows(), PaddedColumns(problem_.shape.outputs));
    const bool by_mass = !problem_.features.constant_norm();
    PointwiseEvidence(f, by_mass ? MassShares(f, targets_counted_) : p_, alpha, problem_.spec.kappa,
                      r);
    return r;
  }

  // sum_k (lambda_k / g) F_k, what a sum head counts.
  Matrix<double> Mixed(const std::vector<Matrix<double>>& f,
                       const std::vector<double>& gains) const {
    double g = 0;
    for (double gain : gains) g += gain;
    Matrix<double> mixed = Matrix<double>::Zero(f[0].rows(), f[0].cols());
    for (int k = 0; k < keys_; ++k) mixed += gains[k] / g * f[k];
    return mixed;
  }

  // The evidence that the head needs: of each key, or of all keys mixed by their gains.
  std::vector<Matrix<float>> EvidenceOfHead(const std::vector<Matrix<double>>& f,
                                            const std::vector<double>& gains) const {
    std::vector<Matrix<float>> r;
    if (sum_head()) return {EvidenceOf(Mixed(f, gains), chosen_.alpha)};
    for (const Matrix<double>& key : f) r.push_back(EvidenceOf(key, chosen_.alpha));
    return r;
  }

  GainFit::Fitted FitGains(const std::vector<Matrix<float>>& r, const std::vector<double>* near) {
    if (near == nullptr) return fit_->FromScratch(r, p_);
    fit_->Show(GainFit::Targets::kSome, r, p_);
    return fit_->FromNear(*near);
  }

  Candidate TryAlpha(double alpha, const Candidate* near) {
    Candidate c;
    c.alpha = alpha;
    for (const Matrix<double>& f : f_) c.r.push_back(EvidenceOf(f, alpha));
    GainFit::Fitted fitted = FitGains(c.r, near != nullptr ? &near->key_gains : nullptr);
    c.key_gains = fitted.gains;
    if (sum_head()) {
      c.r = {EvidenceOf(Mixed(f_, c.key_gains), alpha)};
      fitted = FitGains(c.r, near != nullptr ? &near->gains : nullptr);
    }
    c.gains = std::move(fitted.gains);
    c.loss = fitted.loss;
    return c;
  }

  void ChooseAlpha() {
    if (problem_.spec.alpha > 0) {
      chosen_ = TryAlpha(problem_.spec.alpha, nullptr);
      clock_.Lap("choose alpha");
      return;
    }
    chosen_ = TryAlpha(kAlphas[kFirstAlpha], nullptr);
    for (const int direction : {1, -1}) {
      bool better = false;
      for (int i = kFirstAlpha + direction; i >= 0 && i < std::ssize(kAlphas); i += direction) {
        Candidate c = TryAlpha(kAlphas[i], &chosen_);
        if (!(c.loss < chosen_.loss)) break;
        chosen_ = std::move(c);
        better = true;
      }
      if (better) break;
    }
    clock_.Lap("choose alpha");
  }

  void SetStaticParams() {
    fit_->Show(GainFit::Targets::kAll, chosen_.r, p_);
    GainFit::Fitted fitted = fit_->OnAll(chosen_.gains);
    chosen_.gains = std::move(fitted.gains);
    static_loss_ = fitted.loss;
    clock_.Lap("calibrate");
    SaffuLayerParams<float>& params = solution_.params;
    params.shape = problem_.shape;
    double g = 0;
    for (double gain : chosen_.gains) g += gain;
    params.gain = static_cast<float>(g);
    for (double gain : chosen_.gains) {
      shares_.push_back(gain / g);
      params.beta.push_back(static_cast<float>(std::log(gain / g)));
    }
    solution_.gains = chosen_.gains;
    solution_.alpha = chosen_.alpha;
    solution_.kappa = problem_.spec.kappa;
    solution_.holdout_static_nats = static_loss_ / static_cast<double>(fit_->targets());
    solution_.holdout_nats = solution_.holdout_static_nats;
  }

  std::vector<Matrix<double>> AttentionLogRatios(GroupedTargets* targets) {
    std::vector<Matrix<float>> likelihood;
    if (sum_head()) {
      likelihood.push_back(
          LikelihoodByToken(Mixed(f_, chosen_.key_gains), p_, chosen_.alpha, problem_.soft));
    } else {
      for (const Matrix<double>& f : f_) {
        likelihood.push_back(LikelihoodByToken(f, p_, chosen_.alpha, problem_.soft));
      }
    }
    std::vector<const Matrix<float>*> of_key;
    for (int k = 0; k < keys_; ++k) of_key.push_back(&likelihood[sum_head() ? 0 : k]);
    return SolveAttention(targets, shares_, of_key);
  }

  GroupedTargets Targets(Part part) const {
    return GroupedTargets(
        KeyWindow(problem_.features, problem_.shape.keys, problem_.data.train, problem_.below),
        rule_, part);
  }

  // params with W at scale gamma.
  SaffuLayerParams<float> WithAttention(const std::vector<Matrix<double>>& w, double gamma) const {
    SaffuLayerParams<float> params = solution_.params;
    params.w.clear();
    for (const Matrix<double>& w_k : w) {
      for (int64_t i = 0; i < w_k.size(); ++i) {
        params.w.push_back(static_cast<float>(gamma * w_k.data()[i]));
      }
    }
    return params;
  }

  // Attention's scale, and whether to recount, are chosen on some of the hold-out; what comes out
  // has to beat static scores on all of it.
  void Attend() {
    GroupedTargets targets = Targets(Part::kCounted);
    const std::vector<Matrix<double>> w = AttentionLogRatios(&targets);
    clock_.Lap("attention");
    fit_->Show(GainFit::Targets::kSome, chosen_.r, p_);
    double best = std::numeric_limits<double>::infinity(), gamma = 0;
    for (double candidate : kGammas) {
      const AttentionGains attention(problem_.features, WithAttention(w, candidate));
      const double loss = fit_->LossUnder(attention, GainFit::Targets::kSome);
      if (!(loss < best)) break;
      best = loss;
      gamma = candidate;
    }
    const SaffuLayerParams<float> without = WithAttention(w, 0);
    solution_.params = WithAttention(w, gamma);
    clock_.Lap("choose gamma");
    if (gamma == 0) return;
    const AttentionGains attention(problem_.features, solution_.params);
    std::optional<Recounted> recounted = Recount(attention, best, &targets);
    // Otherwise all of the hold-out has been shown chosen_.r already.
    if (recounted.has_value()) fit_->Show(GainFit::Targets::kAll, recounted->r, p_);
    const double loss = fit_->LossUnder(attention, GainFit::Targets::kAll);
    clock_.Lap("recount");
    if (!(loss < static_loss_)) {
      solution_.params = without;
      return;
    }
    solution_.gamma = gamma;
    solution_.recounted = recounted.has_value();
    solution_.holdout_nats = loss / static_cast<double>(fit_->targets());
    if (!recounted.has_value()) return;
    f_ = std::move(recounted->f);
    chosen_.r = std::move(recounted->r);
  }

  // Counts weighted by attention, on the scale of plain counts, by output.
  std::vector<Matrix<double>> AttendedCounts(const AttentionGains& attention,
                                             GroupedTargets* targets) const {
    std::vector<Matrix<double>> f = ByOutput(CountAttended(attention, targets));
    for (Matrix<double>& key : f) key *= keys_ / double{solution_.params.gain};
    return f;
  }

  struct Recounted {
    std::vector<Matrix<double>> f;
    std::vector<Matrix<float>> r;
  };
  // Those counts and their evidence, where some of the hold-out likes it better.
  std::optional<Recounted> Recount(const AttentionGains& attention, double loss_without,
                                   GroupedTargets* targets) {
    Recounted recounted = {.f = AttendedCounts(attention, targets), .r = {}};
    recounted.r = EvidenceOfHead(recounted.f, std::vector<double>(keys_, 1.0));
    fit_->Show(GainFit::Targets::kSome, recounted.r, p_);
    if (!(fit_->LossUnder(attention, GainFit::Targets::kSome) < loss_without)) return std::nullopt;
    return recounted;
  }

  // Evidence from counts of the whole stream: the hold-out has served.
  absl::Status Refold() {
    ASSIGN_OR_RETURN(const CountTable lag1,
                     LagCounts(problem_.data, 1, Part::kHeld, problem_.cache));
    const std::vector<int64_t> held = lag1.ColumnSums(problem_.data.vocab);
    for (size_t i = 0; i < held.size(); ++i) token_counts_[i] += held[i];
    SetPrior();
    std::vector<Matrix<double>> f;
    if (solution_.recounted) {
      GroupedTargets targets = Targets(Part::kHeld);
      f = AttendedCounts(AttentionGains(problem_.features, solution_.params), &targets);
    } else {
      ASSIGN_OR_RETURN(std::vector<KeyCounts> counts,
                       CountKeys(problem_, rule_, Part::kHeld, &window_));
      f = ByOutput(std::move(counts));
    }
    for (int k = 0; k < keys_; ++k) f_[k] += f[k];
    chosen_.r = EvidenceOfHead(
        f_, solution_.recounted ? std::vector<double>(keys_, 1.0) : chosen_.key_gains);
    clock_.Lap("refold");
    return absl::OkStatus();
  }

  // U = R + log p / g; where key vectors differ in norm, the prior is a bias instead.
  void FillWeights() {
    SaffuLayerParams<float>& params = solution_.params;
    const int outputs = problem_.shape.outputs;
    const bool spread = problem_.features.constant_norm();
    std::vector<float> share(outputs);
    for (int i = 0; i < outputs; ++i) {
      const double log_p = std::log(p_[i]);
      if (spread) share[i] = static_cast<float>(log_p / params.gain);
      if (!spread) params.bias.push_back(static_cast<float>(log_p));
    }
    params.u.reserve(int64_t{problem_.shape.InputDim()} * outputs);
    for (const Matrix<float>& r : chosen_.r) {
      for (int64_t j = 0; j < r.rows(); ++j) {
        for (int i = 0; i < outputs; ++i) params.u.push_back(r(j, i) + share[i]);
      }
    }
    clock_.Lap("weights");
  }

  const LayerProblem& problem_;
  StageClock& clock_;
  const int keys_;
  const HoldoutRule rule_;
  KeyWindow window_;
  std::vector<int64_t> token_counts_;  // [V]
  double targets_counted_ = 0;
  std::vector<double> p_;          // [N]
  std::vector<Matrix<double>> f_;  // [NK] of [dim_k, N]
  std::unique_ptr<GainFit> fit_;
  Candidate chosen_;
  std::vector<double> shares_;  // [NK] static A_k
  double static_loss_ = 0;
  SaffuLayerSolution solution_;
};

}  // namespace

StageClock::StageClock(std::map<std::string, double>* seconds) : seconds_(seconds) {
  Lap("");
  seconds_->erase("");
}

void StageClock::Lap(const std::string& stage) {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  const double t = static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  (*seconds_)[stage] += t - last_;
  last_ = t;
}

absl::StatusOr<SaffuLayerSolution> SolveLayer(const LayerProblem& problem, StageClock* clock) {
  return LayerSolver(problem, clock).Solve();
}

}  // namespace saffron
