#pragma once
// What a run report holds, for programs.

#include "coordinator/report/read_source.h"
#include "coordinator/report/report_sections.h"
#include "nlohmann/json_fwd.hpp"

namespace saffron {

// The whole report. Sections are always there; those that have nothing to say are empty or null.
nlohmann::ordered_json ReportJson(const SectionContext& context);

// A row for each ranked variant, best first: trial, rank, variant, block, label, the metric's mean,
// sd and n, the same of Study::shown where that is another, parameters, seconds.
ResultTable LeaderboardRows(const SectionContext& context);

}  // namespace saffron
