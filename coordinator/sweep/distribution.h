#pragma once
// The distributions that a parameter may have, as a random block draws from them and as a grid
// takes points of them. Pure: a draw is a function of (seed, stream, number of the draw).

#include <cstdint>
#include <optional>

#include "core/base/random.h"
#include "core/model/registry.h"
#include "core/model/variant.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

struct Distribution {
  v1::Parameter::Distribution kind = v1::Parameter::UNIFORM;
  double min = 0, max = 0;   // exponents for LOG_UNIFORM and Q_LOG_UNIFORM
  double q = 0;              // of the Q_ ones
  double mu = 0, sigma = 1;  // of the NORMAL family
  int64_t count = 0;         // points of a grid; 0: all that there are
  const ParamSpec* key = nullptr;

  // Number of points of a grid; 0 when the distribution has none without a count.
  int64_t GridSize() const;
  // The point 0 <= i < GridSize(), ascending.
  ParamValue GridPoint(int64_t i) const;
  // Draw number `index`. Nothing when 64 draws in a row were outside the key's range.
  std::optional<ParamValue> Draw(const CounterRandom& random, int64_t index) const;

 private:
  double Sample(const CounterRandom& random, uint64_t counter) const;
  double Between(double fraction) const;
  double Quantized(double value) const;
  double Rounded(double value) const;
  ParamValue AsValue(double value) const;
};

// Properties of a kind of distribution.
bool IsQuantized(v1::Parameter::Distribution kind);    // Q_…
bool IsNormal(v1::Parameter::Distribution kind);       // has mu and sigma in place of min and max
bool IsLogarithmic(v1::Parameter::Distribution kind);  // min and max are values, spaced by ratio
bool IsExponent(v1::Parameter::Distribution kind);     // min and max are exponents of e

}  // namespace saffron
