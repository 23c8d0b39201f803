#include "core/data/subword.h"

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"
#include "core/data/process.h"

namespace saffron {
namespace {

// Beside the running program, else where the build put it.
std::string ToolPath() {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const auto beside = self.parent_path() / "saffron-subword";
  return std::filesystem::exists(beside, ignored) ? beside.string() : SAFFRON_SUBWORD_TOOL;
}

// The lines of some texts, broken also where a chunk was cut, each closed by a newline.
std::string Sentences(const std::vector<std::string_view>& texts) {
  std::string sentences;
  for (const std::string_view text : texts) {
    size_t last_end = 0;
    ForEachChunk(text, [&](size_t begin, size_t end) {
      const std::string_view between = text.substr(last_end, begin - last_end);
      const bool breaks = between.empty() || between.find('\n') != std::string_view::npos;
      if (begin > 0) sentences += breaks ? '\n' : ' ';
      sentences += text.substr(begin, end - begin);
      last_end = end;
    });
    sentences += '\n';
  }
  return sentences;
}

// From "... is smaller than required_chars. 20 vs 65. ...": 65; 0 in other messages.
int RequiredVocab(const std::string& message) {
  const size_t at = message.find(" vs ");
  if (message.find("required_chars") == std::string::npos || at == std::string::npos) return 0;
  return std::atoi(message.c_str() + at + 4);
}

absl::Status Write(const std::string& path, std::string_view content) {
  return WriteFileAtomically(path, {content});
}

// What saffron-subword wrote about `chunks` chunks; false when it is not of that form.
bool ParseEncoded(std::string_view text, size_t chunks, EncodedChunks* encoded) {
  const auto line = [&text]() {
    const size_t newline = std::min(text.find('\n'), text.size());
    const std::string_view first = text.substr(0, newline);
    text.remove_prefix(std::min(newline + 1, text.size()));
    return first;
  };
  const auto number = [](std::string_view* rest, auto* value) {
    const auto [stop, error] = std::from_chars(rest->data(), rest->data() + rest->size(), *value);
    if (error != std::errc()) return false;
    rest->remove_prefix(stop - rest->data());
    if (!rest->empty() && rest->front() == ' ') rest->remove_prefix(1);
    return true;
  };
  std::string_view first = line();
  int pieces = 0;
  if (!number(&first, &pieces)) return false;
  for (int i = 0; i < pieces; ++i) encoded->types.emplace_back(line());
  encoded->firsts.push_back(0);
  for (size_t i = 0; i < chunks; ++i) {
    for (std::string_view rest = line(); !rest.empty();) {
      if (!number(&rest, &encoded->ids.emplace_back())) return false;
      if (!number(&rest, &encoded->ends.emplace_back())) return false;
    }
    encoded->firsts.push_back(encoded->ids.size());
  }
  return text.empty();
}

}  // namespace

absl::StatusOr<std::string> TrainSubwords(const std::string& kind, int vocab,
                                          const std::vector<std::string_view>& texts) {
  ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::Make());
  const std::string sentences = folder.path() + "/sentences", model = folder.path() + "/model";
  RETURN_IF_ERROR(Write(sentences, Sentences(texts)));
  ASSIGN_OR_RETURN(const ProcessResult run,
                   RunProcess({ToolPath(), "train", kind, absl::StrCat(vocab), sentences, model}));
  if (run.ok()) return ReadWholeFile(model);
  if (const int vocab_min = RequiredVocab(run.errors); vocab_min > 0) {
    return absl::InvalidArgumentError(absl::StrCat("data.vocab: want at least ", vocab_min,
                                                   ", a piece for each character of the text; got ",
                                                   vocab));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("a ", kind, " model cannot be trained on this text: ", run.Explain()));
}

absl::StatusOr<EncodedChunks> EncodeChunks(const std::string& model,
                                           const std::vector<std::string>& chunks) {
  ASSIGN_OR_RETURN(const TemporaryFolder folder, TemporaryFolder::Make());
  const std::string model_path = folder.path() + "/model", chunks_path = folder.path() + "/chunks",
                    encoded_path = folder.path() + "/encoded";
  std::string lines;
  for (const std::string& chunk : chunks) lines.append(chunk).push_back('\n');
  RETURN_IF_ERROR(Write(model_path, model));
  RETURN_IF_ERROR(Write(chunks_path, lines));
  ASSIGN_OR_RETURN(const ProcessResult run,
                   RunProcess({ToolPath(), "encode", model_path, chunks_path, encoded_path}));
  if (!run.ok()) return absl::InternalError(absl::StrCat("saffron-subword: ", run.Explain()));
  ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(encoded_path));
  EncodedChunks encoded;
  if (!ParseEncoded(text, chunks.size(), &encoded)) {
    return absl::InternalError("saffron-subword: wrote an encoding that cannot be read");
  }
  return encoded;
}

}  // namespace saffron
