#pragma once
// How plans, states and explanations are printed: for people, as JSON or CSV, or as one number.

#include <ostream>

#include "coordinator/report/output_mode.h"
#include "saffron/v1/roadmap.pb.h"

namespace saffron {

// Quiet: the number of trials that would run.
void PrintPlan(const v1::PlanResponse& plan, OutputMode mode, std::ostream& out);

// Quiet: "done/total".
void PrintStatus(const v1::RoadmapStatus& status, OutputMode mode, std::ostream& out);

// Quiet: the state alone.
void PrintExplanation(int64_t trial, const v1::ExplainResponse& explanation, OutputMode mode,
                      std::ostream& out);

// "12 to run (about 3 min of one core), 238 done before, ..."
std::string PlanSummary(const v1::PlanResponse& plan);

// Whether submitting would change anything.
bool HasChanges(const v1::PlanResponse& plan);

}  // namespace saffron
