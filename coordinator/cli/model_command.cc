// `saffron model`: a checkpoint by hand: what is in it, how it does, what it predicts.

#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/cli/checkpoint_path.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/printing.h"
#include "core/base/status_macros.h"
#include "core/train/stored_model.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

struct ModelOptions {
  std::string file, role = "best";
  std::vector<std::string> splits = {"train", "valid", "test"};
  std::vector<int32_t> tokens;
};

absl::StatusOr<ExitCode> Show(const Cli& cli, const ModelOptions& options) {
  ASSIGN_OR_RETURN(const std::string path, CheckpointPath(cli, options.file, options.role));
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  ASSIGN_OR_RETURN(const CheckpointHeader header, ReadCheckpointHeader(file->content()));
  ResultTable table{.columns = {"name", "what", "type"}, .rows = {}};
  const auto add = [&](const std::string& name, const std::string& what) {
    table.rows.push_back({name, what, std::string()});
  };
  add("content", header.content);
  add("step", absl::StrCat(header.step));
  add("seed", absl::StrCat(header.seed));
  add("data", header.data_fingerprint);
  add("numerics", absl::StrCat(header.numerics));
  for (const auto& [key, value] : header.params) add(key, ParamValueText(value));
  for (const char* key : {"shape", "init_from", "derived"}) {
    const auto found = file->content().metadata().find(key);
    if (found != file->content().metadata().end()) add(key, found->second);
  }
  for (const auto& [name, tensor] : file->content().tensors()) {
    table.rows.push_back({name, absl::StrCat("[", absl::StrJoin(tensor.shape, ", "), "]"),
                          std::string(TensorTypeName(tensor.type))});
  }
  PrintToStdout(cli, table);
  return ExitCode::kDone;
}

// Reads the model, with what it needs of this machine.
class OpenModel {
 public:
  explicit OpenModel(const Cli& cli)
      : data_(cli.data_root), statistics_({.dir = StatisticsCache::DefaultDir()}) {}

  absl::StatusOr<std::unique_ptr<StoredModel>> Open(const std::string& path) {
    return StoredModel::Open(path, {.data = &data_, .statistics = &statistics_});
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
  ASSIGN_OR_RETURN(const std::unique_ptr<StoredModel> model, opener.Open(path));
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
  ASSIGN_OR_RETURN(const std::unique_ptr<StoredModel> model, opener.Open(path));
  ASSIGN_OR_RETURN(std::vector<double> nats, model->NextTokenNats(options.tokens));
  for (double& value : nats) value = -value;
  nlohmann::ordered_json out;
  out["tokens"] = options.tokens;
  out["logits"] = nats;
  std::cout << out.dump() << "\n";
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
  CLI::App* model =
      cli.AddCommand(app, "model", "Checkpoints: show, eval, logits, derive",
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
      ->required();
  cli.AddData(logits);

  AddModelDerive(*model, cli);
}

}  // namespace saffron
