#pragma once
// Versions of parts of the numerics that only some variants use. They go with a variant as keys
// "numerics.PART", part of its identity, wherever it is kept or sent; nobody may set them.

#include <map>
#include <string>

#include "absl/status/status.h"
#include "core/model/variant.h"

namespace saffron {

// By this program, of a variant with these keys: "numerics.bf16" (kBf16NumericsVersion) where
// train.precision is bf16; "numerics.left_out" (kLeftOutNumericsVersion) of a log-linear model that
// counts all targets, where a template begins with as long a chain as the model's own, as 1.3 does
// at orders 1 and 2; "numerics.readout" (kReadoutNumericsVersion) where solve.readout is explicit
// or ridge.
Params OwnNumerics(const Params& params);

// Takes such keys out of `params`. FAILED_PRECONDITION, naming both versions, where they are not
// those of this program; variants from before there were versions have version 1.
absl::Status TakeOwnNumerics(Params* params);

}  // namespace saffron
