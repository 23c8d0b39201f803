#pragma once
// Gains of a layer's evidence, and losses to choose settings by, on a hold-out in three sizes:
// gains are first found on few targets, settings are compared on some, and what is chosen is fitted
// and measured on all.

#include <memory>
#include <vector>

#include "core/solve/attention.h"
#include "core/solve/gains.h"
#include "core/solve/holdout_loss.h"
#include "core/solve/key_window.h"

namespace saffron {

class GainFit {
 public:
  enum class Targets { kSome, kAll };
  struct Fitted {
    std::vector<double> gains;  // [NK]
    double loss = 0;            // nats of the targets they were fitted to
  };

  // `targets`: the whole hold-out. `window` and `soft` (targets of a lower layer, else null) must
  // outlive this.
  GainFit(KeyWindow* window, const std::vector<int32_t>& targets, const SparseRows* soft,
          GainMode mode);

  // The evidence that what follows is about. It and the prior `p` must outlive that. `r` holds the
  // evidence of each key, or one for all.
  void Show(Targets on, const std::vector<Matrix<float>>& r, const std::vector<double>& p);

  // Gains of evidence never seen before, on some targets; shows it to few targets first.
  Fitted FromScratch(const std::vector<Matrix<float>>& r, const std::vector<double>& p);
  // Gains on some targets, from the best gains of similar evidence: one Newton step, measured.
  Fitted FromNear(const std::vector<double>& near);
  // Gains on all targets, from the best on some.
  Fitted OnAll(const std::vector<double>& start);
  // Loss under attention of the evidence last shown.
  double LossUnder(const AttentionGains& attention, Targets on);

  int64_t targets() const { return all_->size(); }

 private:
  HoldoutLoss& Loss(Targets on) { return on == Targets::kAll ? *all_ : *some_; }
  std::vector<double> FixedGains() const;

  KeyWindow* const window_;
  const GainMode mode_;
  const int keys_;
  std::unique_ptr<HoldoutLoss> few_, some_, all_;
};

}  // namespace saffron
