#pragma once
// Replays of a committed corpus and of mutations of it: the same ones for the same seed. A failure
// aborts. Longer: SAFFRON_FUZZ_ITERATIONS=1000000 SAFFRON_FUZZ_SEED=7. To see the input that
// failed, run again with SAFFRON_FUZZ_DUMP=FILE, which then holds the last one.

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "core/base/random.h"

namespace saffron {

using Target = std::function<void(std::string_view)>;

inline std::vector<std::string> Corpus(const std::string& name) {
  const std::filesystem::path folder =
      std::filesystem::path(SAFFRON_SOURCE_DIR) / "tests/fuzz/corpus" / name;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> texts;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    texts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return texts;
}

inline uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Mutator {
 public:
  Mutator(uint64_t seed, std::vector<std::string> corpus, std::vector<std::string> words)
      : random_(seed, RandomPurpose::kTest), corpus_(std::move(corpus)), words_(std::move(words)) {}

  std::string Next() {
    std::string text = corpus_[Below(corpus_.size())];
    for (uint64_t n = 1 + Below(4); n > 0; --n) Mutate(text);
    return text;
  }

 private:
  uint64_t Below(uint64_t n) { return random_.Below(next_++, n); }

  void Mutate(std::string& text) {
    const size_t at = Below(text.size() + 1);
    const size_t length = std::min<size_t>(text.size() - at, 1 + Below(20));
    switch (Below(7)) {
      case 0:
        text.insert(at, words_[Below(words_.size())]);
        break;
      case 1:
        text.replace(at, length, words_[Below(words_.size())]);
        break;
      case 2:
        text.erase(at, length);
        break;
      case 3:
        text.insert(at, text.substr(at, length));
        break;
      case 4:
        if (at < text.size()) text[at] = static_cast<char>(Below(256));
        break;
      case 5: {
        const std::string& other = corpus_[Below(corpus_.size())];
        const size_t from = Below(other.size() + 1);
        text.insert(at, other.substr(from, 1 + Below(200)));
        break;
      }
      default:
        text.resize(at);
    }
  }

  CounterRandom random_;
  uint64_t next_ = 0;
  std::vector<std::string> corpus_, words_;
};

inline void Fuzz(const std::string& name, const std::vector<std::string>& words,
                 uint64_t iterations, const Target& target) {
  const uint64_t seed = FromEnvironment("SAFFRON_FUZZ_SEED", 1);
  Mutator mutator(seed, Corpus(name), words);
  const char* dump = std::getenv("SAFFRON_FUZZ_DUMP");
  for (uint64_t i = FromEnvironment("SAFFRON_FUZZ_ITERATIONS", iterations); i > 0; --i) {
    const std::string input = mutator.Next();
    if (dump != nullptr) std::ofstream(dump, std::ios::binary) << input;
    target(input);
  }
}

}  // namespace saffron
