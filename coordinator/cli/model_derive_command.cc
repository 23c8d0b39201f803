// `saffron model derive`: a checkpoint grown into a larger one that computes the same.

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/cli/checkpoint_path.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/printing.h"
#include "core/base/status_macros.h"
#include "core/derive/growable_file.h"
#include "core/transformer/transformer_init.h"

namespace saffron {
namespace {

struct DeriveOptions {
  std::string from, to, role = "last";
  std::vector<std::string> ops;
  uint64_t seed = 1;
  bool reset_state = false, force = false;
};

absl::StatusOr<ExitCode> Grow(const Cli& cli, const DeriveOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<DeriveOp> ops,
                   ParseDeriveOps(absl::StrJoin(options.ops, ",")));
  ASSIGN_OR_RETURN(const std::string from, CheckpointPath(cli, options.from, options.role));
  RETURN_IF_ERROR(CheckCheckpointTarget(cli, from, options.to, options.force));
  ASSIGN_OR_RETURN(
      const GrownFile grown,
      GrowFile(from, ops,
               {.seed = options.seed, .keep_state = !options.reset_state, .fresh = DrawTransformer},
               options.to));
  const DerivationReport& report = grown.report;
  PrintToStdout(cli, {.columns = {"file", "sha256", "ops", "parameters_before", "parameters_after",
                                  "max_logit_change", "max_logit_change_float", "probe_tokens"},
                      .rows = {{options.to, grown.written.sha256, report.ops,
                                grown.parameters_before, grown.parameters_after, report.max_change,
                                report.max_change_float, report.probe_tokens}}});
  return ExitCode::kDone;
}

}  // namespace

void AddModelDerive(CLI::App& model, Cli& cli) {
  auto options = std::make_shared<DeriveOptions>();
  CLI::App* command = cli.AddCommand(
      model, "derive", "Grow a transformer's checkpoint into a larger one that computes the same",
      "saffron model derive best.safetensors --op mlp:x2 --op hidden:128 -o grown.safetensors\n"
      "saffron model derive best.safetensors --op 'layers:+1@0,heads:8@0-1' -o grown.safetensors",
      [&cli, options] { return Grow(cli, *options); });
  command
      ->add_option("FILE", options->from,
                   "A checkpoint of a transformer, or the number of a trial that left one")
      ->required();
  command
      ->add_option("--checkpoint", options->role,
                   "Of a trial: the last step's, with the optimiser's state, or the best "
                   "evaluation's")
      ->check(CLI::IsMember({"best", "last"}))
      ->capture_default_str();
  command
      ->add_option("--op", options->ops,
                   absl::StrCat("Operators NAME:SIZE[@LAYERS], in this order; names: ",
                                absl::StrJoin(DeriveOpNames(), ", "),
                                "; sizes: 256, +64 or x2; layers: 0-1+3"))
      ->required()
      ->type_name("OPS");
  command->add_option("-o,--out", options->to, "The file to write")->required()->type_name("FILE");
  command->add_flag("--force", options->force, "Replace the file of --out");
  command->add_option("--seed", options->seed, "Of what is free in new tensors")
      ->capture_default_str();
  command->add_flag("--reset-state", options->reset_state,
                    "Leave the optimiser's state behind instead of carrying it over");
  cli.AddDatabase(command);
  cli.AddOutput(command);
}

}  // namespace saffron
