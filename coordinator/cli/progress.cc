#include "coordinator/cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/cli/command.h"
#include "coordinator/report/number_format.h"
#include "coordinator/report/text_width.h"

namespace saffron {
namespace {

constexpr absl::Duration kTerminalEvery = absl::Milliseconds(200);
constexpr absl::Duration kLineEvery = absl::Seconds(5);
constexpr int kBarWidth = 24;
constexpr double kKnownShare = 0.05;

int TerminalWidth(int fd) {
  winsize size = {};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string Rate(double trials_per_second) {
  if (trials_per_second >= 1)
    return absl::StrFormat("%.*f/s", trials_per_second < 10 ? 1 : 0, trials_per_second);
  if (trials_per_second * 60 >= 1) return absl::StrFormat("%.1f/min", trials_per_second * 60);
  return absl::StrFormat("%.1f/h", trials_per_second * 3600);
}

std::string Remaining(absl::Duration remaining) {
  const double seconds = absl::ToDoubleSeconds(remaining);
  if (seconds < 60) return absl::StrFormat("%.0f s", std::max(1.0, std::ceil(seconds)));
  if (seconds < 3600) return absl::StrFormat("%.0f min", std::ceil(seconds / 60));
  return absl::StrFormat("%.0f h %02.0f min", std::floor(seconds / 3600),
                         std::floor(std::fmod(seconds, 3600) / 60));
}

std::string Bar(const v1::RoadmapStatus& status, bool colour) {
  const double share =
      status.total() == 0 ? 1 : static_cast<double>(Finished(status)) / status.total();
  const int full = static_cast<int>(share * kBarWidth);
  std::string bar(full, '=');
  if (full < kBarWidth) bar += '>';
  bar.resize(kBarWidth, ' ');
  return colour ? absl::StrCat("[\033[32m", bar, "\033[0m]") : absl::StrCat("[", bar, "]");
}

}  // namespace

int64_t Finished(const v1::RoadmapStatus& status) {
  return status.succeeded() + status.diverged() + status.pruned() + status.failed() +
         status.cancelled();
}

Pace PaceOf(const v1::RoadmapStatus& first, const v1::RoadmapStatus& now, absl::Duration elapsed) {
  const double seconds = absl::ToDoubleSeconds(elapsed);
  const int64_t trials = Finished(now) - Finished(first);
  Pace pace;
  if (seconds <= 0 || trials <= 0) return pace;
  pace.trials_per_second = trials / seconds;
  const double cost = now.cost_done() - first.cost_done();
  const double left = std::max(0.0, now.cost_total() - now.cost_done());
  // Costs are estimates of any scale; without them, trials count alike.
  const double ran = cost > 0 ? cost : static_cast<double>(trials);
  const double open = cost > 0 ? left : static_cast<double>(now.total() - Finished(now));
  if (ran >= kKnownShare * (ran + open)) pace.remaining = elapsed * (open / ran);
  return pace;
}

std::string ProgressText(const v1::RoadmapStatus& status, const Pace& pace) {
  const int64_t done = Finished(status);
  const int percent = status.total() == 0 ? 100 : static_cast<int>(100 * done / status.total());
  std::string text = absl::StrFormat("%d/%d (%d %%)", done, status.total(), percent);
  if (pace.trials_per_second > 0) absl::StrAppend(&text, ", ", Rate(pace.trials_per_second));
  if (done < status.total() && pace.remaining < absl::InfiniteDuration()) {
    absl::StrAppend(&text, ", about ", Remaining(pace.remaining), " left");
  }
  return text;
}

std::string FindingsText(const v1::RoadmapStatus& status) {
  std::string text;
  const auto add = [&text](const std::string& part) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", part);
  };
  if (status.has_best()) {
    add(absl::StrCat("best ", status.metric(), " ", FormatNumber(status.best_value()), " (trial ",
                     status.best_trial(), ": ", status.best_label(), ")"));
  }
  if (status.diverged() > 0) add(absl::StrCat(status.diverged(), " diverged"));
  if (status.failed() > 0) add(absl::StrCat(status.failed(), " failed"));
  if (status.cancelled() > 0) add(absl::StrCat(status.cancelled(), " cancelled"));
  if (status.roadmap_paused()) {
    add(status.roadmap_paused_reason().empty()
            ? "paused"
            : absl::StrCat("paused: ", status.roadmap_paused_reason()));
  }
  if (!status.missing_corpora().empty()) add(status.missing_corpora());
  if (!status.paused().empty()) add(absl::StrCat("PAUSED: ", status.paused()));
  return text;
}

Progress::Progress(int fd) : fd_(fd), terminal_(isatty(fd)), colour_(UseColour(fd)) {}

Progress::~Progress() = default;

void Progress::Write(const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(fd_, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

void Progress::Erase() {
  if (lines_ > 0) Write(absl::StrFormat("\r\033[%dA\033[J", lines_));
  lines_ = 0;
}

void Progress::Update(const v1::RoadmapStatus& status, absl::Time now) {
  if (!first_.has_value() || first_->revision() != status.revision()) {
    first_ = status;
    begun_ = now;
  }
  newest_ = status;
}

void Progress::Tick(absl::Time now) {
  if (!newest_.has_value() || now - drawn_ < (terminal_ ? kTerminalEvery : kLineEvery)) return;
  Draw(now);
}

void Progress::Draw(absl::Time now) {
  drawn_ = now;
  const Pace pace = PaceOf(*first_, *newest_, now - begun_);
  const std::string progress = ProgressText(*newest_, pace), findings = FindingsText(*newest_);
  if (!terminal_) {
    // Where nobody watches, a line says something new or nothing at all.
    const std::string text = absl::StrCat(progress, findings.empty() ? "" : "; ", findings);
    const std::string news = absl::StrCat(Finished(*newest_), findings);
    if (news != drawn_text_) Write(absl::StrCat("saffron: ", text, "\n"));
    drawn_text_ = news;
    return;
  }
  const int width = TerminalWidth(fd_) - 1;
  Erase();
  Write(absl::StrCat(Bar(*newest_, colour_), " ",
                     CutToWidth(absl::StrCat(progress, ", ", newest_->running(), " running"),
                                width - kBarWidth - 3),
                     "\n", CutToWidth(OneLine(findings), width), "\n"));
  lines_ = 2;
}

void Progress::Message(const std::string& text) {
  if (terminal_) Erase();
  Write(absl::StrCat("saffron: ", text, "\n"));
  if (terminal_ && newest_.has_value()) Draw(absl::Now());
}

void Progress::Finish(absl::Time now) {
  if (newest_.has_value()) Draw(now);
}

}  // namespace saffron
