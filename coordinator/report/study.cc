#include "coordinator/report/study.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "coordinator/report/number_format.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"
#include "core/model/varying_keys.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

int64_t Int(const Cell& cell) {
  const int64_t* value = std::get_if<int64_t>(&cell);
  return value ? *value : 0;
}

std::string Text(const Cell& cell) {
  const std::string* value = std::get_if<std::string>(&cell);
  return value ? *value : "";
}

// The columns `json` of the table variants: an object of the relevant keys.
absl::StatusOr<Params> ParseParams(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError("variants.json is not a JSON object");
  Params params;
  for (const auto& [key, value] : json.items()) {
    if (value.is_boolean()) {
      params[key] = value.get<bool>();
    } else if (value.is_number_integer()) {
      params[key] = value.get<int64_t>();
    } else if (value.is_number()) {
      params[key] = value.get<double>();
    } else if (value.is_string()) {
      params[key] = value.get<std::string>();
    }
  }
  return params;
}

// Of the column `init_derive`: a JSON array of operators.
std::string OpsOf(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<std::string> ops;
  for (const auto& op : json.is_array() ? json : nlohmann::json::array()) {
    if (op.is_string()) ops.push_back(op.get<std::string>());
  }
  return absl::StrJoin(ops, ", ");
}

absl::Status LoadHead(ReadSource& source, const std::string& roadmap, Study& study) {
  ASSIGN_OR_RETURN(const RoadmapName found, FindRoadmap(source, roadmap));
  study.roadmap = found.id;
  study.name = found.name;
  ASSIGN_OR_RETURN(
      const ResultTable head,
      source.Query(absl::StrCat("SELECT v.revision, v.question, v.metric, v.goal FROM roadmaps r "
                                "JOIN revisions v ON v.roadmap = r.id AND v.revision = r.revision "
                                "WHERE r.id = ",
                                found.id)));
  if (head.rows.empty()) return absl::DataLossError("a roadmap without a revision");
  const auto& row = head.rows.front();
  study.revision = Int(row[0]);
  study.question = Text(row[1]);
  study.metric = Text(row[2]);
  study.minimize = Text(row[3]) != "maximize";
  return absl::OkStatus();
}

absl::Status LoadVariants(ReadSource& source, Study& study, std::map<int64_t, int>& index) {
  const std::string where =
      absl::StrCat("x.roadmap = ", study.roadmap, " AND x.revision = ", study.revision);
  ASSIGN_OR_RETURN(
      const ResultTable variants,
      source.Query(absl::StrCat("SELECT x.variant, x.block, x.role, x.label, v.json, v.parent, "
                                "v.init_derive FROM "
                                "roadmap_variants x JOIN variants v ON v.id = x.variant WHERE ",
                                where, " ORDER BY x.position")));
  for (const auto& row : variants.rows) {
    ASSIGN_OR_RETURN(Params params, ParseParams(Text(row[4])));
    index[Int(row[0])] = static_cast<int>(study.variants.size());
    study.variants.push_back({.id = Int(row[0]),
                              .block = Text(row[1]),
                              .role = Text(row[2]),
                              .label = Text(row[3]),
                              .params = std::move(params),
                              .parent = Int(row[5]),
                              .derive = OpsOf(Text(row[6])),
                              .effect = {},
                              .metrics = {}});
  }
  ASSIGN_OR_RETURN(
      const ResultTable blocks,
      source.Query(absl::StrCat("SELECT x.block, x.variant, x.groups, x.position FROM "
                                "roadmap_blocks x JOIN "
                                "roadmap_variants rv USING (roadmap, revision, variant) "
                                "WHERE ",
                                where, " ORDER BY rv.position, x.block")));
  std::map<std::string, std::vector<int>> members;
  std::map<std::string, std::map<int64_t, StudyAblation>> ablations;  // by position in the block
  std::vector<std::string> order;
  for (const StudyVariant& variant : study.variants) {
    if (members.emplace(variant.block, std::vector<int>()).second) order.push_back(variant.block);
  }
  for (const auto& row : blocks.rows) {
    const auto found = index.find(Int(row[1]));
    if (found == index.end()) continue;
    const std::string block = Text(row[0]);
    const auto [entry, is_new] = members.try_emplace(block);
    if (is_new) order.push_back(block);
    entry->second.push_back(found->second);
    const std::string groups = Text(row[2]);
    if (!groups.empty()) ablations[block][Int(row[3])] = {block, groups, found->second};
  }
  for (const std::string& block : order) {
    if (!members[block].empty()) study.blocks.emplace_back(block, members[block]);
    for (auto& [position, ablation] : ablations[block]) {
      study.ablations.push_back(std::move(ablation));
    }
  }
  return absl::OkStatus();
}

// Sets every variant's effect. `shown`: variant -> seed -> value.
void PairWithBaseline(const std::map<int64_t, std::map<int64_t, double>>& shown, Study& study) {
  const StudyVariant* baseline = study.baseline();
  if (baseline == nullptr || !shown.contains(baseline->id)) return;
  const std::map<int64_t, double>& of_baseline = shown.at(baseline->id);
  const std::string data = EvaluationData(baseline->params);
  for (StudyVariant& variant : study.variants) {
    const auto values = shown.find(variant.id);
    if (values == shown.end() || EvaluationData(variant.params) != data) continue;
    std::vector<double> differences;
    for (const auto& [seed, value] : values->second) {
      const auto other = of_baseline.find(seed);
      if (other != of_baseline.end()) differences.push_back(value - other->second);
    }
    variant.effect = Summarize(differences);
  }
}

absl::Status LoadMetrics(ReadSource& source, const std::map<int64_t, int>& index, Study& study) {
  std::set<std::string> wanted = {study.metric, study.shown, "test/perplexity", "model/parameters",
                                  "time/total_s"};
  wanted.erase("");
  ASSIGN_OR_RETURN(
      const ResultTable results,
      source.Query(absl::StrCat(
          "SELECT variant, metric, value, trial, seed FROM v_results WHERE roadmap = ",
          SqlText(study.name), " AND state = 'succeeded' AND kind = 0 AND metric IN (",
          absl::StrJoin(wanted, ", ",
                        [](std::string* out, const std::string& key) { *out += SqlText(key); }),
          ") ORDER BY position, metric, seed, trial")));
  std::map<std::pair<int64_t, std::string>, std::vector<double>> values;
  std::map<int64_t, std::map<int64_t, double>> shown;  // variant -> seed -> value
  std::map<int64_t, int64_t> first_trial;
  for (const auto& row : results.rows) {
    double value = 0;
    if (const double* number = std::get_if<double>(&row[2])) {
      value = *number;
    } else {
      value = static_cast<double>(Int(row[2]));
    }
    const std::string key = Text(row[1]);
    values[{Int(row[0]), key}].push_back(value);
    if (key == study.shown) shown[Int(row[0])].try_emplace(Int(row[4]), value);
    if (key == study.metric) first_trial.try_emplace(Int(row[0]), Int(row[3]));
  }
  for (const auto& [key, list] : values) {
    const auto found = index.find(key.first);
    if (found != index.end()) study.variants[found->second].metrics[key.second] = Summarize(list);
  }
  for (const auto& [variant, trial] : first_trial) {
    const auto found = index.find(variant);
    if (found != index.end()) study.variants[found->second].trial = trial;
  }
  PairWithBaseline(shown, study);
  return absl::OkStatus();
}

absl::Status LoadTrials(ReadSource& source, Study& study) {
  const std::string trials = absl::StrCat(
      "FROM roadmap_trials rt JOIN trials t ON t.id = rt.trial WHERE rt.roadmap = ", study.roadmap,
      " AND rt.revision = ", study.revision);
  ASSIGN_OR_RETURN(
      const ResultTable states,
      source.Query(absl::StrCat("SELECT t.state, count(*) ", trials, " GROUP BY t.state")));
  for (const auto& row : states.rows) study.trial_states[Text(row[0])] = Int(row[1]);
  ASSIGN_OR_RETURN(const ResultTable failures,
                   source.Query(absl::StrCat(
                       "SELECT t.state, coalesce(t.failure_class, ''), t.message, count(*), "
                       "min(t.id) ",
                       trials,
                       " AND t.state IN ('failed', 'diverged', 'cancelled') "
                       "GROUP BY 1, 2, 3 ORDER BY 4 DESC, 5")));
  for (const auto& row : failures.rows) {
    study.failures.push_back({.state = Text(row[0]),
                              .failure_class = Text(row[1]),
                              .message = Text(row[2]),
                              .trials = Int(row[3]),
                              .example = Int(row[4])});
  }
  return absl::OkStatus();
}

}  // namespace

double StudyVariant::Mean(const std::string& metric) const {
  const auto found = metrics.find(metric);
  return found == metrics.end() ? std::numeric_limits<double>::quiet_NaN() : found->second.mean;
}

const StudyVariant* Study::baseline() const {
  for (const StudyVariant& variant : variants) {
    if (variant.role == "baseline") return &variant;
  }
  return nullptr;
}

absl::StatusOr<RoadmapName> FindRoadmap(ReadSource& source, const std::string& given) {
  ASSIGN_OR_RETURN(
      const ResultTable roadmaps,
      source.Query("SELECT r.id, r.name FROM roadmaps r JOIN revisions v ON v.roadmap = r.id AND "
                   "v.revision = r.revision ORDER BY v.submitted_us, r.id"));
  if (roadmaps.rows.empty()) {
    return absl::NotFoundError(absl::StrCat(source.Where(), ": no roadmap has been submitted yet"));
  }
  const auto roadmap_of = [](const std::vector<Cell>& row) {
    return RoadmapName{.id = Int(row[0]), .name = Text(row[1])};
  };
  std::vector<std::string> names;
  for (const auto& row : roadmaps.rows) {
    if (Text(row[1]) == given) return roadmap_of(row);
    names.push_back(Text(row[1]));
  }
  if (given == "last") return roadmap_of(roadmaps.rows.back());
  int64_t id = 0;
  if (absl::SimpleAtoi(given, &id)) {
    for (const auto& row : roadmaps.rows) {
      if (Int(row[0]) == id) return roadmap_of(row);
    }
  }
  const std::string nearest = NearestName(given, names);
  return absl::NotFoundError(
      absl::StrCat("no roadmap '", given, "' in ", source.Where(), "; ",
                   nearest.empty() ? absl::StrCat("there is ", absl::StrJoin(names, ", "))
                                   : absl::StrCat("did you mean ", nearest, "?")));
}

absl::StatusOr<Study> LoadStudy(ReadSource& source, const std::string& roadmap) {
  Study study;
  RETURN_IF_ERROR(LoadHead(source, roadmap, study));
  study.shown = study.metric;
  if (absl::StartsWith(study.metric, "valid/")) {
    study.shown = absl::StrCat("test/", study.metric.substr(6));
  }
  std::map<int64_t, int> index;
  RETURN_IF_ERROR(LoadVariants(source, study, index));
  RETURN_IF_ERROR(LoadMetrics(source, index, study));
  RETURN_IF_ERROR(LoadTrials(source, study));
  return study;
}

std::string EvaluationData(const Params& params) {
  static constexpr absl::string_view kKeys[] = {"data.corpus", "data.tokenizer", "data.vocab",
                                                "data.eval_tokens"};
  std::vector<std::string> parts;
  for (const absl::string_view key : kKeys) {
    const auto found = params.find(std::string(key));
    if (found == params.end()) continue;
    const std::string value = ShortValue(found->second);
    parts.push_back(std::holds_alternative<std::string>(found->second)
                        ? value
                        : absl::StrCat(key.substr(5), "=", value));
  }
  return absl::StrJoin(parts, " ");
}

std::string_view ShortKey(std::string_view key) { return key.substr(key.rfind('.') + 1); }

std::string ShortValue(const ParamValue& value) {
  if (const std::string* text = std::get_if<std::string>(&value)) return *text;
  if (const double* number = std::get_if<double>(&value)) return ExactCell(*number);
  return ParamValueText(value);
}

std::string DescribeParams(const Params& params, const std::vector<std::string>& keys) {
  std::string text;
  for (const std::string& key : keys) {
    const auto found = params.find(key);
    if (found == params.end()) continue;
    const std::string_view name = ShortKey(key);
    absl::StrAppend(&text, text.empty() ? "" : " ", absl::string_view(name.data(), name.size()),
                    "=", ShortValue(found->second));
  }
  return text;
}

std::string DescribeParent(const Study& study, const StudyVariant& variant) {
  if (variant.parent == 0) return "";
  std::string name = absl::StrCat("variant ", variant.parent);
  for (const StudyVariant& other : study.variants) {
    if (other.id == variant.parent) name = other.label;
  }
  return variant.derive.empty() ? absl::StrCat("starts from ", name)
                                : absl::StrCat("grown from ", name, " by ", variant.derive);
}

std::string Describe(const Study& study, const StudyVariant& variant,
                     const std::vector<std::string>& keys) {
  const std::string params = DescribeParams(variant.params, keys);
  const std::string parent = DescribeParent(study, variant);
  return absl::StrCat(params, params.empty() || parent.empty() ? "" : ", ", parent);
}

std::vector<std::string> VaryingKeys(const std::vector<const StudyVariant*>& variants) {
  std::vector<const Params*> params;
  for (const StudyVariant* variant : variants) params.push_back(&variant->params);
  std::set<std::string> varying = VaryingKeys(params);
  varying.erase("init_from.variant");
  varying.erase("init_from.derive");
  return {varying.begin(), varying.end()};
}

}  // namespace saffron
