// data.*: which text or images a variant reads, and how much of it.

#include <algorithm>

#include "core/model/registry_families.h"

namespace saffron {
namespace {

// The rule by which `saffron data add` names corpora.
std::string CheckCorpusName(const ParamValue& value) {
  const std::string& name = std::get<std::string>(value);
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  const bool good = !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' &&
                    std::all_of(name.begin(), name.end(), allowed);
  return good ? "" : "want the name of a corpus (1 to 64 of a-z 0-9 . _ -)";
}

}  // namespace

Condition TypeReadsText() {
  return ModelTypeIs(
      {"saffu", "softmax_regression", "transformer", "kneser_ney", "log_linear", "unigram"});
}
Condition TypeReadsData() {
  return ModelTypeIs(
      {"saffu", "softmax_regression", "transformer", "mlp", "kneser_ney", "log_linear", "unigram"});
}
// model.input counts as its default, onehot, for the types that do not have it.
Condition InputIsText() { return {.key = "model.input", .any_of = {"onehot"}}; }

std::vector<ParamSpec> DataParams() {
  return {
      {.key = "data.corpus",
       .type = ParamType::kString,
       .default_value = "sotu",
       .doc = "Name of the corpus, as `saffron data list` shows it. Images when model.input is "
              "pixels, "
              "else text.",
       .validate = CheckCorpusName,
       .relevant_when = {TypeReadsData()}},
      {.key = "data.tokenizer",
       .type = ParamType::kString,
       .default_value = "word",
       .doc =
           "How text becomes tokens: lower-cased words, numbers and punctuation marks; bytes; or "
           "pieces that SentencePiece learns from the training split (BPE or unigram).",
       .choices = {"word", "byte", "bpe", "unigram"},
       .relevant_when = {TypeReadsText(), InputIsText()}},
      {.key = "data.vocab",
       .type = ParamType::kInt,
       .default_value = int64_t{4096},
       .unit = "types",
       .doc = "Size of the vocabulary, <unk> included; rarer types become <unk>. Bytes always have "
              "257.",
       .min = 16,
       .max = 65536,
       .relevant_when = {TypeReadsText(),
                         InputIsText(),
                         {.key = "data.tokenizer", .any_of = {"word", "bpe", "unigram"}}}},
      {.key = "data.tokens",
       .type = ParamType::kInt,
       .default_value = int64_t{1'000'000},
       .unit = "tokens",
       .doc = "Length of the training stream: its first so many tokens. The vocabulary does not "
              "depend "
              "on it.",
       .min = 1000,
       .max = 1e9,
       .relevant_when = {TypeReadsText(), InputIsText()}},
      {.key = "data.eval_tokens",
       .type = ParamType::kInt,
       .default_value = int64_t{60'000},
       .unit = "tokens",
       .doc = "Cap on the validation stream and on the test stream. The first 80 are context only.",
       .min = 200,
       .max = 1e8,
       .relevant_when = {TypeReadsText(), InputIsText()}},
      {.key = "data.examples",
       .type = ParamType::kInt,
       .default_value = int64_t{8000},
       .unit = "images",
       .doc = "Training images: the first so many of the training split.",
       .min = 10,
       .max = 1e7,
       .relevant_when = {ModelTypeIs({"softmax_regression", "mlp"}),
                         {.key = "model.input", .any_of = {"pixels"}}}},
  };
}

}  // namespace saffron
