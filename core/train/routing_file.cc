#include "core/train/routing_file.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/arena_tensors.h"
#include "core/train/training_state.h"

namespace saffron {
namespace {

constexpr char kContent[] = "routing";

// A table that is filled row by row.
class TableOf {
 public:
  explicit TableOf(std::string name) { table_.name = std::move(name); }

  // Adds to the columns in the order of the calls; the first row makes them.
  void BeginRow() { next_ = 0; }
  void Add(const char* name, int64_t value) { AddTo<int64_t>(name, value); }
  void Add(const char* name, double value) { AddTo<double>(name, value); }

  RoutingTable Take() { return std::move(table_); }

 private:
  template <typename T>
  void AddTo(const char* name, T value) {
    if (next_ == table_.columns.size()) table_.columns.push_back({name, std::vector<T>()});
    std::get<std::vector<T>>(table_.columns[next_++].values).push_back(value);
  }

  RoutingTable table_;
  size_t next_ = 0;
};

void AddExpert(int layer, int64_t expert, const ExpertSummary& e, TableOf& table) {
  table.BeginRow();
  table.Add("layer", int64_t{layer});
  table.Add("expert", expert);
  table.Add("chosen", e.chosen);
  table.Add("dropped", e.dropped);
  table.Add("first", e.first);
  table.Add("load", e.load);
  table.Add("drop_rate", e.drop_rate);
  table.Add("probability", e.probability);
  table.Add("entropy", e.entropy);
  table.Add("information", e.information);
  table.Add("information_shuffled", e.information_shuffled);
}

void AddLayer(int layer, int64_t tokens, const RoutingSummary& s, TableOf& table) {
  table.BeginRow();
  table.Add("layer", int64_t{layer});
  table.Add("tokens", tokens);
  table.Add("largest_load", s.largest_load);
  table.Add("drop_rate", s.drop_rate);
  table.Add("unserved", s.unserved);
  table.Add("entropy", s.entropy);
  table.Add("z", s.z);
  table.Add("information", s.information);
  table.Add("information_shuffled", s.information_shuffled);
}

void AddChoice(int layer, const RoutedChoice& c, TableOf& table) {
  table.BeginRow();
  table.Add("layer", int64_t{layer});
  table.Add("row", c.row);
  table.Add("position", c.position);
  table.Add("token", int64_t{c.token});
  table.Add("choice", int64_t{c.choice});
  table.Add("expert", int64_t{c.expert});
  table.Add("gate", c.gate);
  table.Add("kept", int64_t{c.kept});
}

TensorBytes Bytes(const RoutingColumn& column) {
  return std::visit(
      [](const auto& values) {
        return TensorOf(absl::MakeConstSpan(values), {static_cast<int64_t>(values.size())});
      },
      column.values);
}

size_t Size(const RoutingColumn& column) {
  return std::visit([](const auto& values) { return values.size(); }, column.values);
}

// The columns that a table of that name has, in their order and types.
absl::StatusOr<RoutingTable> ColumnsOf(const std::string& name) {
  TableOf experts("experts"), layers("layers"), trace("trace");
  AddExpert(0, 0, {}, experts);
  AddLayer(0, 0, {}, layers);
  AddChoice(0, {}, trace);
  for (TableOf* table : {&experts, &layers, &trace}) {
    RoutingTable taken = table->Take();
    if (taken.name == name) return taken;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("table: want experts, layers or trace, got ", name));
}

}  // namespace

std::vector<RoutingTable> RoutingTables(const RoutingMetrics& routing) {
  TableOf experts("experts"), layers("layers"), trace("trace");
  for (const auto& [layer, of] : routing.layers()) {
    int64_t expert = 0;
    for (const ExpertSummary& summary : of.Experts()) AddExpert(layer, expert++, summary, experts);
    AddLayer(layer, of.rows(), of.Summary(), layers);
    for (const RoutedChoice& choice : of.trace()) AddChoice(layer, choice, trace);
  }
  std::vector<RoutingTable> tables;
  for (TableOf* table : {&experts, &layers, &trace}) tables.push_back(table->Take());
  return tables;
}

absl::StatusOr<WrittenFile> WriteRouting(const std::string& path, const TrialInputs& inputs,
                                         int64_t step, const RoutingMetrics& routing) {
  const std::vector<RoutingTable> tables = RoutingTables(routing);
  std::vector<NamedTensor> tensors;
  for (const RoutingTable& table : tables) {
    for (const RoutingColumn& column : table.columns) {
      tensors.push_back({absl::StrCat(table.name, "/", column.name), Bytes(column)});
    }
  }
  return WriteSafetensors(path, TrialMetadata(inputs, kContent, step), std::move(tensors));
}

absl::StatusOr<RoutingTable> ReadRouting(const Safetensors& file, const std::string& table) {
  ASSIGN_OR_RETURN(const CheckpointHeader header, ReadCheckpointHeader(file));
  if (header.content != kContent) {
    return absl::InvalidArgumentError(
        absl::StrCat("holds a ", header.content, ", not what routers did"));
  }
  ASSIGN_OR_RETURN(RoutingTable read, ColumnsOf(table));
  for (RoutingColumn& column : read.columns) {
    const std::string name = absl::StrCat(table, "/", column.name);
    if (std::holds_alternative<std::vector<double>>(column.values)) {
      ASSIGN_OR_RETURN(column.values, ReadDoubles(file, name));
    } else {
      ASSIGN_OR_RETURN(column.values, ReadIntegers(file, name));
    }
    if (Size(column) == Size(read.columns[0])) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, ": want ", Size(read.columns[0]),
                                                   " rows, as ", read.columns[0].name, " has, got ",
                                                   Size(column)));
  }
  return read;
}

}  // namespace saffron
