#include "core/data/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"

namespace saffron {
namespace {

constexpr size_t kOutputBytesMax = 64 << 10;

struct Pipe {
  int read = -1, write = -1;

  ~Pipe() {
    CloseWrite();
    if (read >= 0) ::close(read);
  }
  absl::Status Open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return FileError("make", "pipe", errno);
    read = ends[0];
    write = ends[1];
    return absl::OkStatus();
  }
  void CloseWrite() {
    if (write >= 0) ::close(std::exchange(write, -1));
  }
};

// Reads both pipes until the other side has closed them, keeping the end of what came.
void Drain(const Pipe& output, const Pipe& errors, ProcessResult* result) {
  std::array<pollfd, 2> polled = {pollfd{output.read, POLLIN, 0}, pollfd{errors.read, POLLIN, 0}};
  const std::array<std::string*, 2> texts = {&result->output, &result->errors};
  std::array<char, 1 << 14> buffer;
  for (int open = 2; open > 0;) {
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    for (size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      const ssize_t got = ::read(polled[i].fd, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        polled[i].fd = -1;
        --open;
        continue;
      }
      texts[i]->append(buffer.data(), got);
      if (texts[i]->size() > 2 * kOutputBytesMax) {
        texts[i]->erase(0, texts[i]->size() - kOutputBytesMax);
      }
    }
  }
}

absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, const std::string& directory,
                            const Pipe& output, const Pipe& errors) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, errors.write, STDERR_FILENO);
  if (!directory.empty()) ::posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());

  // Our threads may block or ignore signals that must stop the child.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  pid_t pid = 0;
  const int error =
      ::posix_spawnp(&pid, arguments[0], &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return FileError("run", argv[0], error);
  return pid;
}

}  // namespace

std::string ProcessResult::Explain() const {
  std::string text = signal != 0 ? absl::StrCat("killed by signal ", signal)
                                 : absl::StrCat("exit code ", exit_code);
  std::string_view tail = errors;
  while (!tail.empty() && (tail.back() == '\n' || tail.back() == ' ')) tail.remove_suffix(1);
  constexpr size_t kTail = 600;
  if (tail.size() > kTail) {
    tail.remove_prefix(tail.size() - kTail);
    tail.remove_prefix(std::min(tail.size(), tail.find('\n') + 1));
  }
  if (!tail.empty()) absl::StrAppend(&text, ": ", std::string(tail));
  return text;
}

absl::StatusOr<ProcessResult> RunProcess(const std::vector<std::string>& argv,
                                         const std::string& directory) {
  Pipe output, errors;
  RETURN_IF_ERROR(output.Open());
  RETURN_IF_ERROR(errors.Open());
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(argv, directory, output, errors));
  output.CloseWrite();
  errors.CloseWrite();
  ProcessResult result;
  Drain(output, errors, &result);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return FileError("wait for", argv[0], errno);
  }
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

absl::StatusOr<TemporaryFolder> TemporaryFolder::Make() {
  const char* given = ::getenv("TMPDIR");
  std::string path =
      absl::StrCat(given == nullptr || *given == '\0' ? "/tmp" : given, "/saffron.XXXXXX");
  if (::mkdtemp(path.data()) == nullptr) return FileError("make folder", path, errno);
  return TemporaryFolder(std::move(path));
}

TemporaryFolder::TemporaryFolder(TemporaryFolder&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace saffron
