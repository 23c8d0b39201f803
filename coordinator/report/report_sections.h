#pragma once
// The sections of a run report. Each prints a heading and its findings, or nothing at all when the
// study has nothing to say about it.

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "coordinator/report/run_report.h"
#include "coordinator/report/start_comparison.h"
#include "coordinator/report/study.h"
#include "coordinator/report/table.h"

namespace saffron {

struct SectionContext {
  const Study& study;
  // Variants with a value of the metric over the evaluation data that most variants share, best
  // first (ties in the roadmap's order): the only ones whose values may be compared.
  std::vector<int> ranked;
  std::string data;  // EvaluationData of those
  const RunReportOptions& options;
  std::ostream& out;

  // Of every table.
  TextTable::Style Style() const {
    return {.width = options.cut ? options.width : 0, .indent = 2, .colour = options.colour};
  }
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

// Whether larger models are better, where enough models of the roadmap's own kind have a size.
struct SizeFindings {
  std::vector<int> candidates = {};  // variants compared, best first
  int largest = 0;                   // variant
  size_t larger = 0;                 // candidates larger than the best
  double correlation = 0;            // of size and Study::shown, by ranks
  std::vector<int> front = {};       // of the candidates, those that no smaller one beats
};
std::optional<SizeFindings> FindSizes(const SectionContext& context);  // size_section.cc

// Rows of "Explicit or random start?": all pairs, then those of each budget of training.
struct NamedPairs {
  std::string name;
  std::vector<StartPair> pairs;
};
std::vector<NamedPairs> NameStarts(const SectionContext& context);  // start_section.cc

// A block's best variant, for each set of values that may be compared with one another.
struct BlockFindings {
  std::string name, data;
  size_t variants = 0;
  int best = -1;                  // -1: none has a result
  std::vector<std::string> keys;  // that tell its variants apart, and from the baseline
};
std::vector<BlockFindings> FindBlocks(const SectionContext& context);  // block_section.cc

void PrintLeaderboard(const SectionContext& context);         // leaderboard.cc
void PrintBestAgainstBiggest(const SectionContext& context);  // size_section.cc
void PrintStartComparison(const SectionContext& context);     // start_section.cc
void PrintBlocks(const SectionContext& context);              // block_section.cc
void PrintAblations(const SectionContext& context);           // ablation_section.cc
void PrintFailures(const SectionContext& context);            // block_section.cc

}  // namespace saffron
