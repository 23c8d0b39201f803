#pragma once
// What a trial's routers did on the test split, as a file: for a researcher with a few lines of
// any language, and for `saffron model routing`.
//
// A safetensors file (safetensors.h) of three tables, each column a tensor "TABLE/COLUMN" of I64 or
// F64 with one element a row:
//   experts  a row for every expert of every sparse layer: layer, expert, then ExpertSummary
//   layers   a row for every sparse layer: layer, tokens, then RoutingSummary
//   trace    a row for every choice of the first LayerRouting::kTraceTokens tokens, layer by layer:
//            layer, then RoutedChoice
// Every row of the windows that were evaluated counts, scored or context. The metadata is that of a
// checkpoint, "content" is routing. The same trial gives the same bytes.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "core/checkpoint/safetensors.h"
#include "core/train/transformer_experts.h"
#include "core/train/trial_model.h"

namespace saffron {

struct RoutingColumn {
  std::string name;
  std::variant<std::vector<int64_t>, std::vector<double>> values;
};

// Columns of equal length.
struct RoutingTable {
  std::string name;
  std::vector<RoutingColumn> columns;
};

// In the order above.
std::vector<RoutingTable> RoutingTables(const RoutingMetrics& routing);

// Errors of WriteSafetensors.
absl::StatusOr<WrittenFile> WriteRouting(const std::string& path, const TrialInputs& inputs,
                                         int64_t step, const RoutingMetrics& routing);

// One table of a file, its columns in the order above. INVALID_ARGUMENT: the file holds something
// else, or not that table.
absl::StatusOr<RoutingTable> ReadRouting(const Safetensors& file, const std::string& table);

}  // namespace saffron
