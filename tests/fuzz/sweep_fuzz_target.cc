#include "tests/fuzz/sweep_fuzz_target.h"

#include <string>
#include <vector>

#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/expression.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/check.h"
#include "core/data/utf8.h"

namespace saffron {
namespace {

// A refusal is the user's mistake, says something, and may be sent in a protobuf string.
void CheckRefusal(const absl::Status& status) {
  CHECK(status.code() == absl::StatusCode::kInvalidArgument) << status;
  const std::string_view message(status.message().data(), status.message().size());
  CHECK(!message.empty());
  CHECK(!FirstInvalidUtf8(message).has_value()) << message;
}

std::string Comparable(v1::SweepSpec spec) {
  ClearPositions(&spec);
  return spec.SerializeAsString();
}

}  // namespace

void FuzzSweep(std::string_view bytes) {
  for (SweepFormat format : {SweepFormat::kYaml, SweepFormat::kJson, SweepFormat::kTextproto}) {
    absl::StatusOr<v1::SweepSpec> spec = ReadSweepText(bytes, format, "fuzz");
    if (!spec.ok()) {
      CheckRefusal(spec.status());
      continue;
    }
    const std::string text = CanonicalSpecText(*spec);
    const absl::StatusOr<v1::SweepSpec> again = ReadSweepText(text, SweepFormat::kYaml, "again");
    CHECK(again.ok()) << again.status() << "\n" << text;
    CHECK(Comparable(*again) == Comparable(*spec)) << text;
    // Large sweeps are slow, not wrong.
    spec->mutable_limits()->set_variants(50);
    const absl::StatusOr<Expansion> expansion = Expand(*spec);
    if (!expansion.ok()) CheckRefusal(expansion.status());
    if (expansion.ok()) CHECK(expansion->variants.size() <= 50);
  }
}

void FuzzExpression(std::string_view bytes) {
  const absl::StatusOr<Expression> expression = Expression::Parse(bytes);
  if (!expression.ok()) {
    CHECK(expression.status().code() == absl::StatusCode::kInvalidArgument);
    return;
  }
  CHECK(expression->cost() <= kExpressionCostMax);
  static const std::vector<ParamValue> kValues = {int64_t{0}, int64_t{-3}, 2.5, true,
                                                  std::string("text")};
  for (size_t shift = 0; shift < kValues.size(); ++shift) {
    std::vector<const ParamValue*> values;
    for (size_t i = 0; i < expression->names().size(); ++i) {
      values.push_back(&kValues[(i + shift) % kValues.size()]);
    }
    const absl::StatusOr<ParamValue> value = expression->Evaluate(values);
    if (!value.ok()) CHECK(value.status().code() == absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace saffron

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  saffron::FuzzSweep(bytes);
  saffron::FuzzExpression(bytes);
  return 0;
}
