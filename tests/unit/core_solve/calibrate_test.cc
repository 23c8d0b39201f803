#include "core/solve/calibrate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/solve/features.h"
#include "core/solve/holdout_loss.h"
#include "tests/unit/core_solve/text.h"

namespace saffron {
namespace {

// (x - a)' H (x - a) / 2
GainLoss Quadratic(const Eigen::MatrixXd& h, const Eigen::VectorXd& a,
                   const std::vector<double>& x) {
  const Eigen::VectorXd d =
      Eigen::Map<const Eigen::VectorXd>(x.data(), static_cast<int>(x.size())) - a;
  return {.loss = 100 + 0.5 * d.dot(h * d), .downhill = -(h * d), .curvature = h};
}

TEST(Calibrate, FindsTheMinimumOfABowl) {
  Eigen::MatrixXd h(2, 2);
  h << 3, 1, 1, 2;
  const Eigen::Vector2d a(0.7, 1.4);
  const auto fit = Calibrate([&](const auto& x) { return Quadratic(h, a, x); }, {0.5, 0.5});
  EXPECT_NEAR(fit.gains[0], 0.7, 0.02);
  EXPECT_NEAR(fit.gains[1], 1.4, 0.02);
}

TEST(Calibrate, AGainThatWantsBelowTheFloorStopsThereAndTheOthersMakeUpForIt) {
  // Nearly collinear: the free minimum is far away, at (5, -3).
  Eigen::MatrixXd h(2, 2);
  h << 1000, 999, 999, 1000;
  const Eigen::Vector2d a(5, -3);
  const auto fit = Calibrate([&](const auto& x) { return Quadratic(h, a, x); }, {0.5, 0.5});
  EXPECT_NEAR(fit.gains[1], 0.01, 1e-12);
  // Best of the first given the second: 5 - 0.999 (0.01 + 3).
  EXPECT_NEAR(fit.gains[0], 5 - 0.999 * 3.01, 0.01);
}

TEST(Calibrate, HalvesStepsThatOvershootAndSurvivesLossesThatAreNotNumbers) {
  // log cosh is flat far away: a Newton step from 3 lands near -100.
  const auto objective = [](const std::vector<double>& x) {
    const double d = x[0] - 0.5;
    if (x[0] > 40) return GainLoss{NAN, Eigen::VectorXd::Zero(1), Eigen::MatrixXd::Zero(1, 1)};
    return GainLoss{std::log(std::cosh(d)) + 1, Eigen::VectorXd::Constant(1, -std::tanh(d)),
                    Eigen::MatrixXd::Constant(1, 1, 1 - std::tanh(d) * std::tanh(d))};
  };
  CalibrationOptions options;
  options.floor = -1000;
  EXPECT_NEAR(Calibrate(objective, {3}, options).gains[0], 0.5, 0.01);
  EXPECT_NEAR(Calibrate(objective, {-4}, options).gains[0], 0.5, 0.01);
}

TEST(Calibrate, OneTrustedStepIsExactOnABowl) {
  const Eigen::MatrixXd h = Eigen::MatrixXd::Identity(1, 1) * 4;
  const auto fit = CalibrateOnce(
      [&](const auto& x) { return Quadratic(h, Eigen::VectorXd::Constant(1, 2), x); }, {1});
  EXPECT_EQ(fit.evaluations, 1);
  EXPECT_NEAR(fit.gains[0], 2, 0.02);
  EXPECT_NEAR(fit.loss, 100, 0.01);
}

// The kernels against the definition, in double, and the derivatives against differences of it.
class HoldoutLossTest : public ::testing::Test {
 protected:
  static constexpr int kVocab = 300;  // more than one block of columns

  void Make(const SaffuSolveSpec& spec, const SparseRows* soft) {
    data_ = MadeUpText(kVocab, 4000);
    StatisticsCache cache({});
    features_ = *BuildFeatures(spec, data_, cache);
    keys_ = SaffuShapes(spec, kVocab)[0].keys;
    window_ = std::make_unique<KeyWindow>(*features_, keys_, data_.train, nullptr);
    std::vector<int32_t> targets;
    for (int32_t t = 3; t < 4000; t += 37) targets.push_back(t);
    loss_ = std::make_unique<HoldoutLoss>(window_.get(), targets, soft);
    soft_ = soft;
    outputs_ = soft == nullptr ? kVocab : soft->dim;
    const CounterRandom random(9, RandomPurpose::kTest);
    for (int i = 0; i < outputs_; ++i) p_.push_back(0.1 + random.Uniform(i));
    for (size_t k = 0; k < keys_.size(); ++k) {
      r_.push_back(Matrix<float>::Zero(keys_[k].dim, PaddedColumns(outputs_)));
      for (int j = 0; j < keys_[k].dim; ++j) {
        for (int i = 0; i < outputs_; ++i) {
          r_[k](j, i) =
              static_cast<float>(2 * random.Normal((int64_t{1} << 32) + (k * 1000 + j) * 1000 + i));
        }
      }
    }
    Evidence evidence = {.outputs = outputs_, .r = {}, .p = &p_};
    for (const auto& r : r_) evidence.r.push_back(&r);
    loss_->SetEvidence(evidence);
  }

  // `moments`: also the derivatives of a sum over targets that share their gains.
  double Naive(const Matrix<double>& gains, GainLoss* moments = nullptr) {
    const int keys = static_cast<int>(keys_.size());
    if (moments != nullptr) {
      *moments = {.downhill = Eigen::VectorXd::Zero(keys),
                  .curvature = Eigen::MatrixXd::Zero(keys, keys)};
    }
    double loss = 0;
    for (int64_t n = 0; n < loss_->size(); ++n) {
      const int32_t t = loss_->targets()[n];
      window_->Load(t, t + 1);
      std::vector<double> z;
      Eigen::MatrixXd r = Eigen::MatrixXd::Zero(outputs_, keys);
      double total = 0;
      for (int i = 0; i < outputs_; ++i) {
        z.push_back(std::log(p_[i]));
        for (int k = 0; k < keys; ++k) {
          const KeyVector x = window_->At(k, t);
          for (int e = 0; e < x.size; ++e) {
            r(i, k) += double{x.value[e]} * r_[k](x.index == nullptr ? e : x.index[e], i);
          }
          z[i] += gains(gains.rows() == 1 ? 0 : n, k) * r(i, k);
        }
        total += std::exp(z[i]);
      }
      loss += std::log(total);
      Eigen::VectorXd share = Eigen::VectorXd::Zero(outputs_);  // y
      const int32_t y = data_.train[t];
      if (soft_ == nullptr) {
        share[y] = 1;
      } else {
        for (int e = soft_->begin[y]; e < soft_->begin[y + 1]; ++e) {
          share[soft_->index[e]] = soft_->value[e];
        }
      }
      for (int i = 0; i < outputs_; ++i) loss -= share[i] * z[i];
      if (moments == nullptr) continue;
      Eigen::VectorXd p(outputs_);
      for (int i = 0; i < outputs_; ++i) p[i] = std::exp(z[i]) / total;
      const Eigen::VectorXd mean = r.transpose() * p;
      moments->downhill += r.transpose() * share - mean;
      for (int i = 0; i < outputs_; ++i) {
        const Eigen::VectorXd off = r.row(i).transpose() - mean;
        moments->curvature += p[i] * off * off.transpose();
      }
    }
    return loss;
  }

  void Check() {
    const int keys = static_cast<int>(keys_.size());
    std::vector<double> at;
    Matrix<double> row(1, keys);
    for (int k = 0; k < keys; ++k) at.push_back(row(0, k) = 0.4 + 0.1 * k);
    const GainLoss got = loss_->AtGains(at);
    GainLoss want;
    want.loss = Naive(row, &want);
    // The kernels work in single precision.
    const double close = 2e-6 * want.loss;
    EXPECT_NEAR(got.loss, want.loss, close);
    EXPECT_NEAR(loss_->AtGainsOfTargets(row.cast<float>()), want.loss, close);
    for (int k = 0; k < keys; ++k) {
      EXPECT_NEAR(got.downhill[k], want.downhill[k], close);
      for (int l = 0; l < keys; ++l) {
        EXPECT_NEAR(got.curvature(k, l), want.curvature(k, l), close);
      }
      // That these are derivatives of the loss: central differences of it, in double.
      const double e = 1e-4;
      Matrix<double> up = row, down = row;
      up(0, k) += e;
      down(0, k) -= e;
      GainLoss above, below;
      const double slope = (Naive(up, &above) - Naive(down, &below)) / (2 * e);
      EXPECT_NEAR(want.downhill[k], -slope, 1e-6 * std::abs(slope) + 1e-5);
      const Eigen::VectorXd bend = (below.downhill - above.downhill) / (2 * e);
      EXPECT_LE((want.curvature.col(k) - bend).norm(), 1e-6 * bend.norm());
    }
    // Gains of every target's own.
    Matrix<double> own(loss_->size(), keys);
    for (int64_t i = 0; i < own.size(); ++i) own.data()[i] = 0.2 + 0.001 * (i % 700);
    EXPECT_NEAR(loss_->AtGainsOfTargets(own.cast<float>()), Naive(own), close);
  }

  TextDataset data_;
  std::shared_ptr<const FeatureTables> features_;
  std::vector<KeySpec> keys_;
  std::unique_ptr<KeyWindow> window_;
  std::unique_ptr<HoldoutLoss> loss_;
  const SparseRows* soft_ = nullptr;
  int outputs_ = 0;
  std::vector<double> p_;
  std::vector<Matrix<float>> r_;
};

TEST_F(HoldoutLossTest, SparseAndDenseKeys) {
  Make({.bits = 10, .context = 2, .streams = *ParseStreams("x+c+r"), .radius = 5}, nullptr);
  Check();
}

TEST_F(HoldoutLossTest, SoftTargets) {
  const SparseRows soft = CipherTargets(kVocab, 21);
  Make({.bits = 10, .context = 2}, &soft);
  Check();
}

TEST_F(HoldoutLossTest, LogitsFarApartDoNotOverflow) {
  Make({.bits = 10, .context = 2}, nullptr);
  const std::vector<double> huge(keys_.size(), 400.0);
  EXPECT_TRUE(std::isfinite(loss_->AtGains(huge).loss));
}

}  // namespace
}  // namespace saffron
