#include "coordinator/cli/command.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coordinator/report/json.h"
#include "core/data/data_store.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

// " (did you mean X?)", or nothing when no candidate is near.
std::string Suggestion(const std::string& given, const std::vector<std::string>& candidates) {
  const std::string nearest = NearestName(given, candidates);
  return nearest.empty() ? "" : absl::StrCat(" (did you mean ", nearest, "?)");
}

std::vector<std::string> CommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_group().empty()) names.push_back(command->get_name());
  }
  return names;
}

// The innermost subcommand that parsing reached.
const CLI::App& Reached(const CLI::App& app) {
  const CLI::App* reached = &app;
  while (!reached->get_subcommands().empty()) reached = reached->get_subcommands().front();
  return *reached;
}

// "saffron data add", as far as parsing got.
std::string ReachedCommand(const CLI::App& app) {
  std::string words = "saffron";
  for (const CLI::App* command = &app; !command->get_subcommands().empty();) {
    command = command->get_subcommands().front();
    absl::StrAppend(&words, " ", command->get_name());
  }
  return words;
}

// CLI11's message for arguments it did not expect names no alternative; ours does.
std::string ExplainExtras(const CLI::App& app) {
  const CLI::App& command = Reached(app);
  const std::vector<std::string> extras = app.remaining(/*recurse=*/true);
  if (extras.empty()) return "unexpected arguments";
  const std::string& given = extras.front();
  if (given.rfind("-", 0) != 0) {
    if (!command.get_subcommands([](const CLI::App*) { return true; }).empty()) {
      return absl::StrCat("unknown command '", given, "'",
                          Suggestion(given, CommandNames(command)));
    }
    return absl::StrCat("unexpected argument '", given, "'");
  }
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  const std::string name = given.substr(0, given.find('='));
  return absl::StrCat("unknown option '", name, "'", Suggestion(name, names));
}

absl::StatusOr<OutputMode> ParseOutputMode(const std::string& given) {
  static const std::map<std::string, OutputMode> kModes = {{"table", OutputMode::kTable},
                                                           {"json", OutputMode::kJson},
                                                           {"csv", OutputMode::kCsv},
                                                           {"quiet", OutputMode::kQuiet}};
  const auto mode = kModes.find(given);
  if (mode != kModes.end()) return mode->second;
  return absl::InvalidArgumentError(
      absl::StrCat("want table, json, csv or quiet, got '", given, "'"));
}

}  // namespace

ExitCode ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return ExitCode::kDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnimplemented:
      return ExitCode::kUsage;
    case absl::StatusCode::kNotFound:
      return ExitCode::kNothingMatched;
    case absl::StatusCode::kUnavailable:
      return ExitCode::kUnreachable;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return ExitCode::kRefused;
    case absl::StatusCode::kCancelled:
      return ExitCode::kInterrupted;
    default:
      return ExitCode::kInternal;
  }
}

CLI::App* Cli::AddCommand(CLI::App& app, const std::string& name, const std::string& description,
                          const std::string& examples, CommandBody body) {
  CLI::App* command = app.add_subcommand(name, description);
  if (!examples.empty()) {
    std::string footer = "Example:";
    size_t begin = 0;
    while (begin <= examples.size()) {
      const size_t end = std::min(examples.find('\n', begin), examples.size());
      absl::StrAppend(&footer, "\n  ", examples.substr(begin, end - begin));
      begin = end + 1;
    }
    command->footer(footer);
  }
  if (body) {
    command->callback([this, command, body = std::move(body)] {
      if (command->get_subcommands().empty()) body_ = body;
    });
  }
  return command;
}

// Environment variables are defaults rather than CLI11's `envname`: that one is applied to the
// options of every command, and the commands share their variables.
Cli::Cli() : data_root(DataStore::DefaultRoot()) {
  const auto environment = [](const char* name, const char* otherwise) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr && *value != '\0' ? value : otherwise);
  };
  database = environment("SAFFRON_DB", kDefaultDatabase);
  coordinator = environment("SAFFRON_COORDINATOR", "");
}

void Cli::AddDatabase(CLI::App* command) {
  command->add_option("--db", database, "Results database, a SQLite file [$SAFFRON_DB]")
      ->type_name("FILE")
      ->check([](const std::string& given) {
        return std::string(given.empty() ? "want the name of a file, got nothing" : "");
      })
      ->capture_default_str();
}

void Cli::AddCoordinator(CLI::App* command) {
  command->add_option("--coordinator", coordinator, "Coordinator's address [$SAFFRON_COORDINATOR]")
      ->type_name("HOST:PORT");
}

void Cli::AddData(CLI::App* command) {
  command->add_option("--data", data_root, "Data directory: corpora [$SAFFRON_DATA]")
      ->type_name("DIR")
      ->capture_default_str();
}

void Cli::AddLogFormat(CLI::App* command) {
  command
      ->add_option_function<std::string>(
          "--log-format",
          [this](const std::string& given) {
            log_json = given == "json";
            SetLogFormat(log_json);
          },
          "Messages on stderr as text, or as one JSON object a line, every event included")
      ->type_name("text|json")
      ->check(CLI::IsMember({"text", "json"}));
}

void Cli::AddNetworkFilesystem(CLI::App* command) {
  command->add_flag("--allow-network-filesystem", allow_network_filesystem,
                    "Keep the database on a network file system all the same: only where no other "
                    "machine ever opens it");
}

void Cli::AddOutput(CLI::App* command) {
  command
      ->add_option_function<std::string>(
          "--output",
          [this](const std::string& given) {
            const absl::StatusOr<OutputMode> mode = ParseOutputMode(given);
            if (!mode.ok()) {
              throw CLI::ValidationError("--output", std::string(mode.status().message()));
            }
            output = *mode;
          },
          "How to print data: table, json, csv or quiet [$SAFFRON_OUTPUT, else table]")
      ->type_name("MODE");
}

absl::Status Cli::ReadOutputMode(const CLI::App& command) {
  const CLI::Option* option = command.get_option_no_throw("--output");
  const char* value = std::getenv("SAFFRON_OUTPUT");
  if (option == nullptr || option->count() > 0 || value == nullptr || *value == '\0') {
    return absl::OkStatus();
  }
  const absl::StatusOr<OutputMode> mode = ParseOutputMode(value);
  if (!mode.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("SAFFRON_OUTPUT: ", mode.status().message()));
  }
  output = *mode;
  return absl::OkStatus();
}

int Cli::Main(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ExtrasError&) {
    PrintMessage(absl::StrCat(ExplainExtras(app), "; see '", ReachedCommand(app), " --help'"));
    return static_cast<int>(ExitCode::kUsage);
  } catch (const CLI::ParseError& error) {
    PrintMessage(absl::StrCat(error.what(), "; see '", ReachedCommand(app), " --help'"));
    return static_cast<int>(ExitCode::kUsage);
  }
  if (!body_) {
    std::fputs(app.help().c_str(), stderr);
    return static_cast<int>(ExitCode::kUsage);
  }
  absl::StatusOr<ExitCode> code = ExitCode::kDone;
  if (const absl::Status mode = ReadOutputMode(Reached(app)); !mode.ok()) {
    code = mode;
  } else {
    code = body_();
  }
  std::cout.flush();
  const bool written = std::cout.good() && std::fflush(stdout) == 0;
  if (code.ok() && !written) {
    code = absl::InternalError(absl::StrCat("cannot write to standard output: ", strerror(errno)));
  }
  if (code.ok()) return static_cast<int>(*code);
  PrintMessage(std::string(code.status().message()));
  return static_cast<int>(ExitCodeOf(code.status()));
}

bool UseColour(int fd) {
  const char* term = std::getenv("TERM");
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(fd) && term != nullptr && std::strcmp(term, "dumb") != 0 &&
         (no_colour == nullptr || *no_colour == '\0');
}

namespace {
std::atomic<bool> g_log_json = false;
}  // namespace

void SetLogFormat(bool json) { g_log_json = json; }

void PrintMessage(const std::string& message) {
  if (!g_log_json) {
    std::fprintf(stderr, "saffron: %s\n", message.c_str());
    return;
  }
  const nlohmann::ordered_json line = {
      {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone())},
      {"message", message}};
  std::fputs((JsonText(line) + "\n").c_str(), stderr);
}

}  // namespace saffron
