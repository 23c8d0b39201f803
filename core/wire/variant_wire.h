#pragma once
// Variants on the wire (proto/saffron/v1/variant.proto). Thread-safe.

#include "absl/status/statusor.h"
#include "core/model/variant.h"
#include "saffron/v1/variant.pb.h"

namespace saffron {

v1::Variant VariantToProto(const ResolvedVariant& variant);

// Resolves the message again. INVALID_ARGUMENT when that fails, or when it comes out different:
// then the two ends disagree about the registry (the message names the first key that differs).
// FAILED_PRECONDITION: it is of other numerics than this program's (own_numerics.h).
absl::StatusOr<ResolvedVariant> VariantFromProto(const v1::Variant& message);

}  // namespace saffron
