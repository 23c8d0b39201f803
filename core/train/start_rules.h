#pragma once
// Which trials can start from the models of which others: what can be said before any of them runs,
// and is checked again on what is in the file.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/derive/derive_op.h"
#include "core/model/variant.h"
#include "core/transformer/transformer_shape.h"

namespace saffron {

// Whether trials of `child` can start from models of `parent` to which `derive` (operators in the
// words of derive_op.h, each string one or more of them) is done. FAILED_PRECONDITION or
// INVALID_ARGUMENT naming the key, what each of the two has and what to do:
//   * both of one model.type, which leaves a model (kneser_ney and unigram do not; nor do models
//     that are only solved, where the solution is no trained model); noop starts from anything;
//   * the same corpus, tokenizer and vocabulary, for ids mean nothing else;
//   * transformers: the operators lead from the one's sizes to the other's (PlanGrowth);
//   * others: the same model.* keys but model.dropout, and no operators; saffu and log_linear the
//     same solve.*, train.init and data.tokens too, for what they do not train is made again.
absl::Status CheckStart(const ResolvedVariant& parent, const ResolvedVariant& child,
                        const std::vector<std::string>& derive);

// Whether the optimiser of a trial of `child` can go on with the state that one of `parent` had
// after its last step. FAILED_PRECONDITION: one of the two takes no steps, or their optimisers
// remember other things; says what to do.
absl::Status CheckKeepsState(const ResolvedVariant& parent, const ResolvedVariant& child);

// The operators that turn a model of shape `parent` into one that `child`, a transformer, wants:
// those of `derive`, or where that is empty, those of OpsBetween; new sparse layers route as the
// child's keys say. Errors of ParseDeriveOps, ExpandShape (settings of a router with which that is
// not exact, by key) and AdaptShape.
absl::StatusOr<std::vector<DeriveOp>> PlanGrowth(const TransformerShape& parent,
                                                 const ResolvedVariant& child,
                                                 const std::vector<std::string>& derive);

// "grown by mlp:64,layers:4" for messages; empty without operators.
std::string HowGrown(const std::vector<DeriveOp>& ops);

}  // namespace saffron
