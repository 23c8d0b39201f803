#include "coordinator/report/report_sections.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/text_width.h"

namespace saffron {

void SectionContext::Heading(const std::string& text) const {
  out << "\n"
      << (options.colour ? "\033[1m" : "") << text << (options.colour ? "\033[0m" : "") << "\n";
}

void SectionContext::Say(const std::string& text) const {
  std::string line = " ";
  for (const auto word : absl::StrSplit(text, ' ')) {
    if (line.size() > 1 &&
        DisplayWidth(line) + 1 + DisplayWidth({word.data(), word.size()}) > options.width) {
      out << line << "\n";
      line.resize(1);
    }
    absl::StrAppend(&line, " ", word);
  }
  out << line << "\n";
}

std::string SectionContext::Shown(const StudyVariant& variant) const {
  const auto found = variant.metrics.find(study.shown);
  if (found == variant.metrics.end()) return "";
  const Summary& summary = found->second;
  if (summary.n < 2) return FormatNumber(summary.mean);
  return absl::StrCat(FormatNumber(summary.mean), " ± ", FormatNumber(summary.sd));
}

SectionContext MakeContext(const Study& study, const RunReportOptions& options, std::ostream& out) {
  std::map<std::string, std::vector<int>> groups;
  for (size_t i = 0; i < study.variants.size(); ++i) {
    if (!study.metric.empty() && study.variants[i].Has(study.metric)) {
      groups[EvaluationData(study.variants[i].params)].push_back(static_cast<int>(i));
    }
  }
  SectionContext context{.study = study, .ranked = {}, .data = "", .options = options, .out = out};
  for (auto& [data, members] : groups) {
    const bool earlier = !context.ranked.empty() && members.size() == context.ranked.size() &&
                         members.front() < context.ranked.front();
    if (members.size() > context.ranked.size() || earlier) {
      context.ranked = members;
      context.data = data;
    }
  }
  std::stable_sort(context.ranked.begin(), context.ranked.end(), [&](int a, int b) {
    return study.Better(study.variants[a].Mean(study.metric), study.variants[b].Mean(study.metric));
  });
  return context;
}

std::string MetricTitle(const Study& study, const std::string& metric) {
  if (study.metric == study.shown) return metric;
  return metric.substr(0, metric.find('/'));
}

std::string Measure(const Study& study) { return study.metric.substr(study.metric.find('/') + 1); }

std::string TypeOf(const StudyVariant& variant) {
  const auto found = variant.params.find("model.type");
  return found == variant.params.end() ? "" : ShortValue(found->second);
}

std::string MainType(const Study& study) {
  std::map<std::string, int> counts;
  for (const StudyVariant& variant : study.variants) ++counts[TypeOf(variant)];
  std::string main;  // the roadmap's first of equals: its baseline's, where it has one
  for (const StudyVariant& variant : study.variants) {
    const std::string type = TypeOf(variant);
    if (main.empty() || counts[type] > counts[main]) main = type;
  }
  return main;
}

}  // namespace saffron
