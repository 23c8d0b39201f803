// Checkpoints that trials left, fused.

#include "core/train/fused_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <deque>

#include "absl/strings/str_cat.h"
#include "core/checkpoint/arena_tensors.h"
#include "core/derive/growable_file.h"
#include "core/train/stored_model.h"
#include "core/transformer/transformer_init.h"
#include "nlohmann/json.hpp"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class FusedFileTest : public TinyCorpusTest {
 protected:
  TrainerEnv Env() { return {.data = &data_, .statistics = &cache_}; }
  std::string Path(const std::string& name) const { return root_ + "/" + name; }

  // Trains a small model; the path of its best checkpoint, or with its optimiser the last.
  std::string Train(const std::string& name, Params params, uint64_t seed,
                    const std::string& role = "best") {
    TrainerEnv env = Env();
    env.checkpoints.prefix = Path(name);
    env.checkpoints.keep = {role};
    Recorder recorder;
    const auto result = RunTrial(MustResolve(params), seed, fingerprint_, env, recorder);
    EXPECT_TRUE(result.ok()) << result.status();
    return Path(name + "-" + role + ".safetensors");
  }
  Params Transformer(Params params = {}) {
    params.emplace("model.type", "transformer");
    params.emplace("model.hidden_width", int64_t{8});
    params.emplace("model.heads", int64_t{2});
    params.emplace("model.layers", int64_t{1});
    params.emplace("model.window", int64_t{16});
    params.emplace("train.steps", int64_t{10});
    return Small(params);
  }
  Params Mlp(Params params = {}) {
    UseDigits();
    params.emplace("data.corpus", "digits");
    params.emplace("model.type", "mlp");
    params.emplace("model.input", "pixels");
    params.emplace("model.layers", int64_t{2});
    params.emplace("model.hidden_width", int64_t{16});
    params.emplace("model.mlp", "geglu");
    params.emplace("train.steps", int64_t{60});
    params.emplace("train.batch", int64_t{32});
    params.emplace("train.lr", 0.01);
    return params;
  }
  FusedModel MustFuse(const std::string& a, const std::string& b, double weight = 0.5) {
    auto fused = FuseFiles(a, b, weight);
    EXPECT_TRUE(fused.ok()) << fused.status();
    return fused.ok() ? *std::move(fused) : FusedModel();
  }
  std::string Refusal(const std::string& a, const std::string& b, double weight = 0.5) {
    const auto fused = FuseFiles(a, b, weight);
    EXPECT_EQ(fused.status().code(), absl::StatusCode::kInvalidArgument) << fused.status();
    return std::string(fused.status().message());
  }
  // The file with its tensors and metadata changed.
  using Tensors = std::map<std::string, std::vector<float>>;
  void Rewrite(const std::string& from, const std::string& to,
               const std::function<void(Tensors&, std::map<std::string, std::string>&)>& change) {
    const auto file = SafetensorsFile::Open(from);
    ASSERT_TRUE(file.ok()) << file.status();
    const Safetensors& content = (*file)->content();
    std::map<std::string, std::string> metadata = content.metadata();
    Tensors tensors;
    for (const auto& [name, tensor] : content.tensors()) {
      tensors[name] = *ReadFloats(content, name, tensor.shape);
    }
    change(tensors, metadata);
    std::vector<NamedTensor> list;
    for (const auto& [name, values] : tensors) {
      list.push_back({name, TensorOf(values, content.tensors().at(name).shape)});
    }
    ASSERT_TRUE(WriteSafetensors(to, metadata, std::move(list)).ok());
  }
};

// Hidden units of the first layer in the opposite order.
void TurnAround(std::map<std::string, std::vector<float>>& tensors, size_t width) {
  const auto reverse_columns = [&](const std::string& name) {
    std::vector<float>& m = tensors.at(name);
    for (size_t row = 0; row < m.size(); row += width) {
      std::reverse(m.begin() + row, m.begin() + row + width);
    }
  };
  const auto reverse_rows = [&](const std::string& name) {
    std::vector<float>& m = tensors.at(name);
    const size_t cols = m.size() / width;
    for (size_t row = 0; row < width / 2; ++row) {
      std::swap_ranges(m.begin() + row * cols, m.begin() + (row + 1) * cols,
                       m.begin() + (width - 1 - row) * cols);
    }
  };
  for (const char* name :
       {"layers.0.w1", "layers.0.b1", "layers.0.w1_linear", "layers.0.b1_linear"}) {
    reverse_columns(name);
  }
  reverse_rows("layers.1.w1");
  reverse_rows("layers.1.w1_linear");
}

TEST_F(FusedFileTest, AnMlpAndItselfInAnotherOrderFuseToThatOrder) {
  const std::string a = Train("a", Mlp(), 1), b = Path("b");
  Rewrite(a, b, [](auto& tensors, auto&) { TurnAround(tensors, 16); });
  const FusedModel model = MustFuse(a, b);
  EXPECT_EQ(model.aligned.units, 32);
  EXPECT_EQ(model.aligned.moved, 16);
  EXPECT_GT(model.distance, 1);
  EXPECT_EQ(model.distance_aligned, 0);
  EXPECT_THAT(model.doubt, IsEmpty());

  const auto measured = MeasureFusion(a, b, model, Env());
  ASSERT_TRUE(measured.ok()) << measured.status();
  const auto nats = [&](const char* of) { return measured->at(of).at("valid/nats_per_token"); };
  EXPECT_NEAR(nats("b"), nats("a"), 1e-5);
  EXPECT_EQ(nats("fused"), nats("b"));
  EXPECT_GT(nats("average"), nats("a") + 0.05);

  const auto written = WriteFused(Path("out"), model, *measured);
  ASSERT_TRUE(written.ok()) << written.status();
  const auto opened = StoredModel::Open(Path("out"), Env());
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ((*opened)->Evaluate(Split::kValid)->at("valid/nats_per_token"), nats("fused"));
}

TEST_F(FusedFileTest, ATransformersFileSaysWhatItWasFusedFromAndGrowsOn) {
  const std::string a = Train("a", Transformer(), 1, "last"),
                    b = Train("b", Transformer(), 2, "last");
  const FusedModel model = MustFuse(a, b, 0.25);
  EXPECT_GT(model.aligned.units, 2);
  ASSERT_TRUE(WriteFused(Path("out"), model, {}).ok());
  const auto file = SafetensorsFile::Open(Path("out"));
  ASSERT_TRUE(file.ok());
  const Safetensors& content = (*file)->content();
  EXPECT_EQ(content.metadata().at("content"), "model");
  EXPECT_EQ(content.tensors().size(), model.layout.size()) << "and no optimiser's state";
  EXPECT_EQ(content.metadata().count("progress"), 0u);
  const auto fused = nlohmann::json::parse(content.metadata().at("fused"));
  EXPECT_EQ(fused["weight"], 0.25);
  EXPECT_EQ(fused["a"]["seed"], 1);
  EXPECT_EQ(fused["b"]["seed"], 2);
  EXPECT_EQ(fused["b"]["sha256"].get<std::string>().size(), 64u);
  EXPECT_FALSE(fused.contains("measured"));
  EXPECT_TRUE(StoredModel::Open(Path("out"), Env()).ok());

  const auto grown = GrowFile(Path("out"), *ParseDeriveOps("mlp:x2"),
                              {.seed = 3, .fresh = DrawTransformer}, Path("grown"));
  ASSERT_TRUE(grown.ok()) << grown.status();
  EXPECT_THAT((*SafetensorsFile::Open(Path("grown")))->content().metadata().at("fused"),
              HasSubstr("\"weight\":0.25"));
  EXPECT_THAT(Refusal(Path("grown"), b), HasSubstr("layers.0.mlp_width: want the same"));
}

TEST_F(FusedFileTest, TheWholeWeightOnOneSideIsThatParent) {
  const std::string a = Train("a", Transformer(), 1), b = Train("b", Transformer(), 2);
  const auto nats = [&](const FusedModel& model, const char* of) {
    return MeasureFusion(a, b, model, Env())->at(of).at("valid/nats_per_token");
  };
  const FusedModel second = MustFuse(a, b, 1);
  EXPECT_EQ(nats(second, "fused"), nats(second, "b"));
  const FusedModel first = MustFuse(a, b, 0);
  EXPECT_NEAR(nats(first, "fused"), nats(first, "a"), 1e-5);
  EXPECT_NE(first.fused, first.average) << "as it is, and in the order of the other";
  for (const double weight : {-0.1, 1.5, std::nan("")}) {
    EXPECT_THAT(Refusal(a, b, weight), HasSubstr("weight: want 0 to 1"));
  }
}

TEST_F(FusedFileTest, DoubtIsToldUnlessTheFilesSayThatTheyBeganAsOne) {
  const Params drawn = Transformer({{"train.init", "random"}});
  const std::string a = Train("a", drawn, 1), b = Train("b", drawn, 2);
  EXPECT_THAT(MustFuse(a, b).doubt, HasSubstr("(seeds 1 and 2"));
  Params slower = drawn;
  slower["train.lr"] = 0.002;
  EXPECT_THAT(MustFuse(a, Train("c", slower, 1)).doubt, IsEmpty())
      << "the same draw, trained otherwise";
  const std::string solved = Train("d", Transformer(), 1);
  EXPECT_THAT(MustFuse(solved, Train("e", Transformer(), 2)).doubt, IsEmpty())
      << "the same embeddings, solved from the data";
  EXPECT_THAT(MustFuse(solved, a).doubt, Not(IsEmpty()));
  const auto from = [](const char* digest) {
    return [digest](Tensors&, std::map<std::string, std::string>& metadata) {
      metadata["init_from"] = absl::StrCat("{\"sha256\":\"", digest, "\"}");
    };
  };
  Rewrite(a, Path("a1"), from("x"));
  Rewrite(b, Path("b1"), from("x"));
  Rewrite(b, Path("b2"), from("y"));
  EXPECT_THAT(MustFuse(Path("a1"), Path("b1")).doubt, IsEmpty());
  EXPECT_THAT(MustFuse(Path("a1"), Path("b2")).doubt, Not(IsEmpty()));
  ASSERT_TRUE(WriteFused(Path("ab"), MustFuse(a, b), {}).ok());
  EXPECT_THAT(MustFuse(Path("ab"), a).doubt, IsEmpty()) << "a parent and its child";
}

TEST_F(FusedFileTest, WhatCannotBeFusedIsNamed) {
  const std::string a = Train("a", Transformer(), 1);
  EXPECT_THAT(Refusal(a, Train("b", Transformer({{"model.layers", int64_t{2}}}), 1)),
              HasSubstr(absl::StrCat("model.layers: want the same in both models, got 1 in ", a,
                                     " and 2 in ")));
  EXPECT_THAT(Refusal(a, Train("c", Transformer({{"data.vocab", int64_t{20}}}), 1)),
              HasSubstr("data.vocab: want the same in both models, got 28 in "));
  EXPECT_THAT(Refusal(a, Train("sparse", Transformer({{"model.experts", int64_t{2}}}), 1)),
              HasSubstr("model.experts: want the same in both models, got 1 in "));
  EXPECT_THAT(MustFuse(a, Train("d", Transformer({{"model.dropout", 0.1}}), 1)).doubt, IsEmpty());
  const std::string saffu = Train("e", Small({{"train.steps", int64_t{5}}}), 1);
  EXPECT_THAT(Refusal(saffu, saffu), HasSubstr("model.type: want mlp or transformer"));
  EXPECT_EQ(FuseFiles(a, Path("nowhere"), 0.5).status().code(), absl::StatusCode::kNotFound);

  Rewrite(a, Path("elsewhere"), [](auto&, auto& metadata) { metadata["data"] = "other"; });
  EXPECT_THAT(Refusal(a, Path("elsewhere")), HasSubstr("data: want the same"));
  Rewrite(a, Path("nan"), [](auto& tensors, auto&) { tensors.at("tok_embed")[3] = NAN; });
  EXPECT_THAT(Refusal(a, Path("nan")), HasSubstr("tok_embed: want numbers that are finite"));
  Rewrite(a, Path("short"), [](auto& tensors, auto&) { tensors.erase("layers.0.mlp.w1"); });
  EXPECT_THAT(Refusal(a, Path("short")), HasSubstr("layers.0.mlp.w1"));
  Rewrite(a, Path("foreign"), [](auto&, auto& metadata) { metadata.erase("format"); });
  EXPECT_THAT(Refusal(Path("foreign"), a), HasSubstr("foreign: no checkpoint of this program"));
  Rewrite(a, Path("deep"), [](auto&, auto& metadata) {
    metadata["init_from"] = std::string(100000, '[') + std::string(100000, ']');
  });
  EXPECT_TRUE(FuseFiles(Path("deep"), a, 0.5).ok()) << "a past that is no past";
}

TEST_F(FusedFileTest, AnMlpThatIsNotAsItsVariantSaysIsRefused) {
  const std::string a = Train("a", Mlp(), 1);
  Rewrite(a, Path("gone"), [](auto& tensors, auto&) { tensors.erase("readout"); });
  EXPECT_THAT(Refusal(Path("gone"), a), HasSubstr("readout"));
  Rewrite(a, Path("wide"), [](auto&, auto& metadata) {
    auto variant = nlohmann::json::parse(metadata.at("variant"));
    variant["model.hidden_width"] = 4096;
    metadata["variant"] = variant.dump();
  });
  EXPECT_THAT(Refusal(Path("wide"), Path("wide")), HasSubstr("layers.0.w1"));
  // Whatever its past is said to be.
  const std::string shallow = Train("b", Mlp({{"model.layers", int64_t{1}}}), 1);
  Rewrite(a, Path("grown"), [](auto&, auto& metadata) { metadata["derived"] = "[]"; });
  EXPECT_THAT(Refusal(Path("grown"), shallow), HasSubstr("model.layers: want the same"));
}

}  // namespace
}  // namespace saffron
