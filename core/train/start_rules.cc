#include "core/train/start_rules.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/derive/expansion.h"
#include "core/derive/ops_between.h"
#include "core/train/variant_shape.h"

namespace saffron {
namespace {

// Any will do: growing never looks at it.
constexpr int kSomeVocab = 1000;

int64_t IntOr0(const ResolvedVariant& v, const char* key) { return v.Has(key) ? v.Int(key) : 0; }

// Whether a trial's checkpoint holds a model to start from.
bool HasModel(const ResolvedVariant& v) {
  const std::string& type = v.String("model.type");
  if (type == "kneser_ney" || type == "unigram") return false;
  const bool trains = IntOr0(v, "train.steps") > 0 || IntOr0(v, "train.polish") > 0;
  if (type == "log_linear") return trains;
  // The sparse solution over one-hot tokens becomes a dense model only to be trained.
  const bool sparse = type == "softmax_regression" && v.String("model.input") == "onehot" &&
                      v.String("train.init") == "explicit";
  return trains || !sparse;
}

absl::Status CheckHasModel(const char* whose, const ResolvedVariant& v) {
  if (HasModel(v)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("model.type: ", whose, " is ", v.String("model.type"),
                   ", of which this variant trains nothing; want one that is trained"));
}

absl::Status CheckSame(const std::string& key, const ResolvedVariant& parent,
                       const ResolvedVariant& child) {
  const auto text = [&](const ResolvedVariant& v) {
    return v.Has(key) ? ParamValueText(v.params().at(key)) : "not set";
  };
  const std::string theirs = text(parent), ours = text(child);
  if (theirs == ours) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(key, ": the parent's is ", theirs, ", here it is ", ours, "; want the same"));
}

// Keys that decide what the tensors of a model mean which cannot grow.
bool Decides(const std::string& type, const std::string& key) {
  if (absl::StartsWith(key, "model.")) return key != "model.dropout";
  const bool made_again = type == "saffu" || type == "log_linear";
  return made_again &&
         (absl::StartsWith(key, "solve.") || key == "train.init" || key == "data.tokens");
}

// The routers that the variant's new sparse layers will have are part of what growing makes.
void AddRouting(const TransformerShape& wants, std::vector<DeriveOp>& ops) {
  for (const TransformerLayerShape& layer : wants.layers) {
    if (!layer.moe.sparse()) continue;
    for (DeriveOp& op : ops) {
      if (op.kind == DeriveKind::kExperts) op.moe = layer.moe;
    }
    return;  // the others route alike
  }
}

absl::Status CheckSameModel(const std::string& type, const ResolvedVariant& parent,
                            const ResolvedVariant& child) {
  for (const ResolvedVariant* v : {&parent, &child}) {
    for (const auto& [key, value] : v->params()) {
      if (Decides(type, key)) RETURN_IF_ERROR(CheckSame(key, parent, child));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckStart(const ResolvedVariant& parent, const ResolvedVariant& child,
                        const std::vector<std::string>& derive) {
  if (!derive.empty()) {
    RETURN_IF_ERROR(ParseDeriveOps(absl::StrJoin(derive, ",")).status());
  }
  const std::string& type = child.String("model.type");
  if (type == "noop") return absl::OkStatus();
  RETURN_IF_ERROR(CheckSame("model.type", parent, child));
  RETURN_IF_ERROR(CheckHasModel("the parent", parent));
  RETURN_IF_ERROR(CheckHasModel("the child", child));
  for (const char* key : {"data.corpus", "data.tokenizer", "data.vocab"}) {
    RETURN_IF_ERROR(CheckSame(key, parent, child));
  }
  if (type == "transformer") {
    return PlanGrowth(ShapeOf(parent, kSomeVocab), child, derive).status();
  }
  if (!derive.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "derive ", derive[0], ": want model.type transformer, which alone can grow, got ", type));
  }
  return CheckSameModel(type, parent, child);
}

absl::Status CheckKeepsState(const ResolvedVariant& parent, const ResolvedVariant& child) {
  if (child.String("model.type") == "noop") return absl::OkStatus();
  for (const ResolvedVariant* v : {&parent, &child}) {
    if (IntOr0(*v, "train.steps") > 0) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "state: train.steps of the ", v == &parent ? "parent" : "child",
        " is 0, so that it has no optimiser; want reset, or steps for an optimiser to take"));
  }
  // The two differ in how weights decay alone.
  const auto kind = [](const ResolvedVariant& v) {
    const std::string& name = v.String("train.optimizer");
    return name == "adamw" ? std::string("adam") : name;
  };
  if (kind(parent) == kind(child)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("state: train.optimizer of the parent is ", parent.String("train.optimizer"),
                   ", here it is ", child.String("train.optimizer"),
                   ", which remembers other things; want reset, or the parent's optimiser"));
}

absl::StatusOr<std::vector<DeriveOp>> PlanGrowth(const TransformerShape& parent,
                                                 const ResolvedVariant& child,
                                                 const std::vector<std::string>& derive) {
  const TransformerShape wants = ShapeOf(child, parent.vocab);
  std::vector<DeriveOp> ops;
  if (derive.empty()) {
    ASSIGN_OR_RETURN(ops, OpsBetween(parent, wants));
  } else {
    ASSIGN_OR_RETURN(ops, ParseDeriveOps(absl::StrJoin(derive, ",")));
  }
  AddRouting(wants, ops);
  TransformerShape shape = parent;
  for (const DeriveOp& op : ops) {
    ASSIGN_OR_RETURN(shape, ExpandShape(shape, op));
  }
  RETURN_IF_ERROR(AdaptShape(shape, child, HowGrown(ops)).status());
  return ops;
}

std::string HowGrown(const std::vector<DeriveOp>& ops) {
  return ops.empty() ? "" : absl::StrCat("grown by ", DeriveOpsText(ops));
}

}  // namespace saffron
