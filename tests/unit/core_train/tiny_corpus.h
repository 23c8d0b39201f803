#pragma once
// A corpus in which every word says which comes next, most of the time.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/base/random.h"
#include "core/train/trainer.h"

namespace saffron {

using Params = std::map<std::string, ParamValue>;

inline ResolvedVariant MustResolve(const Params& params) {
  const auto variant = ResolvedVariant::Resolve(params);
  EXPECT_TRUE(variant.ok()) << variant.status();
  return variant.ok() ? *variant : ResolvedVariant();
}

class Recorder : public MeasurementSink {
 public:
  void Record(const Measurement& m) override { measurements.push_back(m); }
  std::vector<Measurement> measurements;
};

class TinyCorpusTest : public ::testing::Test {
 protected:
  TinyCorpusTest()
      : root_(Scratch() + "/saffron_trainer_" + std::to_string(getpid())),
        data_(root_ + "/data"),
        cache_({.dir = ""}) {}
  ~TinyCorpusTest() override { std::filesystem::remove_all(root_); }

  void SetUp() override {
    std::filesystem::create_directories(root_);
    const CounterRandom random(5, RandomPurpose::kTest);
    uint64_t draws = 0;
    std::vector<std::string> files;
    int word = 0;
    for (int document = 0; document < 40; ++document) {
      files.push_back(root_ + "/" + std::to_string(100 + document) + ".txt");
      std::ofstream file(files.back());
      for (int i = 0; i < 150; ++i) {
        word = random.Uniform(draws++) < 0.8 ? (word * 3 + 1) % 26
                                             : static_cast<int>(random.Below(draws++, 26));
        file << static_cast<char>('a' + word) << ' ';
      }
    }
    const auto corpus = data_.AddText("tiny", files, "", false);
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    fingerprint_ = corpus->fingerprint;
  }

  // From now on of the corpus "digits": twenty images a digit, a bar each at a place of its own and
  // noise.
  void UseDigits() {
    const CounterRandom random(6, RandomPurpose::kTest);
    uint64_t draws = 0;
    for (int digit = 0; digit < 10; ++digit) {
      std::ofstream file(root_ + "/" + std::to_string(digit) + ".json");
      file << "{\"data\":[";
      for (int i = 0; i < 20 * 784; ++i) {
        const bool bar = i % 28 / 2 == digit;
        file << (i > 0 ? "," : "") << (bar || random.Below(draws++, 5) == 0 ? 1 : 0);
      }
      file << "]}";
    }
    const auto corpus = data_.AddMnist("digits", root_, false);
    ASSERT_TRUE(corpus.ok()) << corpus.status();
    fingerprint_ = corpus->fingerprint;
  }

  // On the tiny corpus, and small.
  static Params Small(Params params) {
    params.emplace("data.corpus", "tiny");
    params.emplace("data.vocab", int64_t{28});
    params.emplace("model.bits", int64_t{8});
    params.emplace("train.batch", int64_t{64});
    return params;
  }

  // In memory where there is such a place: tests write many small files durably.
  static std::string Scratch() {
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ::testing::TempDir();
  }

  std::string root_;
  DataStore data_;
  StatisticsCache cache_;
  std::string fingerprint_;
};

}  // namespace saffron
