#include "coordinator/cli/command.h"

int main(int argc, char** argv) {
  CLI::App app(
      "Saffron runs architecture ablations: one sweep file, hundreds of variants, one table.",
      "saffron");
  app.set_version_flag("--version", "saffron 0.1.0");
  app.require_subcommand(0, 1);
  saffron::Cli cli;
  return cli.Main(app, argc, argv);
}
