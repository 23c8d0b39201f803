#include "coordinator/cli/sweep_input.h"

#include <algorithm>
#include <cctype>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/status_macros.h"

namespace saffron {

void SweepInput::AddOptions(CLI::App* command) {
  command->add_option("SWEEP", path, "Sweep file: YAML, JSON or textproto")->required();
  command
      ->add_option(
          "--set", set,
          "Give a constant of the file, or a key of its baseline, another value; repeatable")
      ->type_name("NAME=VALUE")
      ->take_all()
      ->expected(1)
      ->allow_extra_args(false);
  command->add_option("--seeds", seeds, "Number of seeds per variant, instead of the file's")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000));
}

absl::StatusOr<v1::SweepSpec> SweepInput::Read() const {
  ASSIGN_OR_RETURN(v1::SweepSpec spec, ReadSweepFile(path, {.set = set}));
  if (seeds > 0) spec.mutable_seeds()->set_count(seeds);
  return spec;
}

std::string SweepInput::CommandLine() const {
  std::string line = ShellWord(path);
  for (const std::string& setting : set) absl::StrAppend(&line, " --set ", ShellWord(setting));
  if (seeds > 0) absl::StrAppend(&line, " --seeds ", seeds);
  return line;
}

std::string ShellWord(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || std::string_view("_-./=,:+@%").find(c) != std::string_view::npos;
  });
  if (plain) return text;
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

}  // namespace saffron
