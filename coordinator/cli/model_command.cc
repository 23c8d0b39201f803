// `saffron model`: a checkpoint by hand: what is in it, how it does, what it predicts.

#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/cli/checkpoint_path.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/printing.h"
#include "coordinator/report/json.h"
#include "core/base/status_macros.h"
#include "core/train/routing_file.h"
#include "core/train/stored_model.h"

namespace saffron {
namespace {

struct ModelOptions {
  std::string file, role = "best";
  std::vector<std::string> splits = {"train", "valid", "test"};
  std::vector<int32_t> tokens;
  std::string table = "experts";
};

// Of a checkpoint's metadata, JSON in part: what its model became, and from what.
constexpr const char* kHistory[] = {"shape", "init_from", "derived", "fused"};

nlohmann::ordered_json CheckpointJson(const CheckpointHeader& header, const Safetensors& content) {
  nlohmann::ordered_json json = {{"content", header.content},
                                 {"step", header.step},
                                 {"seed", header.seed},
                                 {"data", header.data_fingerprint},
                                 {"numerics", header.numerics}};
  json["parameters"] = ParamsJson(header.params);
  for (const char* key : kHistory) {
    const auto found = content.metadata().find(key);
    if (found == content.metadata().end()) continue;
    auto parsed = nlohmann::ordered_json::parse(found->second, nullptr, /*allow_exceptions=*/false);
    json[key] = parsed.is_discarded() ? nlohmann::ordered_json(found->second) : std::move(parsed);
  }
  json["tensors"] = nlohmann::ordered_json::object();
  for (const auto& [name, tensor] : content.tensors()) {
    json["tensors"][name] = {{"shape", tensor.shape}, {"type", TensorTypeName(tensor.type)}};
  }
  return json;
}

absl::StatusOr<ExitCode> Show(const Cli& cli, const ModelOptions& options) {
  ASSIGN_OR_RETURN(const std::string path, CheckpointPath(cli, options.file, options.role));
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  const absl::StatusOr<CheckpointHeader> read = ReadCheckpointHeader(file->content());
  if (!read.ok()) {
    return absl::Status(read.status().code(), absl::StrCat(path, ": ", read.status().message()));
  }
  const CheckpointHeader& header = *read;
  if (cli.output == OutputMode::kJson) {
    std::cout << JsonText(CheckpointJson(header, file->content()), 1) << "\n";
    return ExitCode::kDone;
  }
  // Two tables for people: what tensors are stays beside their names, however long other lines are.
  ResultTable facts{.columns = {"name", "what"}, .rows = {}};
  const auto add = [&](const std::string& name, Cell what) { facts.rows.push_back({name, what}); };
  add("content", header.content);
  add("step", header.step);
  add("seed", absl::StrCat(header.seed));
  add("data", header.data_fingerprint);
  add("numerics", int64_t{header.numerics});
  for (const auto& [key, value] : header.params) add(key, ParamValueText(value));
  for (const char* key : kHistory) {
    const auto found = file->content().metadata().find(key);
    if (found != file->content().metadata().end()) add(key, found->second);
  }
  ResultTable tensors{.columns = {"tensor", "shape", "type"}, .rows = {}};
  for (const auto& [name, tensor] : file->content().tensors()) {
    tensors.rows.push_back({name, absl::StrCat("[", absl::StrJoin(tensor.shape, ", "), "]"),
                            std::string(TensorTypeName(tensor.type))});
  }
  if (cli.output == OutputMode::kTable) {
    PrintToStdout(cli, facts);
    std::cout << "\n";
    PrintToStdout(cli, tensors);
    return ExitCode::kDone;
  }
  ResultTable all{.columns = {"name", "what", "type"}, .rows = std::move(tensors.rows)};
  for (auto& row : facts.rows) row.emplace_back();
  all.rows.insert(all.rows.begin(), facts.rows.begin(), facts.rows.end());
  PrintToStdout(cli, all);
  return ExitCode::kDone;
}

// Reads the model, with what it needs of this machine.
class OpenModel {
 public:
  explicit OpenModel(const Cli& cli)
      : data_(cli.data_root), statistics_({.dir = StatisticsCache::DefaultDir()}) {}

  absl::StatusOr<std::unique_ptr<StoredModel>> Open(const std::string& path,
                                                    StoredModel::Purpose purpose) {
    return StoredModel::Open(path, {.data = &data_, .statistics = &statistics_}, purpose);
  }

 private:
  DataStore data_;
  StatisticsCache statistics_;
};

absl::StatusOr<ExitCode> Eval(const Cli& cli, const ModelOptions& options) {
  static const auto* const splits = new std::map<std::string, Split>{
      {"train", Split::kTrain}, {"valid", Split::kValid}, {"test", Split::kTest}};
  ASSIGN_OR_RETURN(const std::string path, CheckpointPath(cli, options.file, options.role));
  OpenModel opener(cli);
  ASSIGN_OR_RETURN(const std::unique_ptr<StoredModel> model,
                   opener.Open(path, StoredModel::Purpose::kMeasure));
  ResultTable table{.columns = {"metric", "value"}, .rows = {}};
  for (const std::string& split : options.splits) {
    ASSIGN_OR_RETURN(const auto metrics, model->Evaluate(splits->at(split)));
    for (const auto& [key, value] : metrics) table.rows.push_back({key, value});
  }
  PrintToStdout(cli, table);
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Logits(const Cli& cli, const ModelOptions& options) {
  ASSIGN_OR_RETURN(const std::string path, CheckpointPath(cli, options.file, options.role));
  OpenModel opener(cli);
  ASSIGN_OR_RETURN(const std::unique_ptr<StoredModel> model,
                   opener.Open(path, StoredModel::Purpose::kPredict));
  ASSIGN_OR_RETURN(std::vector<double> nats, model->NextTokenNats(options.tokens));
  for (double& value : nats) value = -value;
  nlohmann::ordered_json out;
  out["tokens"] = options.tokens;
  out["logits"] = nats;
  std::cout << JsonText(out) << "\n";
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Routing(const Cli& cli, const ModelOptions& options) {
  ASSIGN_OR_RETURN(const std::string path, RoutingPath(cli, options.file));
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  const absl::StatusOr<RoutingTable> routing = ReadRouting(file->content(), options.table);
  if (!routing.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", routing.status().message()));
  }
  ResultTable table;
  for (const RoutingColumn& column : routing->columns) {
    table.columns.push_back(column.name);
    std::visit(
        [&](const auto& values) {
          table.rows.resize(values.size());
          for (size_t i = 0; i < values.size(); ++i) table.rows[i].push_back(values[i]);
        },
        column.values);
  }
  PrintToStdout(cli, table);
  return ExitCode::kDone;
}

void AddCommon(CLI::App* command, ModelOptions* options, Cli& cli) {
  command->add_option("FILE", options->file, "A checkpoint, or the number of a trial that left one")
      ->required();
  command
      ->add_option("--checkpoint", options->role, "Of a trial: the best evaluation's, or the last")
      ->check(CLI::IsMember({"best", "last"}))
      ->capture_default_str();
  cli.AddDatabase(command);
}

}  // namespace

void AddModelCommand(CLI::App& app, Cli& cli) {
  CLI::App* model = cli.AddCommand(
      app, "model", "Checkpoints: show, eval, logits, derive, fuse; what routers did",
      "saffron model show 17\nsaffron model eval best.safetensors", nullptr);
  model->require_subcommand(1);
  auto options = std::make_shared<ModelOptions>();

  CLI::App* show = cli.AddCommand(*model, "show", "Say what a checkpoint holds: trial, tensors",
                                  "saffron model show best.safetensors --output json",
                                  [&cli, options] { return Show(cli, *options); });
  AddCommon(show, options.get(), cli);
  cli.AddOutput(show);

  CLI::App* eval = cli.AddCommand(
      *model, "eval", "Measure a checkpoint on its corpus, as its trial does",
      "saffron model eval 17 --split test", [&cli, options] { return Eval(cli, *options); });
  AddCommon(eval, options.get(), cli);
  eval->add_option("--split", options->splits, "train, valid, test")
      ->delimiter(',')
      ->check(CLI::IsMember({"train", "valid", "test"}));
  cli.AddData(eval);
  cli.AddOutput(eval);

  CLI::App* logits = cli.AddCommand(
      *model, "logits",
      "Print JSON: the logit of every token that may come next, as its log-probability",
      "saffron model logits 17 --tokens 12,7,430",
      [&cli, options] { return Logits(cli, *options); });
  AddCommon(logits, options.get(), cli);
  logits->add_option("--tokens", options->tokens, "Ids of the tokens so far, the oldest first")
      ->delimiter(',')
      ->check([](const std::string& id) {  // CLI11 takes an empty one as 0
        return id.empty() ? "want ids of tokens, like 12,7,430" : "";
      })
      ->required();
  cli.AddData(logits);

  CLI::App* routing = cli.AddCommand(
      *model, "routing",
      "Print what the routers of a model with experts did with the test split: load, drops, "
      "entropy, information about the token",
      "saffron model routing 17\nsaffron model routing 17 --table trace --output csv",
      [&cli, options] { return Routing(cli, *options); });
  routing
      ->add_option("FILE", options->file,
                   "A file that a trial with experts left, or the number of the trial")
      ->required();
  routing
      ->add_option("--table", options->table,
                   "experts: a row for each; layers; trace: every choice of the first tokens")
      ->check(CLI::IsMember({"experts", "layers", "trace"}))
      ->capture_default_str();
  cli.AddDatabase(routing);
  cli.AddOutput(routing);

  AddModelDerive(*model, cli);
  AddModelFuse(*model, cli);
}

}  // namespace saffron
