#include "core/data/subword.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdlib>
#include <unordered_map>
#include <utility>

namespace saffron {
namespace {

// The lines of some texts, broken also where a chunk was cut.
std::vector<std::string_view> Sentences(const std::vector<std::string_view>& texts) {
  std::vector<std::string_view> sentences;
  for (const std::string_view text : texts) {
    size_t sentence = 0, last_end = 0;
    ForEachChunk(text, [&](size_t begin, size_t end) {
      const std::string_view between = text.substr(last_end, begin - last_end);
      if (between.empty() || between.find('\n') != std::string_view::npos) {
        if (last_end > sentence) sentences.push_back(text.substr(sentence, last_end - sentence));
        sentence = begin;
      }
      last_end = end;
    });
    if (last_end > sentence) sentences.push_back(text.substr(sentence, last_end - sentence));
  }
  return sentences;
}

// Hands sentences to SentencePiece one by one.
class SentenceSource : public sentencepiece::SentenceIterator {
 public:
  explicit SentenceSource(std::vector<std::string_view> sentences)
      : sentences_(std::move(sentences)) {
    Fill();
  }
  bool done() const override { return at_ == sentences_.size(); }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }
  void Next() override {
    ++at_;
    Fill();
  }

 private:
  void Fill() {
    if (!done()) value_ = sentences_[at_];
  }

  std::vector<std::string_view> sentences_;
  size_t at_ = 0;
  std::string value_;
};

// From "... is smaller than required_chars. 20 vs 65. ...": 65; 0 in other messages.
int RequiredVocab(const std::string& message) {
  const size_t at = message.find(" vs ");
  if (message.find("required_chars") == std::string::npos || at == std::string::npos) return 0;
  return std::atoi(message.c_str() + at + 4);
}

}  // namespace

std::string TrainSubwords(SubwordKind kind, int vocab, const std::vector<std::string_view>& texts,
                          std::string* model, int* vocab_min) {
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", kind == SubwordKind::kBpe ? "bpe" : "unigram"},
      {"vocab_size", std::to_string(vocab)},
      {"hard_vocab_limit", "false"},
      {"unk_id", std::to_string(kSubwordUnknown)},
      {"eos_id", std::to_string(kSubwordEod)},
      {"eos_piece", "<eod>"},
      {"bos_id", "-1"},
      {"pad_id", "-1"},
      {"max_sentence_length", "1000000000"},  // it would skip longer ones
      {"num_threads", "1"},
      {"minloglevel", "3"},
  };
  SentenceSource source(Sentences(texts));
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &source, model);
  *vocab_min = status.ok() ? 0 : RequiredVocab(status.ToString());
  return status.ok() ? "" : status.ToString();
}

struct Subwords::Impl {
  sentencepiece::SentencePieceProcessor processor;
};

Subwords::Subwords() : impl_(std::make_unique<Impl>()) {}
Subwords::~Subwords() = default;

std::string Subwords::Load(std::string_view model) {
  const auto status = impl_->processor.LoadFromSerializedProto(model);
  return status.ok() ? "" : status.ToString();
}

std::vector<std::string> Subwords::Pieces() const {
  std::vector<std::string> pieces;
  for (int id = 0; id < impl_->processor.GetPieceSize(); ++id) {
    pieces.push_back(impl_->processor.IdToPiece(id));
  }
  return pieces;
}

void Subwords::Encode(std::string_view chunk, std::vector<int32_t>* ids,
                      std::vector<uint32_t>* ends) const {
  for (const auto& piece : impl_->processor.EncodeAsImmutableProto(chunk).pieces()) {
    ids->push_back(static_cast<int32_t>(piece.id()));
    ends->push_back(piece.end());
  }
}

}  // namespace saffron
