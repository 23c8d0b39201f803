// saffron-subword: the part of Saffron that calls SentencePiece, in a program of its own.
//
//   saffron-subword train bpe|unigram VOCAB SENTENCES MODEL
//   saffron-subword encode MODEL CHUNKS ENCODED
//
// SENTENCES and CHUNKS hold one a line. ENCODED gets the number of pieces, the pieces, one a line,
// and for each chunk a line "id end id end ...", an end being the offset in the chunk where the
// text of the piece ends. Exit code 1 with the reason on stderr.
//
// A program of its own, because libsentencepiece exports the functions of its own protobuf 3.14
// under the very names of the protobuf that gRPC uses: a process that loads both crashes. Besides,
// it aborts on some inputs; here that ends only this process. No room is linked, for
// SentencePiece's headers also declare another absl::string_view.

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

int Fail(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 1;
}

// Hands the lines of a file to the trainer.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(const char* path) : file_(path) { Next(); }
  bool done() const override { return done_; }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }
  void Next() override { done_ = !std::getline(file_, line_); }

 private:
  std::ifstream file_;
  std::string line_;
  bool done_ = false;
};

int Train(const char* kind, const char* vocab, const char* sentences_path, const char* model_path) {
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", kind},
      {"vocab_size", vocab},
      {"hard_vocab_limit", "false"},  // fewer pieces where the text has no more
      {"unk_id", "0"},
      {"eos_id", "1"},
      {"eos_piece", "<eod>"},
      {"bos_id", "-1"},
      {"pad_id", "-1"},
      {"max_sentence_length", "1000000000"},  // longer ones would be left out
      {"num_threads", "1"},
      {"minloglevel", "3"},
  };
  Sentences sentences(sentences_path);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &sentences, &model);
  if (!status.ok()) return Fail(status.ToString());
  std::ofstream file(model_path, std::ios::binary);
  file << model;
  file.close();
  return file ? 0 : Fail(std::string("cannot write ") + model_path);
}

int Encode(const char* model_path, const char* chunks_path, const char* encoded_path) {
  sentencepiece::SentencePieceProcessor processor;
  const auto status = processor.Load(model_path);
  if (!status.ok()) return Fail(status.ToString());
  std::ofstream encoded(encoded_path, std::ios::binary);
  encoded << processor.GetPieceSize() << '\n';
  for (int id = 0; id < processor.GetPieceSize(); ++id) encoded << processor.IdToPiece(id) << '\n';
  std::ifstream chunks(chunks_path, std::ios::binary);
  for (std::string chunk; std::getline(chunks, chunk);) {
    for (const auto& piece : processor.EncodeAsImmutableProto(chunk).pieces()) {
      encoded << piece.id() << ' ' << piece.end() << ' ';
    }
    encoded << '\n';
  }
  encoded.close();
  return encoded ? 0 : Fail(std::string("cannot write ") + encoded_path);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "train" && argc == 6) return Train(argv[2], argv[3], argv[4], argv[5]);
  if (verb == "encode" && argc == 5) return Encode(argv[2], argv[3], argv[4]);
  return Fail(
      "usage: saffron-subword train bpe|unigram VOCAB SENTENCES MODEL\n"
      "       saffron-subword encode MODEL CHUNKS ENCODED");
}
