#include "core/solve/gain_fit.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/solve/calibrate.h"

namespace saffron {
namespace {

constexpr int64_t kFewTargets = 625, kSomeTargets = 2500;

std::vector<int32_t> Thinned(const std::vector<int32_t>& targets, int64_t most) {
  const int64_t size = static_cast<int64_t>(targets.size());
  const int64_t stride = std::max<int64_t>(1, size / most);
  std::vector<int32_t> thinned;
  for (int64_t i = 0; i < size; i += stride) thinned.push_back(targets[i]);
  return thinned;
}

Matrix<float> Shared(const std::vector<double>& gains) {
  Matrix<float> row(1, static_cast<int64_t>(gains.size()));
  for (size_t k = 0; k < gains.size(); ++k) row(0, k) = static_cast<float>(gains[k]);
  return row;
}

void ShowTo(HoldoutLoss* loss, int keys, const std::vector<Matrix<float>>& r,
            const std::vector<double>& p) {
  Evidence evidence = {.outputs = static_cast<int>(p.size()), .r = {}, .p = &p};
  for (int k = 0; k < keys; ++k) evidence.r.push_back(&r[r.size() == 1 ? 0 : k]);
  loss->SetEvidence(std::move(evidence));
}

auto ObjectiveOf(HoldoutLoss& loss) {
  return [&loss](const std::vector<double>& gains) { return loss.AtGains(gains); };
}

}  // namespace

GainFit::GainFit(KeyWindow* window, const std::vector<int32_t>& targets, const SparseRows* soft,
                 GainMode mode)
    : window_(window),
      mode_(mode),
      keys_(static_cast<int>(window->keys().size())),
      few_(std::make_unique<HoldoutLoss>(window, Thinned(targets, kFewTargets), soft)),
      some_(std::make_unique<HoldoutLoss>(window, Thinned(targets, kSomeTargets), soft)),
      all_(std::make_unique<HoldoutLoss>(window, targets, soft)) {}

void GainFit::Show(Targets on, const std::vector<Matrix<float>>& r, const std::vector<double>& p) {
  ShowTo(&Loss(on), keys_, r, p);
}

std::vector<double> GainFit::FixedGains() const {
  return std::vector<double>(keys_, mode_ == GainMode::kKnorm ? 1.0 : 1.0 / keys_);
}

GainFit::Fitted GainFit::FromScratch(const std::vector<Matrix<float>>& r,
                                     const std::vector<double>& p) {
  Show(Targets::kSome, r, p);
  if (mode_ != GainMode::kCalibrated) return FromNear({});
  ShowTo(few_.get(), keys_, r, p);
  Calibration fit = Calibrate(ObjectiveOf(*few_), std::vector<double>(keys_, 1.0 / keys_));
  fit = Calibrate(ObjectiveOf(*some_), std::move(fit.gains));
  return {std::move(fit.gains), fit.loss};
}

GainFit::Fitted GainFit::FromNear(const std::vector<double>& near) {
  std::vector<double> gains = mode_ == GainMode::kCalibrated
                                  ? CalibrateOnce(ObjectiveOf(*some_), near).gains
                                  : FixedGains();
  const double loss = some_->AtGainsOfTargets(Shared(gains));
  return {std::move(gains), loss};
}

GainFit::Fitted GainFit::OnAll(const std::vector<double>& start) {
  if (mode_ != GainMode::kCalibrated) return {start, all_->AtGainsOfTargets(Shared(start))};
  // Near the best gains one Newton step does, if it keeps what it promises.
  Calibration fit = CalibrateOnce(ObjectiveOf(*all_), start);
  const double loss = all_->AtGainsOfTargets(Shared(fit.gains));
  if (std::abs(loss - fit.loss) < 1e-4 * std::abs(loss)) return {std::move(fit.gains), loss};
  fit = Calibrate(ObjectiveOf(*all_), start);
  return {std::move(fit.gains), fit.loss};
}

double GainFit::LossUnder(const AttentionGains& attention, Targets on) {
  HoldoutLoss& loss = Loss(on);
  return loss.AtGainsOfTargets(attention.OfTargets(window_, loss.targets()));
}

}  // namespace saffron
