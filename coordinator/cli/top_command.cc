// `saffron top`: roadmaps, workers and running trials of a coordinator, as they change.

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/connect.h"
#include "coordinator/cli/printing.h"
#include "coordinator/cli/progress.h"
#include "coordinator/cli/roadmap_watch.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/table.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

using Align = TextTable::Align;

constexpr int kRunningShown = 24, kFailuresShown = 3;

// Of a roadmap's revision, when this command first saw it: what its pace is reckoned from.
struct Seen {
  v1::RoadmapStatus status;
  absl::Time at;
};

class Top {
 public:
  Top(const Cli& cli, Coordinator coordinator, std::unique_ptr<ReadSource> source)
      : coordinator_(std::move(coordinator)),
        source_(std::move(source)),
        style_{.width = TableWidth(), .indent = 0, .colour = UseColour(STDOUT_FILENO)} {}

  // The screen's text at present.
  absl::StatusOr<std::string> Frame() {
    std::ostringstream out;
    v1::ListWorkersResponse fleet;
    const auto context = Coordinator::Context();
    RETURN_IF_ERROR(coordinator_.StatusOf(
        coordinator_.stub->ListWorkers(context.get(), v1::ListWorkersRequest(), &fleet)));
    AddFleet(fleet, out);
    RETURN_IF_ERROR(AddRoadmaps(out));
    RETURN_IF_ERROR(AddRunning(out));
    RETURN_IF_ERROR(AddFailures(out));
    return out.str();
  }

 private:
  void AddFleet(const v1::ListWorkersResponse& fleet, std::ostream& out) {
    int64_t slots = 0, leased = 0, barred = 0;
    for (const v1::WorkerStatus& worker : fleet.workers()) {
      slots += worker.slots();
      leased += worker.leased();
      barred += !worker.reason().empty();
    }
    out << coordinator_.address << "  " << absl::FormatTime("%H:%M:%S", absl::Now(), zone_) << "  "
        << Plural(fleet.workers_size(), "worker") << ", " << leased << " of "
        << Plural(slots, "slot") << " busy";
    if (barred > 0) out << ", " << barred << " get no work ('saffron worker list' says why)";
    out << "\n\n";
  }

  absl::Status AddRoadmaps(std::ostream& out) {
    ASSIGN_OR_RETURN(const ResultTable names,
                     source_->Query("SELECT name FROM roadmaps ORDER BY id DESC LIMIT 20"));
    TextTable table({{.title = "roadmap"},
                     {.title = "", .align = Align::kLeft, .elastic = true},
                     {.title = "running", .align = Align::kRight},
                     {.title = "", .elastic = true}});
    for (const auto& row : names.rows) {
      const std::string name = FormatCell(row[0]);
      ASSIGN_OR_RETURN(const v1::RoadmapStatus status, CurrentStatus(coordinator_, name));
      const absl::Time now = absl::Now();
      const auto [seen, is_new] = seen_.try_emplace(name, Seen{status, now});
      if (seen->second.status.revision() != status.revision()) seen->second = {status, now};
      const bool over = Finished(status) == status.total();
      // Those that are over only while there is nothing newer to look at.
      if (over && table.rows() > 0) continue;
      std::string findings = FindingsText(status);
      if (status.priority() != 1) {
        absl::StrAppend(&findings, findings.empty() ? "" : ", ", "priority ",
                        FormatNumber(status.priority()));
      }
      table.AddRow(
          {name, ProgressText(status, PaceOf(seen->second.status, status, now - seen->second.at)),
           absl::StrCat(status.running()), findings});
    }
    if (table.rows() == 0) {
      out << "no roadmap yet; 'saffron submit SWEEP' hands one over\n";
      return absl::OkStatus();
    }
    table.Print(style_, out);
    return absl::OkStatus();
  }

  absl::Status AddRunning(std::ostream& out) {
    // The newest of what is measured: a learning curve's last point.
    static constexpr char kSql[] =
        "SELECT t.id, a.number, w.name, "
        "(julianday('now') - 2440587.5) * 86400 - a.assigned_us / 1e6, "
        "(SELECT max(m.step) FROM metrics m WHERE m.trial = t.id), "
        "(SELECT m.key || ' ' || printf('%.4g', m.value) FROM metrics m WHERE m.trial = t.id "
        " ORDER BY m.step DESC, m.key LIMIT 1), "
        "(SELECT rv.label FROM roadmap_trials rt JOIN roadmaps r ON r.id = rt.roadmap AND "
        " r.revision = rt.revision JOIN roadmap_variants rv ON rv.roadmap = r.id AND "
        " rv.revision = r.revision AND rv.variant = t.variant WHERE rt.trial = t.id LIMIT 1), "
        "count(*) OVER () "
        "FROM trials t JOIN attempts a ON a.trial = t.id AND a.number = t.attempts "
        "JOIN workers w ON w.id = a.worker WHERE t.state = 'leased' "
        "ORDER BY a.assigned_us, t.id LIMIT ";
    ASSIGN_OR_RETURN(const ResultTable rows, source_->Query(absl::StrCat(kSql, kRunningShown)));
    if (rows.rows.empty()) return absl::OkStatus();
    TextTable table({{.title = "trial", .align = Align::kRight},
                     {.title = "worker", .elastic = true},
                     {.title = "for", .align = Align::kRight},
                     {.title = "step", .align = Align::kRight},
                     {.title = "newest"},
                     {.title = "variant", .elastic = true}});
    for (const auto& row : rows.rows) {
      const double* seconds = std::get_if<double>(&row[3]);
      const int64_t attempt = std::get<int64_t>(row[1]);
      table.AddRow(
          {attempt == 1 ? FormatCell(row[0]) : absl::StrCat(FormatCell(row[0]), ".", attempt),
           FormatCell(row[2]), seconds == nullptr ? "" : FormatSeconds(std::max(0.0, *seconds)),
           FormatCell(row[4]), FormatCell(row[5]), FormatCell(row[6])});
    }
    out << "\n";
    table.Print(style_, out);
    const int64_t all = std::get<int64_t>(rows.rows[0][7]);
    if (all > kRunningShown) out << "... and " << all - kRunningShown << " more\n";
    return absl::OkStatus();
  }

  absl::Status AddFailures(std::ostream& out) {
    ASSIGN_OR_RETURN(
        const ResultTable rows,
        source_->Query(absl::StrCat(
            "SELECT strftime('%H:%M:%S', e.at_us / 1e6, 'unixepoch', 'localtime'), e.trial, "
            "e.attempt, e.reason FROM events e WHERE e.kind = 'attempt_failed' AND e.id > "
            "(SELECT coalesce(max(id), 0) - 5000 FROM events) ORDER BY e.id DESC LIMIT ",
            kFailuresShown)));
    if (rows.rows.empty()) return absl::OkStatus();
    TextTable table({{.title = "failed"},
                     {.title = "trial", .align = Align::kRight},
                     {.title = "", .elastic = true}});
    for (const auto& row : rows.rows) {
      table.AddRow({FormatCell(row[0]), absl::StrCat(FormatCell(row[1]), ".", FormatCell(row[2])),
                    FormatCell(row[3])});
    }
    out << "\n";
    table.Print(style_, out);
    return absl::OkStatus();
  }

  Coordinator coordinator_;
  std::unique_ptr<ReadSource> source_;
  TextTable::Style style_;
  const absl::TimeZone zone_ = absl::LocalTimeZone();
  std::map<std::string, Seen> seen_;
};

// In place of what the screen shows: every line to its end, then all below. One write, so that
// nothing flickers, and whatever interrupts leaves a whole picture.
void Show(const std::string& frame) {
  std::cout << "\033[H" << absl::StrReplaceAll(frame, {{"\n", "\033[K\n"}}) << "\033[J"
            << std::flush;
}

absl::StatusOr<std::unique_ptr<Top>> Connect(const Cli& cli, absl::Duration within) {
  ASSIGN_OR_RETURN(Coordinator coordinator, ConnectToCoordinatorOf(cli, within));
  ASSIGN_OR_RETURN(std::unique_ptr<ReadSource> source, OpenSource(cli));
  return std::make_unique<Top>(cli, std::move(coordinator), std::move(source));
}

absl::StatusOr<ExitCode> Watch(const Cli& cli, double every_s) {
  ASSIGN_OR_RETURN(std::unique_ptr<Top> top, Connect(cli, absl::Seconds(5)));
  const bool terminal = isatty(STDOUT_FILENO);
  if (terminal) std::cout << "\033[2J";
  while (true) {
    const absl::StatusOr<std::string> frame = top->Frame();
    if (!terminal) {
      RETURN_IF_ERROR(frame.status());
      std::cout << *frame;
      return ExitCode::kDone;
    }
    if (frame.ok()) {
      Show(*frame);
    } else if (absl::IsUnavailable(frame.status())) {
      Show(absl::StrCat(std::string(frame.status().message()), "; waiting for it to come back\n"));
      ASSIGN_OR_RETURN(top, Connect(cli, absl::InfiniteDuration()));
      continue;
    } else {
      return frame.status();
    }
    absl::SleepFor(absl::Seconds(every_s));
  }
}

}  // namespace

void AddTopCommand(CLI::App& app, Cli& cli) {
  auto every_s = std::make_shared<double>(1);
  CLI::App* command =
      cli.AddCommand(app, "top", "Watch roadmaps, workers and running trials, until interrupted",
                     "saffron top\nsaffron top --coordinator 127.0.0.1:7411 | cat    # once",
                     [&cli, every_s] { return Watch(cli, *every_s); });
  command->add_option("--every", *every_s, "Time between looks")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  cli.AddCoordinator(command);
  cli.AddDatabase(command);
}

}  // namespace saffron
