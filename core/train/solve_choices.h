#pragma once
// From the text of solve.* keys to what core/solve takes.

#include <vector>

#include "core/log_linear/log_linear_shape.h"
#include "core/model/variant.h"
#include "core/solve/gains.h"

namespace saffron {

// Of a variant with an explicit start.
GainMode GainModeOf(const ResolvedVariant& variant);
// model.discounts, model.history.
Discounts DiscountsOf(const ResolvedVariant& variant);
std::vector<HistoryKind> HistoriesOf(const ResolvedVariant& variant);
// model.dense and what belongs to it.
SaffuSolveSpec DenseStreamsOf(const ResolvedVariant& variant);

}  // namespace saffron
