#pragma once
// The sections of a run report. Each prints a heading and its findings, or nothing at all when the
// study has nothing to say about it.

#include <ostream>
#include <string>
#include <vector>

#include "coordinator/report/run_report.h"
#include "coordinator/report/study.h"

namespace saffron {

struct SectionContext {
  const Study& study;
  // Variants with a value of the metric over the evaluation data that most variants share, best
  // first (ties in the roadmap's order): the only ones whose values may be compared.
  std::vector<int> ranked;
  std::string data;  // EvaluationData of those
  const RunReportOptions& options;
  std::ostream& out;

  const StudyVariant& variant(int i) const { return study.variants[i]; }
  void Heading(const std::string& text) const;
  // A paragraph, wrapped to the width.
  void Say(const std::string& text) const;
  // The value of Study::shown: "103.9", "103.9 ± 0.4" over several seeds.
  std::string Shown(const StudyVariant& variant) const;
};

SectionContext MakeContext(const Study& study, const RunReportOptions& options, std::ostream& out);

// "valid/perplexity" -> "valid", where another split of the same measure stands beside it.
std::string MetricTitle(const Study& study, const std::string& metric);
// What is measured: "perplexity".
std::string Measure(const Study& study);
// The model type most variants have: the one the roadmap is about. Others are references.
std::string MainType(const Study& study);
std::string TypeOf(const StudyVariant& variant);

void PrintLeaderboard(const SectionContext& context);         // leaderboard.cc
void PrintBestAgainstBiggest(const SectionContext& context);  // size_section.cc
void PrintStartComparison(const SectionContext& context);     // start_section.cc
void PrintBlocks(const SectionContext& context);              // block_section.cc
void PrintFailures(const SectionContext& context);            // block_section.cc

}  // namespace saffron
