#include "coordinator/report/report_json.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/report/json.h"
#include "coordinator/report/start_comparison.h"
#include "coordinator/report/statistics.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

using Json = nlohmann::ordered_json;

Cell CellOf(double value) {
  Cell cell;
  if (std::isfinite(value)) cell = value;
  return cell;
}

// JSON has no NaN.
Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json SummaryJson(const Summary& summary) {
  return {{"mean", Number(summary.mean)}, {"sd", Number(summary.sd)}, {"n", summary.n}};
}

Json EffectJson(const Study& study, const StudyVariant& variant) {
  const Summary& effect = variant.effect;
  if (effect.n == 0) return Json();
  const Interval interval = MeanInterval(effect);
  return {{"metric", study.shown},
          {"difference", Number(effect.mean)},
          {"sd", Number(effect.sd)},
          {"n", effect.n},
          {"low_95", Number(interval.low)},
          {"high_95", Number(interval.high)},
          {"ratio", Number(variant.Mean(study.shown) / study.baseline()->Mean(study.shown))}};
}

// Who it is: enough to find it anywhere else.
Json NameJson(const Study& study, const StudyVariant& variant) {
  Json json = {{"variant", variant.id},
               {"trial", variant.trial == 0 ? Json() : Json(variant.trial)},
               {"block", variant.block},
               {"role", variant.role},
               {"label", variant.label}};
  const std::string parent = DescribeParent(study, variant);
  json["starts_from"] = parent.empty() ? Json() : Json(parent);
  return json;
}

Json VariantJson(const Study& study, const StudyVariant& variant) {
  Json json = NameJson(study, variant);
  json["data"] = EvaluationData(variant.params);
  json["metrics"] = Json::object();
  for (const auto& [key, summary] : variant.metrics) json["metrics"][key] = SummaryJson(summary);
  json["effect"] = EffectJson(study, variant);
  json["config"] = ParamsJson(variant.params);
  return json;
}

Json SizesJson(const SectionContext& context) {
  const std::optional<SizeFindings> found = FindSizes(context);
  if (!found) return Json();
  const Study& study = context.study;
  Json json = {{"models", found->candidates.size()},
               {"larger_than_best", found->larger},
               {"rank_correlation", Number(found->correlation)},
               {"best", NameJson(study, context.variant(found->candidates.front()))},
               {"largest", NameJson(study, context.variant(found->largest))}};
  json["front"] = Json::array();
  for (const int i : found->front) {
    const StudyVariant& variant = context.variant(found->candidates[i]);
    Json row = NameJson(study, variant);
    row["parameters"] = Number(variant.Mean("model/parameters"));
    row[study.shown] = SummaryJson(variant.metrics.at(study.shown));
    json["front"].push_back(std::move(row));
  }
  return json;
}

Json StartsJson(const SectionContext& context) {
  Json json = {{"pairs", Json::array()}, {"catch_up", Json::array()}};
  const Study& study = context.study;
  const std::vector<NamedPairs> rows = NameStarts(context);
  if (rows.empty()) return json;
  for (const NamedPairs& row : rows) {
    const StartTally tally = Tally(study, row.pairs);
    json["pairs"].push_back(
        {{"what", std::string(absl::StripAsciiWhitespace(row.name))},
         {"pairs", tally.pairs},
         {"explicit_wins", tally.explicit_wins},
         {"random_wins", tally.random_wins},
         {"within_noise", tally.within_noise < 0 ? Json() : Json(tally.within_noise)},
         {"median_ratio", Number(tally.median_ratio)},
         {"p", Number(tally.p)},
         {"explicit_s", Number(tally.explicit_seconds)},
         {"random_s", Number(tally.random_seconds)}});
  }
  for (const CatchUp& found : FindCatchUps(study)) {
    const bool reached = found.random_variant >= 0;
    const int random = reached ? found.random_variant : found.best_random;
    json["catch_up"].push_back(
        {{"explicit", NameJson(study, context.variant(found.explicit_variant))},
         {"random", NameJson(study, context.variant(random))},
         {"reached", reached},
         {"candidates", found.candidates},
         {"steps_tried", found.steps_tried}});
  }
  return json;
}

Json BlocksJson(const SectionContext& context) {
  Json json = Json::array();
  for (const BlockFindings& block : FindBlocks(context)) {
    Json row = {{"block", block.name}, {"data", block.data}, {"variants", block.variants}};
    row["best"] = block.best < 0 ? Json() : VariantJson(context.study, context.variant(block.best));
    json.push_back(std::move(row));
  }
  return json;
}

Json AblationsJson(const SectionContext& context) {
  const Study& study = context.study;
  Json json = Json::array();
  for (const StudyAblation& ablation : study.ablations) {
    const StudyVariant& variant = context.variant(ablation.variant);
    Json row = NameJson(study, variant);
    row["block"] = ablation.block;
    row["groups"] = ablation.groups;
    row[study.shown] =
        variant.Has(study.shown) ? SummaryJson(variant.metrics.at(study.shown)) : Json();
    row["effect"] = EffectJson(study, variant);
    json.push_back(std::move(row));
  }
  return json;
}

}  // namespace

Json ReportJson(const SectionContext& context) {
  const Study& study = context.study;
  Json json = {{"roadmap", study.name},
               {"roadmap_id", study.roadmap},
               {"revision", study.revision},
               {"question", study.question},
               {"metric", study.metric},
               {"shown", study.shown},
               {"goal", study.minimize ? "minimize" : "maximize"},
               {"variants", study.variants.size()}};
  json["trials"] = Json::object();
  for (const auto& [state, n] : study.trial_states) json["trials"][state] = n;
  json["data"] = context.data;
  json["leaderboard"] = Json::array();
  std::set<int> ranked(context.ranked.begin(), context.ranked.end());
  for (size_t i = 0; i < context.ranked.size(); ++i) {
    Json row = {{"rank", i + 1}};
    row.update(VariantJson(study, context.variant(context.ranked[i])));
    json["leaderboard"].push_back(std::move(row));
  }
  json["not_comparable"] = Json::array();  // measured over other data
  for (size_t i = 0; i < study.variants.size(); ++i) {
    if (study.metric.empty() || !study.variants[i].Has(study.metric) ||
        ranked.contains(static_cast<int>(i))) {
      continue;
    }
    json["not_comparable"].push_back(VariantJson(study, study.variants[i]));
  }
  json["size"] = SizesJson(context);
  json["starts"] = StartsJson(context);
  json["blocks"] = BlocksJson(context);
  json["ablations"] = AblationsJson(context);
  json["failures"] = Json::array();
  for (const StudyFailure& failure : study.failures) {
    json["failures"].push_back({{"trials", failure.trials},
                                {"state", failure.state},
                                {"failure_class", failure.failure_class},
                                {"message", failure.message},
                                {"example", failure.example}});
  }
  return json;
}

ResultTable LeaderboardRows(const SectionContext& context) {
  const Study& study = context.study;
  ResultTable table{.columns = {"trial", "rank", "variant", "block", "label"}, .rows = {}};
  std::vector<std::string> metrics = {study.metric};
  if (study.shown != study.metric) metrics.push_back(study.shown);
  for (const std::string& metric : metrics) {
    for (const char* part : {"", " sd", " n"}) table.columns.push_back(absl::StrCat(metric, part));
  }
  table.columns.insert(table.columns.end(), {"parameters", "seconds", "starts_from"});
  for (size_t i = 0; i < context.ranked.size(); ++i) {
    const StudyVariant& variant = context.variant(context.ranked[i]);
    std::vector<Cell> row = {variant.trial, static_cast<int64_t>(i + 1), variant.id, variant.block,
                             variant.label};
    for (const std::string& metric : metrics) {
      const auto found = variant.metrics.find(metric);
      const Summary summary = found == variant.metrics.end() ? Summarize({}) : found->second;
      row.push_back(CellOf(summary.mean));
      row.push_back(CellOf(summary.sd));
      row.push_back(int64_t{summary.n});
    }
    for (const char* metric : {"model/parameters", "time/total_s"}) {
      row.push_back(CellOf(variant.Mean(metric)));
    }
    row.push_back(DescribeParent(study, variant));
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace saffron
