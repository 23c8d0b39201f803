#pragma once
// How plans, states and explanations are printed: for people, as JSON or CSV, or as one number.

#include <ostream>
#include <string>
#include <vector>

#include "coordinator/report/output_mode.h"
#include "nlohmann/json_fwd.hpp"
#include "saffron/v1/roadmap.pb.h"

namespace saffron {

// Quiet: the number of trials that would run.
void PrintPlan(const v1::PlanResponse& plan, OutputMode mode, std::ostream& out);

// Quiet: "done/total".
void PrintStatus(const v1::RoadmapStatus& status, OutputMode mode, std::ostream& out);

// Quiet: the state alone.
void PrintExplanation(int64_t trial, const v1::ExplainResponse& explanation, OutputMode mode,
                      std::ostream& out);

// What a command did, for programs: an object as JSON; as CSV a header and one line, without what
// is nested; quiet: the first value. Nothing as a table: people read the messages.
void PrintRecord(const nlohmann::ordered_json& record, OutputMode mode, std::ostream& out);

// "12 to run (about 3 min of one core), 238 done before, ..."
std::string PlanSummary(const v1::PlanResponse& plan);

// Why what is new is new, one line a key: "train.lr: 0.01 became 0.02: 12 trials are new". At most
// `most` lines, and how many more there are.
std::vector<std::string> PlanChanges(const v1::PlanResponse& plan, int most);

// Whether submitting would change anything.
bool HasChanges(const v1::PlanResponse& plan);

}  // namespace saffron
