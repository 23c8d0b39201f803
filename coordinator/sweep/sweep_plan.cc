#include "coordinator/sweep/sweep_plan.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/sweep/document.h"
#include "coordinator/sweep/sweep_limits.h"
#include "core/data/utf8.h"

namespace saffron {
namespace {

// How to write what was perhaps meant: a number in quotes, or a word without them.
std::string QuotingHint(const ParamSpec& key, const v1::SweepValue& value) {
  const bool numeric = key.type == ParamType::kInt || key.type == ParamType::kDouble;
  if (value.kind_case() == v1::SweepValue::kText && key.type != ParamType::kString) {
    const Scalar bare =
        ReadScalar({.kind = DocumentNode::Kind::kPlain, .place = {}, .text = value.text()});
    const bool fits =
        numeric ? std::holds_alternative<int64_t>(bare) || std::holds_alternative<double>(bare)
                : std::holds_alternative<bool>(bare);
    return fits ? "; write it without quotes" : "";
  }
  if (key.type != ParamType::kString || !key.choices.empty()) return "";
  if (value.kind_case() == v1::SweepValue::kInteger) {
    return absl::StrCat("; write \"", value.integer(), "\"");
  }
  if (value.kind_case() == v1::SweepValue::kBoolean) {
    return absl::StrCat("; write \"", value.boolean() ? "true" : "false", "\"");
  }
  return "";
}

// Names that the command line would take for a selector.
bool LooksLikeSelector(std::string_view name) {
  if (name == "last" || name == "all") return true;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isdigit(c) || c == '-' || c == ':' || c == ',' || c == '.' || c == ' ';
  });
}

// Empty, or what a name of a roadmap or block should be.
std::string CheckName(std::string_view name) {
  bool good = !name.empty() && name.size() <= kNameBytesMax && !FirstInvalidUtf8(name);
  for (char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    good = good && (byte >= 0x80 || absl::ascii_isalnum(byte) || c == '-' || c == '_' || c == '.' ||
                    c == ' ' || c == '+' || c == '(' || c == ')');
  }
  good = good && name.front() != '-' && name.front() != ' ' && name.back() != ' ';
  if (good && !LooksLikeSelector(name)) return "";
  return absl::StrCat("want a name of letters, digits, '-', '_', '.', '+' and spaces, at most ",
                      kNameBytesMax, " bytes, other than last, all and plain numbers, got ",
                      name.size() <= kNameBytesMax ? ParamValueText(std::string(name))
                                                   : absl::StrCat(name.size(), " bytes"));
}

bool IsIdentifier(std::string_view name) {
  if (name.empty() || absl::ascii_isdigit(name[0])) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_'; });
}

template <typename Section>
void CheckRange(const Section& section, std::string_view key, int64_t value, int64_t min,
                int64_t max, Problems& problems) {
  if (value >= min && value <= max) return;
  const std::string range =
      min == max ? absl::StrCat(min) : absl::StrCat("an integer in [", min, ", ", max, "]");
  problems.Add(section.position(), key, absl::StrCat("want ", range, ", got ", value));
}

void CheckDuration(const v1::Limits& limits, std::string_view key,
                   const google::protobuf::Duration& duration, Problems& problems) {
  const bool whole = duration.nanos() >= 0 && duration.nanos() < 1'000'000'000 &&
                     duration.nanos() % 1'000'000 == 0;
  const bool positive = duration.seconds() > 0 || (duration.seconds() == 0 && duration.nanos() > 0);
  constexpr int64_t kTenYears = int64_t{10} * 366 * 86'400;
  if (whole && positive && duration.seconds() < kTenYears) return;
  problems.Add(limits.position(), key,
               absl::StrCat("want a whole number of milliseconds above 0 and below 10 years, got ",
                            duration.seconds(), " s and ", duration.nanos(), " ns"));
}

void CheckSections(const v1::SweepSpec& spec, Problems& problems) {
  const v1::Position none;
  if (spec.version() != kSweepVersion) {
    problems.Add(none, "version", absl::StrCat("want 1, got ", spec.version()));
  }
  if (const std::string wrong = CheckName(spec.name()); !wrong.empty()) {
    problems.Add(spec.name_position(), "name", wrong);
  }
  if (!v1::SweepMetric::Goal_IsValid(spec.metric().goal())) {
    problems.Add(spec.metric().position(), "metric.goal", "want minimize or maximize, got another");
  }
  CheckRange(spec.seeds(), "seeds.count", spec.seeds().count(), 1, kSeedCountMax, problems);
  CheckRange(spec.seeds(), "seeds.first", static_cast<int64_t>(spec.seeds().first()), 0, kSeedMax,
             problems);
  CheckRange(spec.resources(), "resources.threads", spec.resources().threads(), 1, kThreadsMax,
             problems);
  CheckRange(spec.resources(), "resources.memory", spec.resources().memory_bytes(), 0,
             int64_t{1} << 53, problems);
  const v1::Retry& retry = spec.retry();
  for (const auto& [key, value] : {std::pair("retry.preempted", retry.preempted()),
                                   {"retry.worker_lost", retry.worker_lost()},
                                   {"retry.out_of_memory", retry.out_of_memory()},
                                   {"retry.timeout", retry.timeout()},
                                   {"retry.error", retry.error()}}) {
    CheckRange(retry, key, value, kUnlimited, kRetryMax, problems);
  }
  CheckRange(retry, "retry.poison", retry.poison(), 0, kRetryMax, problems);
  const v1::Limits& limits = spec.limits();
  CheckRange(limits, "limits.variants", limits.variants(), 1, kCountMax, problems);
  if (limits.has_trial_time()) {
    CheckDuration(limits, "limits.trial_time", limits.trial_time(), problems);
  }
  if (limits.has_total_time()) {
    CheckDuration(limits, "limits.total_time", limits.total_time(), problems);
  }
  if (spec.sampling_seed() > static_cast<uint64_t>(kSeedMax)) {
    problems.Add(none, "sampling_seed",
                 absl::StrCat("want at most ", kSeedMax, ", got ", spec.sampling_seed()));
  }
}

Constants PlanConstants(const v1::SweepSpec& spec, Problems& problems) {
  Constants constants;
  for (const v1::Setting& constant : spec.constants()) {
    const std::string& name = constant.key();
    if (!IsIdentifier(name) || name.size() > kNameBytesMax) {
      problems.Add(constant.position(), name,
                   "want a name of letters, digits and '_' that begins with no digit, got another");
    } else if (IsExpressionWord(name)) {
      problems.Add(constant.position(), name,
                   "want a name that expressions do not use, got one of "
                   "their words");
    } else if (constants.count(name) > 0) {
      problems.Add(constant.position(), name, "want each constant once, got it again");
    }
    absl::StatusOr<ParamValue> value = ValueOf(constant.value(), constants);
    if (!value.ok()) {
      problems.Add(constant.value().position(), name, std::string(value.status().message()));
      continue;
    }
    constants[name] = *std::move(value);
  }
  return constants;
}

void Strip(v1::SweepValue* value) {
  if (value->kind_case() == v1::SweepValue::kExpression) {
    absl::StripAsciiWhitespace(value->mutable_expression());
  }
}

// Expressions as a file would have them: without spaces around.
void StripExpressions(v1::SweepSpec* spec) {
  const auto strip_settings = [](google::protobuf::RepeatedPtrField<v1::Setting>* settings) {
    for (v1::Setting& setting : *settings) Strip(setting.mutable_value());
  };
  const auto strip_parameter = [](v1::Parameter* parameter) {
    for (v1::SweepValue& value : *parameter->mutable_values()) Strip(&value);
    if (parameter->has_min()) Strip(parameter->mutable_min());
    if (parameter->has_max()) Strip(parameter->mutable_max());
    if (parameter->has_q()) Strip(parameter->mutable_q());
    if (parameter->has_mu()) Strip(parameter->mutable_mu());
    if (parameter->has_sigma()) Strip(parameter->mutable_sigma());
  };
  const auto strip = [](v1::Expression* expression) {
    absl::StripAsciiWhitespace(expression->mutable_text());
  };
  strip_settings(spec->mutable_constants());
  strip_settings(spec->mutable_baseline());
  for (v1::Block& block : *spec->mutable_blocks()) {
    for (v1::Parameter& parameter : *block.mutable_parameters()) strip_parameter(&parameter);
    for (v1::Zip& zip : *block.mutable_zip()) {
      for (v1::Parameter& parameter : *zip.mutable_parameters()) strip_parameter(&parameter);
    }
    for (v1::KeyExpression& derived : *block.mutable_derived()) strip(derived.mutable_expression());
    for (v1::KeyExpression& when : *block.mutable_when()) strip(when.mutable_expression());
    for (v1::Expression& exclude : *block.mutable_exclude()) strip(&exclude);
    if (block.has_init_from()) strip_settings(block.mutable_init_from()->mutable_settings());
    if (!block.has_ablate()) continue;
    for (v1::AblationGroup& group : *block.mutable_ablate()->mutable_groups()) {
      strip_settings(group.mutable_changes());
    }
  }
}

}  // namespace

void FillDefaults(v1::SweepSpec* spec) {
  StripExpressions(spec);
  if (spec->version() == 0) spec->set_version(kSweepVersion);
  if (spec->has_metric() && spec->metric().goal() == v1::SweepMetric::GOAL_UNSPECIFIED) {
    spec->mutable_metric()->set_goal(absl::EndsWith(spec->metric().name(), "accuracy")
                                         ? v1::SweepMetric::MAXIMIZE
                                         : v1::SweepMetric::MINIMIZE);
  }
  bool ablates = false;
  for (v1::Block& block : *spec->mutable_blocks()) {
    if (block.method() == v1::Block::METHOD_UNSPECIFIED) block.set_method(v1::Block::GRID);
    for (v1::Parameter& parameter : *block.mutable_parameters()) {
      const ParamSpec* key = FindParam(parameter.key());
      if (key != nullptr && parameter.values().empty() && parameter.has_min() &&
          parameter.distribution() == v1::Parameter::DISTRIBUTION_UNSPECIFIED) {
        parameter.set_distribution(key->type == ParamType::kInt ? v1::Parameter::INT_UNIFORM
                                                                : v1::Parameter::UNIFORM);
      }
    }
    if (block.has_init_from() &&
        block.init_from().checkpoint() == v1::InitFrom::CHECKPOINT_UNSPECIFIED) {
      block.mutable_init_from()->set_checkpoint(v1::InitFrom::LAST);
    }
    if (!block.has_ablate()) continue;
    ablates = true;
    if (block.ablate().mode() == v1::Ablation::MODE_UNSPECIFIED) {
      block.mutable_ablate()->set_mode(v1::Ablation::LEAVE_ONE_OUT);
    }
  }
  if (!spec->has_include_baseline()) {
    spec->set_include_baseline(!spec->baseline().empty() || ablates || spec->blocks().empty());
  }
  v1::Seeds* seeds = spec->mutable_seeds();
  if (!seeds->has_count()) seeds->set_count(1);
  if (!seeds->has_first()) seeds->set_first(1);
  v1::Resources* resources = spec->mutable_resources();
  if (!resources->has_threads()) resources->set_threads(1);
  if (!resources->has_memory_bytes()) resources->set_memory_bytes(0);
  v1::Retry* retry = spec->mutable_retry();
  if (!retry->has_preempted()) retry->set_preempted(kUnlimited);
  if (!retry->has_worker_lost()) retry->set_worker_lost(5);
  if (!retry->has_out_of_memory()) retry->set_out_of_memory(1);
  if (!retry->has_timeout()) retry->set_timeout(1);
  if (!retry->has_error()) retry->set_error(0);
  if (!retry->has_poison()) retry->set_poison(kPoisonDefault);
  v1::Limits* limits = spec->mutable_limits();
  if (!limits->has_variants()) limits->set_variants(kVariantsDefault);
}

const ParamSpec* ValuePlanner::Key(const std::string& key, const v1::Position& position) {
  const ParamSpec* spec = FindParam(key);
  if (spec == nullptr) {
    const std::string near = NearestParam(key);
    problems_.Add(position, key,
                  absl::StrCat("want a registered key",
                               near.empty() ? " (of data., model., solve. or train.)" : "",
                               ", got an unknown one", DidYouMean(near)));
  }
  return spec;
}

std::optional<ParamValue> ValuePlanner::Value(const ParamSpec& key, const v1::SweepValue& value) {
  absl::StatusOr<ParamValue> given = ValueOf(value, constants_);
  if (!given.ok()) {
    problems_.Add(value.position(), key.key, std::string(given.status().message()));
    return std::nullopt;
  }
  const bool computed = value.kind_case() == v1::SweepValue::kExpression;
  absl::StatusOr<ParamValue> fitting = FitToKey(key, *given, computed);
  if (fitting.ok()) return *std::move(fitting);
  problems_.Add(
      value.position(), key.key,
      absl::StrCat(fitting.status().message(),
                   computed ? absl::StrCat(" = ", value.expression()) : QuotingHint(key, value)));
  return std::nullopt;
}

std::optional<double> ValuePlanner::Number(const std::string& what, const v1::SweepValue& value) {
  absl::StatusOr<ParamValue> given = ValueOf(value, constants_);
  if (!given.ok()) {
    problems_.Add(value.position(), what, std::string(given.status().message()));
    return std::nullopt;
  }
  if (const auto* whole = std::get_if<int64_t>(&*given)) return static_cast<double>(*whole);
  if (const auto* real = std::get_if<double>(&*given)) return *real;
  problems_.Add(value.position(), what,
                absl::StrCat("want a number, got ", ParamValueText(*given)));
  return std::nullopt;
}

std::optional<PlannedSetting> ValuePlanner::Setting(const v1::Setting& setting) {
  const ParamSpec* key = Key(setting.key(), setting.position());
  if (key == nullptr) return std::nullopt;
  std::optional<ParamValue> value = Value(*key, setting.value());
  if (!value.has_value()) return std::nullopt;
  return PlannedSetting{key, *std::move(value), PlaceOf(setting.value().position())};
}

std::vector<PlannedSetting> ValuePlanner::Settings(
    const google::protobuf::RepeatedPtrField<v1::Setting>& all) {
  std::vector<PlannedSetting> planned;
  std::set<std::string> seen;
  for (const v1::Setting& setting : all) {
    if (!seen.insert(setting.key()).second) {
      problems_.Add(setting.position(), setting.key(), "want each key once, got it again");
      continue;
    }
    if (auto one = Setting(setting)) planned.push_back(*std::move(one));
  }
  return planned;
}

SweepPlan PlanSweep(const v1::SweepSpec& spec, Problems& problems) {
  CheckSections(spec, problems);
  SweepPlan plan;
  const size_t before = problems.size();
  plan.constants = PlanConstants(spec, problems);
  // Most of what could be said about the rest would follow from a constant that is missing.
  if (problems.size() > before) return plan;
  plan.baseline = ValuePlanner(plan.constants, problems).Settings(spec.baseline());
  std::set<std::string> names;
  for (const v1::Block& block : spec.blocks()) {
    if (const std::string wrong = CheckName(block.name()); !wrong.empty()) {
      problems.Add(block.position(), "name", wrong);
    } else if (block.name() == "baseline" || !names.insert(block.name()).second) {
      problems.Add(block.position(), absl::StrCat("blocks.", block.name()),
                   block.name() == "baseline"
                       ? "want a name other than baseline, which is the baseline's own block"
                       : "want a name of its own for each block, got it again");
    }
    plan.blocks.push_back(PlanBlock(block, plan.constants, problems));
    // What is left to say is more of the same.
    if (problems.full()) return plan;
  }
  PlanInits(spec, &plan, problems);
  return plan;
}

}  // namespace saffron
