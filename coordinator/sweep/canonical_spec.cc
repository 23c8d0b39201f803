// A spec as YAML. Reading and printing are each other's inverse, which the property tests hold them
// to.

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/sweep/document.h"
#include "coordinator/sweep/document_reader.h"
#include "coordinator/sweep/quantities.h"
#include "coordinator/sweep/sweep_limits.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/digest.h"
#include "core/model/variant.h"

namespace saffron {
namespace {

// Plain where every reader agrees that it is this string, else in double quotes.
std::string Text(const std::string& text) {
  bool plain = !text.empty() && absl::ascii_isalpha(text[0]);
  for (char c : text) {
    plain = plain &&
            (absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-' || c == '/' || c == '+');
  }
  if (!plain) return ParamValueText(text);
  const Scalar scalar = ReadScalar({.kind = DocumentNode::Kind::kPlain, .place = {}, .text = text});
  return std::holds_alternative<std::string>(scalar) ? text : ParamValueText(text);
}

std::string Text(const v1::SweepValue& value) {
  switch (value.kind_case()) {
    case v1::SweepValue::kBoolean:
      return value.boolean() ? "true" : "false";
    case v1::SweepValue::kInteger:
      return absl::StrCat(value.integer());
    case v1::SweepValue::kNumber:
      return ParamValueText(value.number());
    case v1::SweepValue::kText:
      return Text(value.text());
    case v1::SweepValue::kExpression:
      return ParamValueText("= " + value.expression());
    case v1::SweepValue::KIND_NOT_SET:
      break;
  }
  return "~";
}

template <typename Settings>
std::string Flow(const Settings& settings) {
  std::vector<std::string> parts;
  for (const v1::Setting& setting : settings) {
    parts.push_back(absl::StrCat(Text(setting.key()), ": ", Text(setting.value())));
  }
  return absl::StrCat("{", absl::StrJoin(parts, ", "), "}");
}

template <typename Values>
std::string List(const Values& values) {
  std::vector<std::string> parts;
  for (const auto& value : values) parts.push_back(Text(value));
  return absl::StrCat("[", absl::StrJoin(parts, ", "), "]");
}

std::string ParameterText(const v1::Parameter& parameter) {
  std::vector<std::string> parts;
  if (!parameter.values().empty()) {
    parts.push_back(absl::StrCat("values: ", List(parameter.values())));
  }
  if (!parameter.probabilities().empty()) {
    std::vector<std::string> all;
    for (double p : parameter.probabilities()) all.push_back(ParamValueText(p));
    parts.push_back(absl::StrCat("probabilities: [", absl::StrJoin(all, ", "), "]"));
  }
  if (parameter.distribution() != v1::Parameter::DISTRIBUTION_UNSPECIFIED) {
    parts.push_back(absl::StrCat(
        "distribution: ",
        EnumWord(*v1::Parameter::Distribution_descriptor(), parameter.distribution())));
  }
  if (parameter.has_min()) parts.push_back(absl::StrCat("min: ", Text(parameter.min())));
  if (parameter.has_max()) parts.push_back(absl::StrCat("max: ", Text(parameter.max())));
  if (parameter.has_q()) parts.push_back(absl::StrCat("q: ", Text(parameter.q())));
  if (parameter.has_mu()) parts.push_back(absl::StrCat("mu: ", Text(parameter.mu())));
  if (parameter.has_sigma()) parts.push_back(absl::StrCat("sigma: ", Text(parameter.sigma())));
  if (parameter.count() != 0) parts.push_back(absl::StrCat("count: ", parameter.count()));
  return absl::StrCat("{", absl::StrJoin(parts, ", "), "}");
}

// Adds `title` and one indented line for each item.
template <typename Items, typename Line>
void AppendSection(std::string& out, absl::string_view indent, absl::string_view title,
                   const Items& items, const Line& line) {
  if (items.empty()) return;
  absl::StrAppend(&out, indent, title, ":\n");
  for (const auto& item : items) absl::StrAppend(&out, indent, "  ", line(item), "\n");
}

std::string SettingLine(const v1::Setting& setting) {
  return absl::StrCat(Text(setting.key()), ": ", Text(setting.value()));
}

std::string KeyExpressionLine(const v1::KeyExpression& item) {
  return absl::StrCat(Text(item.key()), ": ", ParamValueText(item.expression().text()));
}

std::string InitFromText(const v1::InitFrom& init) {
  std::string text = absl::StrCat(
      "{variant: ", init.variant().empty() ? Flow(init.settings()) : Text(init.variant()));
  if (init.has_seed()) absl::StrAppend(&text, ", seed: ", init.seed());
  absl::StrAppend(
      &text, ", checkpoint: ", EnumWord(*v1::InitFrom::Checkpoint_descriptor(), init.checkpoint()));
  if (!init.derive().empty()) {
    std::vector<std::string> parts;
    for (const std::string& derive : init.derive()) parts.push_back(ParamValueText(derive));
    absl::StrAppend(&text, ", derive: [", absl::StrJoin(parts, ", "), "]");
  }
  // Left out where it is the default, as it was before there was such a thing.
  if (init.state() == v1::InitFrom::RESET) text += ", state: reset";
  return text + "}";
}

void AppendBlock(std::string& out, const v1::Block& block) {
  constexpr absl::string_view kIndent = "    ";
  absl::StrAppend(&out, "  - name: ", Text(block.name()), "\n", kIndent,
                  "method: ", EnumWord(*v1::Block::Method_descriptor(), block.method()), "\n");
  if (block.count() != 0) absl::StrAppend(&out, kIndent, "count: ", block.count(), "\n");
  AppendSection(out, kIndent, "parameters", block.parameters(), [](const v1::Parameter& parameter) {
    return absl::StrCat(Text(parameter.key()), ": ", ParameterText(parameter));
  });
  AppendSection(out, kIndent, "zip", block.zip(), [](const v1::Zip& zip) {
    std::vector<std::string> parts;
    for (const v1::Parameter& parameter : zip.parameters()) {
      parts.push_back(absl::StrCat(Text(parameter.key()), ": ", List(parameter.values())));
    }
    return absl::StrCat("- {", absl::StrJoin(parts, ", "), "}");
  });
  AppendSection(out, kIndent, "derived", block.derived(), KeyExpressionLine);
  AppendSection(out, kIndent, "when", block.when(), KeyExpressionLine);
  AppendSection(out, kIndent, "exclude", block.exclude(), [](const v1::Expression& exclude) {
    return absl::StrCat("- ", ParamValueText(exclude.text()));
  });
  if (block.has_init_from()) {
    absl::StrAppend(&out, kIndent, "init_from: ", InitFromText(block.init_from()), "\n");
  }
  if (!block.has_ablate()) return;
  absl::StrAppend(&out, kIndent, "ablate:\n", kIndent,
                  "  mode: ", EnumWord(*v1::Ablation::Mode_descriptor(), block.ablate().mode()),
                  "\n");
  AppendSection(out, "      ", "groups", block.ablate().groups(),
                [](const v1::AblationGroup& group) {
                  return absl::StrCat(Text(group.name()), ": ", Flow(group.changes()));
                });
}

std::string RetryText(int64_t budget) {
  return budget == kUnlimited ? "unlimited" : absl::StrCat(budget);
}

std::string DurationText(const google::protobuf::Duration& duration) {
  return saffron::DurationText(duration.seconds() * 1000 + duration.nanos() / 1'000'000);
}

void AppendSections(std::string& out, const v1::SweepSpec& spec) {
  absl::StrAppend(&out, "seeds: {count: ", spec.seeds().count(), ", first: ", spec.seeds().first(),
                  "}\n");
  absl::StrAppend(&out, "resources: {threads: ", spec.resources().threads(),
                  ", memory: ", BytesText(spec.resources().memory_bytes()), "}\n");
  const v1::Retry& retry = spec.retry();
  absl::StrAppend(&out, "retry: {preempted: ", RetryText(retry.preempted()),
                  ", worker_lost: ", RetryText(retry.worker_lost()),
                  ", out_of_memory: ", RetryText(retry.out_of_memory()));
  absl::StrAppend(&out, ", timeout: ", RetryText(retry.timeout()),
                  ", error: ", RetryText(retry.error()));
  // Left out where it is the default, as it was before there was such a thing.
  if (retry.poison() != kPoisonDefault) absl::StrAppend(&out, ", poison: ", retry.poison());
  out += "}\n";
  const v1::Limits& limits = spec.limits();
  absl::StrAppend(&out, "limits: {variants: ", limits.variants());
  if (limits.has_trial_time()) {
    absl::StrAppend(&out, ", trial_time: ", DurationText(limits.trial_time()));
  }
  if (limits.has_total_time()) {
    absl::StrAppend(&out, ", total_time: ", DurationText(limits.total_time()));
  }
  absl::StrAppend(&out, "}\nsampling_seed: ", spec.sampling_seed(), "\n");
}

}  // namespace

std::string CanonicalSpecText(const v1::SweepSpec& spec) {
  std::string out = absl::StrCat("version: ", spec.version(), "\nname: ", Text(spec.name()), "\n");
  if (!spec.question().empty()) {
    absl::StrAppend(&out, "question: ", ParamValueText(spec.question()), "\n");
  }
  if (spec.has_metric()) {
    absl::StrAppend(&out, "metric: {name: ", Text(spec.metric().name()),
                    ", goal: ", EnumWord(*v1::SweepMetric::Goal_descriptor(), spec.metric().goal()),
                    "}\n");
  }
  AppendSection(out, "", "constants", spec.constants(), SettingLine);
  AppendSection(out, "", "baseline", spec.baseline(), SettingLine);
  absl::StrAppend(&out, "include_baseline: ", spec.include_baseline() ? "true" : "false", "\n");
  if (!spec.blocks().empty()) out += "blocks:\n";
  for (const v1::Block& block : spec.blocks()) AppendBlock(out, block);
  AppendSections(out, spec);
  return out;
}

std::string SpecDigest(const v1::SweepSpec& spec) { return Sha256Hex(CanonicalSpecText(spec)); }

}  // namespace saffron
