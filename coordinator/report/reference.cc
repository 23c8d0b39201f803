#include "coordinator/report/reference.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/study.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

std::string Number(double value) {
  return value == static_cast<int64_t>(value) ? absl::StrCat(static_cast<int64_t>(value))
                                              : ExactCell(value);
}

// "saffu, unigram", "1 to 64", "1 to 64, or a list for model.layers", "above 0", "below 1", "".
std::string Range(const ParamSpec& spec) {
  if (!spec.choices.empty()) return absl::StrJoin(spec.choices, ", ");
  if (spec.min && spec.max && !spec.min_exclusive && !spec.max_exclusive) {
    const std::string many =
        spec.one_for_each.empty() ? "" : absl::StrCat(", or a list for ", spec.one_for_each);
    return absl::StrCat(Number(*spec.min), " to ", Number(*spec.max), many);
  }
  std::string text;
  if (spec.min) absl::StrAppend(&text, spec.min_exclusive ? "above " : "from ", Number(*spec.min));
  if (spec.max) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", spec.max_exclusive ? "below " : "to ",
                    Number(*spec.max));
  }
  return text;
}

std::string Row(const std::vector<std::string>& cells) {
  return absl::StrCat(
      "| ",
      absl::StrJoin(cells, " | ",
                    [](std::string* out, const std::string& cell) {
                      absl::StrAppend(out, absl::StrReplaceAll(
                                               cell, {{"|", "\\|"}, {"<", "&lt;"}, {"\n", " "}}));
                    }),
      " |\n");
}

}  // namespace

std::string ReferenceMarkdown() {
  std::string text =
      "### Keys of a sweep file\n\n"
      "| key | default | values | unit | meaning | where it matters |\n"
      "|---|---|---|---|---|---|\n";
  for (const ParamSpec& spec : AllParams()) {
    const std::string values = Range(spec);
    text += Row({absl::StrCat("`", spec.key, "`"),
                 absl::StrCat("`", ShortValue(spec.default_value), "`"),
                 values.empty() ? std::string(ParamTypeName(spec.type)) : values, spec.unit,
                 spec.doc, spec.RelevanceText()});
  }
  text +=
      "\n### Metrics\n\n"
      "| metric | unit | meaning | same in every run |\n"
      "|---|---|---|---|\n";
  for (const MetricSpec& spec : AllMetrics()) {
    text += Row(
        {absl::StrCat("`", spec.key, "`"), spec.unit, spec.doc, spec.deterministic ? "yes" : "no"});
  }
  return text;
}

}  // namespace saffron
