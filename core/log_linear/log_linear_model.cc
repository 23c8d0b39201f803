#include "core/log_linear/log_linear_model.h"

#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/log_linear/bounded_newton.h"
#include "core/log_linear/evidence_logits.h"
#include "core/log_linear/gain_objective.h"
#include "core/math/exp.h"
#include "core/solve/holdout.h"

namespace saffron {
namespace {

// Most iterations are spent on few targets.
constexpr int64_t kFewTargets = 2500;
// Curvature is a guide, not a result, so that fewer do.
constexpr int64_t kCurvatureTargets = 2500;
// A step worth less than this many nats of a target is not taken.
constexpr double kTolerance = 3e-5;

std::vector<int32_t> Thinned(const std::vector<int32_t>& targets, int64_t most) {
  const size_t stride = std::max<size_t>(1, targets.size() / most);
  std::vector<int32_t> thinned;
  for (size_t i = 0; i < targets.size(); i += stride) thinned.push_back(targets[i]);
  return thinned;
}

BoundedMinimum FitTo(GainObjective<float>& objective, const LogLinearSpec& spec, double tolerance,
                     double share, Vector<double> prior, Vector<double> start) {
  BoundedProblem problem;
  const int64_t every = std::max<int64_t>(1, objective.targets() / kCurvatureTargets);
  problem.at = [&objective, every](const Vector<double>& gains, bool with_hessian) {
    return objective.At(gains, with_hessian ? every : 0);
  };
  problem.min = spec.gain_min;
  problem.max = spec.gain_max;
  problem.prior = std::move(prior);
  problem.prior_weight = spec.gain_prior * share;
  problem.tolerance = tolerance * static_cast<double>(objective.targets());
  return Minimize(problem, std::move(start));
}

struct Fit {
  std::vector<double> gains;
  GainFitReport report;
};

// Fits the gains of a shape to the hold-out, by tables that leave it out.
Fit FitGains(const LogLinearSpec& spec, const LogLinearShape& shape,
             const LogLinearTables<float>& tables, absl::Span<const int32_t> train,
             const std::vector<int32_t>& held) {
  const Vector<double> prior = Eigen::Map<const Vector<double>>(shape.prior.data(), shape.gains);
  GainObjective few(shape, tables, train, Thinned(held, kFewTargets));
  GainObjective all(shape, tables, train, held);
  const double share = static_cast<double>(few.targets()) / static_cast<double>(all.targets());
  BoundedMinimum fitted = FitTo(few, spec, 10 * kTolerance, share, prior, prior);
  fitted = FitTo(all, spec, kTolerance, 1, prior, fitted.x);
  return {.gains = {fitted.x.data(), fitted.x.data() + fitted.x.size()},
          .report = {.targets = all.targets(),
                     .nats = fitted.nats / static_cast<double>(all.targets()),
                     .evaluations = fitted.evaluations,
                     .uses = all.uses()}};
}

// Everything that a fit depends on.
std::string FitKey(const LogLinearSpec& spec, const LogLinearShape& shape, const TextDataset& data,
                   const HoldoutRule& rule) {
  const auto bits = [](double v) { return absl::Hex(std::bit_cast<uint64_t>(v)); };
  std::string key = absl::StrCat("log_linear_gains/2/", data.stream_key, "/", data.train.size(),
                                 "/", rule.Key(), "/");
  absl::StrAppend(&key, spec.discounts == Discounts::kModified ? "modified" : "single", "/",
                  spec.order, "/", spec.window, "/", bits(spec.gain_min), "/", bits(spec.gain_max),
                  "/", bits(spec.gain_prior));
  for (const std::string& name : shape.names) absl::StrAppend(&key, "/", name);
  const SaffuSolveSpec& dense = spec.dense;
  if (dense.streams.empty()) return key;
  absl::StrAppend(&key, "/dense/", dense.bits, "/", dense.radius, "/", bits(dense.alpha), "/",
                  bits(dense.kappa));
  return key;
}

// Gains, uses, and the rest of a report, one after the other.
std::vector<char> BytesOf(const Fit& fit) {
  std::vector<double> numbers = fit.gains;
  numbers.insert(numbers.end(), fit.report.uses.begin(), fit.report.uses.end());
  numbers.push_back(static_cast<double>(fit.report.targets));
  numbers.push_back(fit.report.evaluations);
  numbers.push_back(fit.report.nats);
  const char* const bytes = reinterpret_cast<const char*>(numbers.data());
  return {bytes, bytes + numbers.size() * sizeof(double)};
}

absl::StatusOr<Fit> ParseFit(const std::vector<char>& bytes, int gains) {
  std::vector<double> numbers(2 * static_cast<size_t>(gains) + 3);
  if (bytes.size() != numbers.size() * sizeof(double)) {
    return absl::DataLossError(
        absl::StrCat(bytes.size(), " bytes of stored gains, where ", gains, " need more or less"));
  }
  std::memcpy(numbers.data(), bytes.data(), bytes.size());
  const double* const uses = std::as_const(numbers).data() + gains;
  const double* const rest = uses + gains;
  return Fit{.gains = {std::as_const(numbers).data(), uses},
             .report = {.targets = static_cast<int64_t>(rest[0]),
                        .nats = rest[2],
                        .evaluations = static_cast<int>(rest[1]),
                        .uses = std::vector<int64_t>(uses, rest)}};
}

}  // namespace

absl::StatusOr<LogLinearModel> LogLinearModel::Solve(const LogLinearSpec& spec,
                                                     const TextDataset& data,
                                                     StatisticsCache& cache) {
  const int64_t tokens = static_cast<int64_t>(data.train.size());
  if (tokens < kSolveTokensMin) {
    return absl::InvalidArgumentError(
        absl::StrCat("training stream: want at least ", kSolveTokensMin, " tokens, got ", tokens));
  }
  LogLinearModel model{LogLinearShape(spec)};
  const LogLinearShape& shape = model.shape_;
  model.gains_ = shape.prior;
  TargetSet targets = {.first = 0, .last = tokens, .rule = HoldoutRule::For(tokens)};
  if (spec.calibrated && shape.gains > 0) {
    ASSIGN_OR_RETURN(
        const StatisticsCache::Bytes bytes,
        cache.GetOrCompute(
            FitKey(spec, shape, data, targets.rule), [&]() -> absl::StatusOr<std::vector<char>> {
              ASSIGN_OR_RETURN(
                  const LogLinearTables<float> tables,
                  LogLinearTables<float>::Load(shape, data, targets, spec.discounts, cache));
              return BytesOf(FitGains(spec, shape, tables, data.train,
                                      targets.rule.Targets(tokens, kHoldoutTargets)));
            }));
    ASSIGN_OR_RETURN(Fit fit, ParseFit(*bytes, shape.gains));
    model.gains_ = std::move(fit.gains);
    model.fit_ = std::move(fit.report);
  }
  targets.held = spec.refolded;
  ASSIGN_OR_RETURN(model.tables_,
                   LogLinearTables<float>::Load(shape, data, targets, spec.discounts, cache));
  return model;
}

std::map<std::string, double> LogLinearModel::MeanGains() const {
  std::map<std::string, double> sum, weight;
  for (int g = 0; g < shape_.gains; ++g) {
    const double uses = fit_.uses.empty() ? 1 : static_cast<double>(fit_.uses[g]);
    sum[shape_.names[g]] += uses * gains_[g];
    weight[shape_.names[g]] += uses;
  }
  for (auto& [name, value] : sum) value = weight[name] > 0 ? value / weight[name] : 0;
  return sum;
}

std::vector<double> LogLinearModel::Nats(absl::Span<const int32_t> stream,
                                         absl::Span<const int64_t> targets, Counted counted) const {
  EvidenceLogits<float> logits(shape_, tables_, stream, counted);
  std::vector<double> nats;
  nats.reserve(targets.size());
  logits.ForEach(targets, gains_, [&](size_t n, auto, auto, const float* z) {
    nats.push_back(LogSumExp(z, tables_.vocab()) - z[stream[targets[n]]]);
  });
  return nats;
}

}  // namespace saffron
