#include "slot_child.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "worker/slot_server.h"

namespace saffron {
namespace {

absl::StatusOr<TrialResult> Sleep(absl::Duration duration, const std::atomic<bool>* stop) {
  for (const absl::Time until = absl::Now() + duration; absl::Now() < until;) {
    if (stop != nullptr && *stop) return absl::CancelledError("stopped");
    absl::SleepFor(absl::Milliseconds(1));
  }
  return TrialResult{.message = "", .metrics = {{"test/perplexity", 2.0}}};
}

absl::StatusOr<TrialResult> Behave(const v1::Assignment& assignment, const TrialControls& controls,
                                   MeasurementSink& sink) {
  const std::vector<std::string> words = absl::StrSplit(assignment.label(), ' ');
  int amount = 0;
  if (words.size() > 1 && !absl::SimpleAtoi(words[1], &amount)) std::abort();
  if (words[0] == "sleep") return Sleep(absl::Milliseconds(amount), &controls.stop);
  if (words[0] == "hang") return Sleep(absl::Hours(1), nullptr);
  if (words[0] == "fail") return absl::InvalidArgumentError("cannot be trained");
  if (words[0] == "nocorpus") return NoCorpusError(absl::NotFoundError("no corpus here"));
  if (words[0] == "throw") throw std::runtime_error("surprise");
  if (words[0] == "exit") _exit(7);
  if (words[0] == "crash") {
    std::signal(SIGSEGV, SIG_DFL);  // a sanitizer would make an exit code of it
    std::raise(SIGKILL == amount ? SIGKILL : SIGSEGV);
  }
  if (words[0] == "diverge") {
    return TrialResult{
        .outcome = TrainOutcome::kDiverged, .message = "loss is not finite", .metrics = {}};
  }
  if (words[0] == "allocate") {
    std::vector<char> big(static_cast<size_t>(amount) << 20, 'x');
    return TrialResult{.message = "", .metrics = {{"big", static_cast<double>(big.back())}}};
  }
  for (int i = 0; i < amount; ++i) sink.Record({"train/loss", i, 1.0 / (i + 1)});
  return TrialResult{.message = "",
                     .metrics = {{"test/perplexity", 2.0}, {"train/steps_done", 30.0}}};
}

}  // namespace

std::vector<std::string> SlotArgv() { return {"/proc/self/exe", "slot"}; }

v1::Assignment AssignmentFor(int64_t trial, const std::string& label, int attempt) {
  v1::Assignment assignment;
  assignment.mutable_ref()->set_trial_id(trial);
  assignment.mutable_ref()->set_attempt(attempt);
  assignment.set_label(label);
  return assignment;
}

}  // namespace saffron

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "slot") saffron::ServeSlot({.body = saffron::Behave});
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
