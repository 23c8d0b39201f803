// What a trial pays for its data: a corpus the size of the State of the Union addresses (233
// documents, 2 million tokens, 10 MB), loaded from its encoding, encoded by word anew, and split
// into words.

#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "core/base/random.h"
#include "core/data/data_store.h"
#include "core/data/word_tokenizer.h"

namespace saffron {
namespace {

constexpr int kDocuments = 233, kWordsPerDocument = 8'500;

// Words whose frequencies fall like those of a language: rank r about 1 / r, 30,000 of them.
std::string Document(uint64_t number) {
  const CounterRandom random(number, RandomPurpose::kTest);
  std::string text;
  for (int i = 0; i < kWordsPerDocument; ++i) {
    int rank = static_cast<int>(std::exp(std::log(30'000.0) * random.Uniform(i)));
    for (; rank > 0; rank /= 12) text += "etaoinshrdlu"[rank % 12];
    text += i % 18 == 0 ? ".\n" : " ";
  }
  return text;
}

// A data directory of its own, removed at exit.
class Corpus {
 public:
  Corpus() {
    CHECK(::mkdtemp(folder_.data()) != nullptr);
    std::vector<std::string> files;
    for (int i = 0; i < kDocuments; ++i) {
      files.push_back(folder_ + "/" + std::to_string(1000 + i));
      std::ofstream(files.back()) << Document(i);
    }
    const auto added = DataStore(root()).AddText("bench", files, "", false);
    CHECK(added.ok()) << added.status();
  }
  ~Corpus() { std::filesystem::remove_all(folder_); }
  std::string root() const { return folder_ + "/data"; }
  void DropEncodings() const { std::filesystem::remove_all(root() + "/bench/cache"); }

 private:
  std::string folder_ = std::filesystem::temp_directory_path() / "saffron_bench.XXXXXX";
};

const Corpus& SharedCorpus() {
  static const Corpus corpus;
  return corpus;
}

// A fresh store each time, as in a new worker process.
int64_t Load() {
  const auto data = DataStore(SharedCorpus().root()).Text({.corpus = "bench"});
  CHECK(data.ok()) << data.status();
  return static_cast<int64_t>((*data)->train.size());
}

void LoadEncoded(benchmark::State& state) {
  Load();
  for (auto _ : state) benchmark::DoNotOptimize(Load());
}
BENCHMARK(LoadEncoded)->Unit(benchmark::kMillisecond);

void EncodeWords(benchmark::State& state) {
  SharedCorpus();
  for (auto _ : state) {
    state.PauseTiming();
    SharedCorpus().DropEncodings();
    state.ResumeTiming();
    benchmark::DoNotOptimize(Load());
  }
}
BENCHMARK(EncodeWords)->Unit(benchmark::kMillisecond);

void ScanWords(benchmark::State& state) {
  const std::string text = Document(1);
  for (auto _ : state) {
    int64_t words = 0;
    ForEachWord(LowerAscii(text), [&](size_t, size_t) { ++words; });
    benchmark::DoNotOptimize(words);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}
BENCHMARK(ScanWords);

}  // namespace
}  // namespace saffron

BENCHMARK_MAIN();
