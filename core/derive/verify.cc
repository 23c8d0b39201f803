#include "core/derive/verify.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/random.h"
#include "core/base/status_macros.h"
#include "core/transformer/transformer_network.h"

namespace saffron {
namespace {

// At most this many tokens, in at most this many sequences.
constexpr int64_t kProbeTokens = 256, kProbeSequences = 4;

struct Probe {
  std::vector<int32_t> tokens;
  int64_t length = 0;
};

Probe MakeProbe(int vocab, int context) {
  Probe probe;
  probe.length = std::min<int64_t>(context, kProbeTokens / kProbeSequences);
  const CounterRandom random(0, RandomPurpose::kTest);
  for (int64_t i = 0; i < kProbeSequences * probe.length; ++i) {
    probe.tokens.push_back(
        static_cast<int32_t>(random.Below(static_cast<uint64_t>(i), static_cast<uint64_t>(vocab))));
  }
  return probe;
}

template <typename T>
absl::StatusOr<std::vector<T>> Logits(const GrowableModel& model, const Probe& probe) {
  typename TransformerNetwork<T>::Options options;
  options.train = false;
  ASSIGN_OR_RETURN(const std::unique_ptr<TransformerNetwork<T>> network,
                   TransformerNetwork<T>::Create(model.shape, options));
  std::transform(model.parameters.begin(), model.parameters.end(),
                 network->arena().parameters().begin(), [](double p) { return static_cast<T>(p); });
  std::vector<T> logits(probe.tokens.size() * static_cast<size_t>(model.shape.vocab));
  network->Logits(probe.tokens, probe.length, absl::MakeSpan(logits));
  return logits;
}

// Infinite where either is not a number.
template <typename T>
double MaxChange(const std::vector<T>& a, const std::vector<T>& b) {
  double change = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    change = std::isnan(difference) ? HUGE_VAL : std::max(change, difference);
  }
  return change;
}

}  // namespace

absl::StatusOr<DerivationReport> MeasureChange(const GrowableModel& parent,
                                               const GrowableModel& child) {
  CHECK(parent.shape.vocab == child.shape.vocab) << "growing keeps the vocabulary";
  const Probe probe =
      MakeProbe(parent.shape.vocab, std::min(parent.shape.context, child.shape.context));
  DerivationReport report;
  report.probe_tokens = static_cast<int64_t>(probe.tokens.size());
  {
    ASSIGN_OR_RETURN(const std::vector<double> before, Logits<double>(parent, probe));
    ASSIGN_OR_RETURN(const std::vector<double> after, Logits<double>(child, probe));
    report.max_change = MaxChange(before, after);
    for (const double z : before) report.max_logit = std::max(report.max_logit, std::abs(z));
  }
  ASSIGN_OR_RETURN(const std::vector<float> before, Logits<float>(parent, probe));
  ASSIGN_OR_RETURN(const std::vector<float> after, Logits<float>(child, probe));
  report.max_change_float = MaxChange(before, after);
  return report;
}

absl::Status CheckChange(const DerivationReport& report) {
  const double allowed = kRelativeChangeMaxFloat * std::max(1.0, report.max_logit);
  if (report.max_change <= kChangeMax && report.max_change_float <= allowed) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("derive ", report.ops, ": logits changed by ", report.max_change,
                   " in double (want at most ", kChangeMax, ") and by ", report.max_change_float,
                   " in float (want at most ", allowed, "): the grown model is not its parent"));
}

absl::StatusOr<Derivation> DeriveAndVerify(const GrowableModel& parent,
                                           const std::vector<DeriveOp>& ops,
                                           const FreshModel& fresh, uint64_t seed) {
  Derivation derivation;
  ASSIGN_OR_RETURN(derivation.child, Derive(parent, ops, fresh, seed));
  ASSIGN_OR_RETURN(derivation.report, MeasureChange(parent, derivation.child));
  derivation.report.ops = DeriveOpsText(ops);
  RETURN_IF_ERROR(CheckChange(derivation.report));
  return derivation;
}

}  // namespace saffron
