#include "coordinator/sweep/sweep_reader.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/sweep/document.h"
#include "coordinator/sweep/problems.h"
#include "coordinator/sweep/set_option.h"
#include "coordinator/sweep/spec_from_document.h"
#include "coordinator/sweep/spec_from_message.h"
#include "coordinator/sweep/sweep_plan.h"
#include "core/base/status_macros.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

// Of a source "sweeps/Data scale.yaml": "Data scale"; characters that a name may not have become
// '-'.
std::string NameFromSource(std::string_view source) {
  std::string name = std::filesystem::path(source).stem().string();
  for (char& c : name) {
    const bool good = absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.' || c == ' ';
    if (!good) c = '-';
  }
  name = std::string(absl::StripPrefix(absl::StripAsciiWhitespace(name.substr(0, 100)), "-"));
  return name.empty() ? "sweep" : name;
}

v1::SweepSpec Parse(std::string_view text, SweepFormat format, Problems& problems) {
  if (format == SweepFormat::kTextproto) return SpecFromTextproto(text, problems);
  const std::optional<DocumentNode> root =
      format == SweepFormat::kJson ? ParseJson(text, problems) : ParseYaml(text, problems);
  if (!root.has_value()) return {};
  if (format == SweepFormat::kJson && SpellsMessage(*root)) {
    return SpecFromMessageJson(text, *root, problems);
  }
  return SpecFromDocument(*root, problems);
}

absl::Status FileError(const std::string& path, std::string_view what) {
  Problems problems(path);
  problems.Add(Place(), "", what);
  return problems.ToStatus();
}

// The file of the same folder whose name is nearest.
std::string NearestFile(const std::string& path) {
  const std::filesystem::path wanted(path);
  const std::filesystem::path folder = wanted.has_parent_path() ? wanted.parent_path() : ".";
  std::vector<std::string> names;
  std::error_code ignored;
  for (std::filesystem::directory_iterator at(folder, ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    // A folder of very many files is not searched.
    if (names.size() >= 1000) break;
    names.push_back(at->path().filename().string());
  }
  const std::string near = NearestName(wanted.filename().string(), names);
  return near.empty() ? "" : (wanted.parent_path() / near).string();
}

std::string TooLarge(std::string_view size) {
  return absl::StrCat("want a sweep file of at most ", kSweepBytesMax >> 20, " MiB, got ",
                      absl::string_view(size.data(), size.size()));
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    const int error = errno;
    return FileError(path, absl::StrCat("want a sweep file, got an error: ", std::strerror(error),
                                        error == ENOENT ? DidYouMean(NearestFile(path)) : ""));
  }
  if (S_ISDIR(info.st_mode)) return FileError(path, "want a sweep file, got a directory");
  if (S_ISREG(info.st_mode) && info.st_size > kSweepBytesMax) {
    return FileError(path, TooLarge(absl::StrCat(info.st_size >> 20, " MiB")));
  }
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                       &std::fclose);
  if (file == nullptr) {
    return FileError(
        path, absl::StrCat("want a file that can be read, got an error: ", std::strerror(errno)));
  }
  // A pipe has no size; one byte over the limit tells that it has too much.
  std::string text(static_cast<size_t>(kSweepBytesMax) + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get())) {
    return FileError(
        path, absl::StrCat("want a file that can be read, got an error: ", std::strerror(errno)));
  }
  if (static_cast<int64_t>(text.size()) > kSweepBytesMax) return FileError(path, TooLarge("more"));
  return text;
}

}  // namespace

SweepFormat SweepFormatOf(std::string_view path) {
  const absl::string_view name(path.data(), path.size());
  if (absl::EndsWith(name, ".json")) return SweepFormat::kJson;
  for (absl::string_view ending : {".textproto", ".txtpb", ".pbtxt"}) {
    if (absl::EndsWith(name, ending)) return SweepFormat::kTextproto;
  }
  return SweepFormat::kYaml;
}

absl::StatusOr<v1::SweepSpec> ReadSweepText(std::string_view text, SweepFormat format,
                                            std::string_view source, const ReadOptions& options) {
  Problems problems(source);
  if (text.size() > static_cast<size_t>(kSweepBytesMax)) {
    problems.Add(Place(), "", TooLarge("more"));
    return problems.ToStatus();
  }
  if (!CheckCharacters(text, problems)) return problems.ToStatus();
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);  // the byte order mark
  v1::SweepSpec spec = Parse(text, format, problems);
  spec.set_source(std::string(source));
  if (spec.name().empty()) spec.set_name(NameFromSource(source));
  problems.StartNextPhase();
  if (problems.empty()) RETURN_IF_ERROR(ApplySetOptions(options.set, &spec));
  FillDefaults(&spec);
  PlanSweep(spec, problems);
  RETURN_IF_ERROR(problems.ToStatus());
  return spec;
}

absl::StatusOr<v1::SweepSpec> ReadSweepFile(const std::string& path, const ReadOptions& options) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ReadSweepText(text, SweepFormatOf(path), path, options);
}

absl::Status CheckSpec(v1::SweepSpec* spec) {
  FillDefaults(spec);
  Problems problems(spec->source());
  PlanSweep(*spec, problems);
  return problems.ToStatus();
}

}  // namespace saffron
