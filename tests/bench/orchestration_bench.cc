// What orchestration costs, end to end with real processes: `saffron run` on trials that do
// nothing, and, for a sweep given as argument, one worker against two.
//
//   build/release/bench/orchestration_bench
//   build/release/bench/orchestration_bench sweeps/quickstart.yaml   (uses your corpora)

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

struct Cost {
  double wall_s = 0, cpu_s = 0;
};

double CpuOfChildren() {
  rusage usage = {};
  getrusage(RUSAGE_CHILDREN, &usage);
  return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
         1e-6 * (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// `saffron run ARGUMENTS`, quietly. CPU time is that of coordinator, workers and slots together.
Cost Run(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {SAFFRON_BINARY, "run", "--output", "quiet"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  const double cpu = CpuOfChildren();
  const auto begun = std::chrono::steady_clock::now();
  pid_t pid = -1;
  int status = -1;
  if (posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ) != 0 ||
      waitpid(pid, &status, 0) != pid || status != 0) {
    std::fprintf(stderr, "saffron run failed; run it by hand to see why\n");
    exit(1);
  }
  posix_spawn_file_actions_destroy(&actions);
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begun;
  return {wall.count(), CpuOfChildren() - cpu};
}

void MeasureNoops(const std::string& dir) {
  constexpr int kTrials = 10'000;
  const std::string sweep = dir + "/noop.yaml";
  std::ofstream(sweep) << "version: 1\nname: noop\nbaseline: {model.type: noop}\nseeds: {count: "
                       << kTrials << "}\n";
  std::printf("%d trials that do nothing, results durable on disk\n", kTrials);
  std::printf("  workers  wall ms/trial  CPU ms/trial (all processes)\n");
  for (const char* workers : {"1", "2"}) {
    const Cost cost = Run({sweep, "--workers", workers, "--db", dir + "/noop" + workers + ".db"});
    std::printf("  %7s  %13.3f  %12.3f\n", workers, 1e3 * cost.wall_s / kTrials,
                1e3 * cost.cpu_s / kTrials);
    std::fflush(stdout);
  }
}

void MeasureSpeedUp(const std::string& dir, const std::string& sweep) {
  Run({sweep, "--workers", "2", "--db", dir + "/warm.db"});  // fills the caches on disk
  const Cost one = Run({sweep, "--workers", "1", "--db", dir + "/one.db"});
  const Cost two = Run({sweep, "--workers", "2", "--db", dir + "/two.db"});
  std::printf("%s, caches warm\n  1 worker %.2f s, 2 workers %.2f s: %.2f times as fast\n",
              sweep.c_str(), one.wall_s, two.wall_s, one.wall_s / two.wall_s);
}

}  // namespace

int main(int argc, char** argv) {
  std::string dir = (std::filesystem::temp_directory_path() / "orchestration.XXXXXX").string();
  if (mkdtemp(dir.data()) == nullptr) return 1;
  MeasureNoops(dir);
  for (int i = 1; i < argc; ++i) MeasureSpeedUp(dir, argv[i]);
  std::filesystem::remove_all(dir);
  return 0;
}
