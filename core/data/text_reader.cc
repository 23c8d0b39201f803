#include "core/data/text_reader.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"
#include "core/data/utf8.h"

namespace saffron {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<std::vector<std::string>> FilesOfFolder(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    const bool hidden = entry->path().filename().string().starts_with('.');
    if (!hidden && entry->is_regular_file(gone)) files.push_back(entry->path().string());
  }
  if (error) {
    return absl::InvalidArgumentError(FileError("list", folder, error.value()).message());
  }
  if (files.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": the folder has no files in it (folders below are not searched)"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

absl::StatusOr<std::vector<std::string>> MatchesOf(const std::string& pattern) {
  glob_t matches;
  const int result = ::glob(pattern.c_str(), 0, nullptr, &matches);
  std::vector<std::string> files;
  if (result == 0) files.assign(matches.gl_pathv, matches.gl_pathv + matches.gl_pathc);
  ::globfree(&matches);
  if (files.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(pattern, ": no file matches this pattern"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool IsBlank(std::string_view text) {
  while (!text.empty()) {
    const CodePoint point = DecodeUtf8(text);
    if (!IsUnicodeSpace(point.value)) return false;
    text.remove_prefix(point.bytes);
  }
  return true;
}

// "line:column", both from 1, columns in code points.
std::string Position(std::string_view text, size_t offset) {
  const auto before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  const auto column = 1 + std::count_if(before.begin() + line_start, before.end(),
                                        [](char c) { return (c & 0xC0) != 0x80; });
  return absl::StrCat(line, ":", column);
}

absl::Status CheckIsText(const std::string& file, std::string_view bytes) {
  std::optional<size_t> bad = FirstInvalidUtf8(bytes);
  const size_t nul = bytes.find('\0');
  if (nul != std::string_view::npos && nul < bad.value_or(bytes.size())) bad = nul;
  if (!bad) return absl::OkStatus();
  char byte[8];
  snprintf(byte, sizeof byte, "0x%02X", static_cast<unsigned char>(bytes[*bad]));
  const std::string where = absl::StrCat(file, ":", Position(bytes, *bad), " (byte ", *bad, ")");
  const bool utf16 = bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF") ||
                     (nul == *bad && bytes.size() > 1 && *bad < 2);
  if (utf16) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": want UTF-8 text, found ", byte,
                     "; this looks like UTF-16: convert it with `iconv -f UTF-16 -t UTF-8`"));
  }
  if (*bad == nul) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": want UTF-8 text, found a NUL byte: is this a binary file?"));
  }
  return absl::InvalidArgumentError(absl::StrCat(
      where, ": not UTF-8 (byte ", byte,
      "); if it is in an older encoding, convert it, e.g. `iconv -f WINDOWS-1252 -t UTF-8`"));
}

std::string_view WithoutTrailingSpace(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) {
    line.remove_suffix(1);
  }
  return line;
}

// Calls sink(part) with each part of `text` between separator lines.
template <typename Sink>
void ForEachPart(std::string_view text, std::string_view separator, Sink&& sink) {
  size_t part = 0, line = 0;
  while (line < text.size()) {
    const size_t newline = std::min(text.find('\n', line), text.size());
    const size_t next = std::min(newline + 1, text.size());
    if (WithoutTrailingSpace(text.substr(line, newline - line)) == separator) {
      sink(text.substr(part, line - part));
      part = next;
    }
    line = next;
  }
  sink(text.substr(part));
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ExpandPaths(const std::vector<std::string>& arguments) {
  std::vector<std::string> files;
  std::set<std::string> seen;
  for (const std::string& argument : arguments) {
    std::error_code ignored;
    std::vector<std::string> found = {argument};
    if (fs::is_directory(argument, ignored)) {
      ASSIGN_OR_RETURN(found, FilesOfFolder(argument));
    } else if (!fs::exists(argument, ignored) &&
               argument.find_first_of("*?[") != std::string::npos) {
      ASSIGN_OR_RETURN(found, MatchesOf(argument));
    }
    for (std::string& file : found) {
      std::error_code error;
      const std::string full = fs::weakly_canonical(file, error).string();
      if (seen.insert(error ? file : full).second) files.push_back(std::move(file));
    }
  }
  return files;
}

absl::StatusOr<std::vector<std::string>> ReadTextDocuments(const std::vector<std::string>& files,
                                                           const std::string& separator) {
  const std::string_view marker = WithoutTrailingSpace(separator);
  std::vector<std::string> documents;
  for (const std::string& file : files) {
    const absl::StatusOr<std::string> read = ReadWholeFile(file);
    if (!read.ok()) return absl::InvalidArgumentError(read.status().message());
    const std::string& bytes = *read;
    RETURN_IF_ERROR(CheckIsText(file, bytes));
    std::string_view text = bytes;
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    const size_t before = documents.size();
    const auto add = [&](std::string_view part) {
      if (!IsBlank(part)) documents.emplace_back(part);
    };
    if (marker.empty()) {
      add(text);
    } else {
      ForEachPart(text, marker, add);
    }
    if (documents.size() == before) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": is empty (", bytes.size(), " bytes, no text)"));
    }
  }
  return documents;
}

}  // namespace saffron
