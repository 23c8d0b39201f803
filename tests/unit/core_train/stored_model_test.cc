// Checkpoints that trials leave for good, and models read back from them.

#include "core/train/stored_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StoredModelTest : public TinyCorpusTest {
 protected:
  TrialResult Run(const Params& params, const std::vector<std::string>& keep) {
    TrainerEnv env{.data = &data_, .statistics = &cache_};
    env.checkpoints.prefix = root_ + "/t1-a1";
    env.checkpoints.keep = keep;
    env.checkpoints.on_saved = [&](const absl::StatusOr<SavedCheckpoint>& saved) {
      ASSERT_TRUE(saved.ok()) << saved.status();
      saved_.push_back(*saved);
    };
    Recorder recorder;
    const auto result = RunTrial(MustResolve(Small(params)), 3, fingerprint_, env, recorder);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : TrialResult();
  }
  std::unique_ptr<StoredModel> Open(const std::string& role) {
    auto model = StoredModel::Open(root_ + "/t1-a1-" + role + ".safetensors",
                                   {.data = &data_, .statistics = &cache_});
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *std::move(model) : nullptr;
  }
  static void ExpectSameBits(const std::map<std::string, double>& some, const TrialResult& all) {
    EXPECT_FALSE(some.empty());
    for (const auto& [key, value] : some) {
      ASSERT_EQ(all.metrics.count(key), 1u) << key;
      EXPECT_EQ(std::bit_cast<uint64_t>(value), std::bit_cast<uint64_t>(all.metrics.at(key)))
          << key;
    }
  }

  std::vector<SavedCheckpoint> saved_;
};

const Params kTuned = {{"train.steps", int64_t{12}}, {"train.lr", 0.05}};

TEST_F(StoredModelTest, EveryFamilysBestCheckpointHasTheTrialsMetrics) {
  for (Params params : {kTuned, Params{},
                        Params{{"train.steps", int64_t{12}}, {"model.type", "softmax_regression"}},
                        Params{{"model.layers", int64_t{2}},
                               {"model.width", int64_t{8}},
                               {"train.init", "random"},
                               {"train.steps", int64_t{7}}},
                        Params{{"model.type", "transformer"},
                               {"model.hidden_width", int64_t{8}},
                               {"model.window", int64_t{16}},
                               {"model.tie", false},
                               {"solve.readout", "ridge"},
                               {"train.steps", int64_t{7}}}}) {
    const TrialResult result = Run(params, {"best"});
    const auto model = Open("best");
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->header().content, "model");
    for (const Split split : {Split::kTrain, Split::kValid, Split::kTest}) {
      const auto metrics = model->Evaluate(split);
      ASSERT_TRUE(metrics.ok()) << metrics.status();
      ExpectSameBits(*metrics, result);
    }
  }
}

TEST_F(StoredModelTest, TheLastCheckpointIsTheStateAfterTheLastStep) {
  Params params = kTuned;
  params["train.keep"] = "last";
  const TrialResult result = Run(params, {"last", "best"});
  ASSERT_EQ(saved_.size(), 2u);
  EXPECT_EQ(saved_[0].role, "last");
  EXPECT_EQ(saved_[0].step, 12);
  EXPECT_EQ(saved_[0].kind, "checkpoint");
  const auto last = Open("last");
  ASSERT_NE(last, nullptr);
  EXPECT_EQ(last->header().content, "state");
  ExpectSameBits(*last->Evaluate(Split::kTest), result);
  ExpectSameBits(*Open("best")->Evaluate(Split::kTest), result);
}

TEST_F(StoredModelTest, KeepingCheckpointsChangesNoNumber) {
  Params params = kTuned;
  params["train.keep"] = "last";
  ExpectSameBits({{"test/nats_per_token", Run(params, {}).metrics.at("test/nats_per_token")}},
                 Run(params, {"best", "last"}));
}

TEST_F(StoredModelTest, AModelWithoutTrainedTensorsLeavesNone) {
  Run({{"model.type", "unigram"}}, {"best", "last"});
  EXPECT_TRUE(saved_.empty());
}

TEST_F(StoredModelTest, NextTokensAreADistributionThatTheLossAgreesWith) {
  for (const char* type : {"saffu", "softmax_regression", "transformer"}) {
    Params params = kTuned;
    params["model.type"] = type;
    params["model.hidden_width"] = int64_t{8};
    params["model.window"] = int64_t{16};
    Run(params, {"best"});
    const auto model = Open("best");
    ASSERT_NE(model, nullptr);
    const auto nats = model->NextTokenNats({5, 2, 9});
    ASSERT_TRUE(nats.ok()) << nats.status();
    EXPECT_EQ(nats->size(), 28u);
    double sum = 0;
    for (const double n : *nats) sum += std::exp(-n);
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_NE(*nats, *model->NextTokenNats({5, 2, 10}));
    EXPECT_EQ(model->NextTokenNats({28}).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(model->NextTokenNats({-1}).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(StoredModelTest, WhatCameBeforeADocumentIsSeenOnlyByAModelOfTheStream) {
  for (const char* packing : {"stream", "document"}) {
    Run({{"model.type", "transformer"},
         {"model.hidden_width", int64_t{8}},
         {"model.window", int64_t{16}},
         {"model.packing", packing},
         {"train.steps", int64_t{12}},
         {"train.lr", 0.05}},
        {"best"});
    const auto model = Open("best");
    ASSERT_NE(model, nullptr);
    const TextRequest request = {.corpus = "tiny", .vocab = 28};
    const int32_t eod = (*data_.Text(request))->eod;
    ASSERT_NE(eod, 0);
    const auto after = model->NextTokenNats({7, 11, 3, eod, 5, 2, 9});
    const auto after_another = model->NextTokenNats({12, 1, 4, eod, 5, 2, 9});
    const auto alone = model->NextTokenNats({5, 2, 9});
    ASSERT_TRUE(after.ok() && after_another.ok() && alone.ok());
    if (std::string(packing) == "stream") {
      EXPECT_NE(*after, *after_another);
      continue;
    }
    EXPECT_EQ(*after, *after_another);
    for (size_t i = 0; i < alone->size(); ++i) EXPECT_NEAR((*after)[i], (*alone)[i], 1e-5) << i;
  }
}

TEST_F(StoredModelTest, ATransformerPredictsFromItsFileAloneAndMeasuringNamesTheDataItNeeds) {
  Run({{"model.type", "transformer"},
       {"model.hidden_width", int64_t{8}},
       {"model.window", int64_t{16}},
       {"train.steps", int64_t{3}}},
      {"best", "last"});
  DataStore nothing(root_ + "/nowhere");
  const TrainerEnv env{.data = &nothing, .statistics = &cache_};
  for (const char* role : {"best", "last"}) {
    const std::string path = root_ + "/t1-a1-" + role + ".safetensors";
    const auto alone = StoredModel::Open(path, env, StoredModel::Purpose::kPredict);
    ASSERT_TRUE(alone.ok()) << alone.status();
    EXPECT_EQ(*(*alone)->NextTokenNats({5, 2, 9}), *Open(role)->NextTokenNats({5, 2, 9}));
    EXPECT_EQ((*alone)->NextTokenNats({28}).status().code(), absl::StatusCode::kInvalidArgument);
    const absl::Status measured = StoredModel::Open(path, env).status();
    EXPECT_EQ(measured.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(measured.message()),
                HasSubstr("data.corpus tiny, fingerprint " + fingerprint_.substr(0, 12)));
  }
  // A file from elsewhere may say anything.
  const auto file = SafetensorsFile::Open(root_ + "/t1-a1-best.safetensors");
  auto metadata = (*file)->content().metadata();
  metadata["eod"] = "28";
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : (*file)->content().tensors()) tensors.push_back({name, tensor});
  ASSERT_TRUE(WriteSafetensors(root_ + "/forged", metadata, tensors).ok());
  EXPECT_EQ(
      StoredModel::Open(root_ + "/forged", env, StoredModel::Purpose::kPredict).status().code(),
      absl::StatusCode::kInvalidArgument);
}

TEST_F(StoredModelTest, AnotherCorpusUnderTheSameNameIsRefused) {
  Run(kTuned, {"best"});
  std::vector<std::string> files;
  for (int i = 0; i < 40; ++i) files.push_back(root_ + "/" + std::to_string(100 + i) + ".txt");
  std::ofstream(files[0], std::ios::app) << "more words";
  ASSERT_TRUE(data_.AddText("tiny", files, "", true).ok());
  const auto model =
      StoredModel::Open(root_ + "/t1-a1-best.safetensors", {.data = &data_, .statistics = &cache_});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kFailedPrecondition) << model.status();
}

TEST_F(StoredModelTest, AnotherTrialStartsWhereTheCheckpointEnds) {
  const TrialResult parent = Run(kTuned, {"best"});
  const auto child = [&](Params params) {
    TrainerEnv env{.data = &data_, .statistics = &cache_};
    env.init_from = StartFrom{.path = root_ + "/t1-a1-best.safetensors"};
    Recorder recorder;
    params.emplace("train.steps", int64_t{1});
    auto result = RunTrial(MustResolve(Small(params)), 9, fingerprint_, env, recorder);
    if (result.ok()) {
      EXPECT_EQ(recorder.measurements[0].value, parent.metrics.at("valid/nats_per_token"));
    }
    return result.status();
  };
  EXPECT_EQ(child({{"train.lr", 0.001}}), absl::OkStatus());
  const absl::Status other_vocabulary = child({{"data.vocab", int64_t{27}}});
  EXPECT_EQ(other_vocabulary.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other_vocabulary.message()),
              HasSubstr("data.vocab: the parent's is 28, here it is 27"));
  const absl::Status other_shape = child({{"model.context", int64_t{2}}});
  EXPECT_EQ(other_shape.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other_shape.message()),
              HasSubstr("model.context: the parent's is 4, here it is 2"));
}

TEST_F(StoredModelTest, AFileOfSomebodyElseIsRefused) {
  ASSERT_TRUE(WriteSafetensors(root_ + "/foreign", {{"format", "pt"}}, {}).ok());
  const auto model = StoredModel::Open(root_ + "/foreign", {.data = &data_, .statistics = &cache_});
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("no checkpoint of this program"));
}

}  // namespace
}  // namespace saffron
