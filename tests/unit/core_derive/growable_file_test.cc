#include "core/derive/growable_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "core/checkpoint/arena_tensors.h"
#include "core/data/files.h"
#include "core/transformer/shape_json.h"
#include "nlohmann/json.hpp"
#include "tests/unit/core_derive/models.h"

namespace saffron {
namespace {

using testing::HasSubstr;

class GrowableFileTest : public testing::Test {
 protected:
  GrowableFileTest() {
    std::string pattern = testing::TempDir() + "/growXXXXXX";
    root_ = mkdtemp(pattern.data());
  }
  ~GrowableFileTest() override { std::filesystem::remove_all(root_); }

  // A model with the state of an optimiser that has just begun.
  void Write(const std::string& path, const GrowableModel& model) {
    const std::vector<float> parameters(model.parameters.begin(), model.parameters.end());
    std::vector<float> moments = parameters;
    for (float& m : moments) m *= 0.5f;
    TensorList list;
    AddTensors("", LayOut(model.shape).tensors, parameters, &list);
    AddTensors("optimizer.m/", LayOut(model.shape).tensors, moments, &list);
    ASSERT_TRUE(WriteSafetensors(path,
                                 {{"format", "saffron"},
                                  {"content", "state"},
                                  {"seed", "7"},
                                  {"shape", ShapeJson(model.shape)}},
                                 std::move(list.tensors))
                    .ok());
  }

  std::string Path(const std::string& name) const { return root_ + "/" + name; }
  GrowOptions Options() const { return {.seed = 3, .fresh = DrawModel}; }

  std::string root_;
};

TEST_F(GrowableFileTest, GrowsAFileThatGrowsAgain) {
  const GrowableModel parent = MakeModel(RmsShapes()[3].shape, 1);
  Write(Path("a"), parent);
  const auto b = GrowFile(Path("a"), *ParseDeriveOps("mlp:x2,key:+2"), Options(), Path("b"));
  ASSERT_TRUE(b.ok()) << b.status();
  EXPECT_LE(b->report.max_change, 1e-12);
  EXPECT_GT(b->parameters_after, b->parameters_before);
  const auto c = GrowFile(Path("b"), *ParseDeriveOps("layers:+1"), Options(), Path("c"));
  ASSERT_TRUE(c.ok()) << c.status();

  const auto file = SafetensorsFile::Open(Path("c"));
  ASSERT_TRUE(file.ok());
  const Safetensors& content = (*file)->content();
  EXPECT_EQ(content.metadata().at("content"), "model");
  EXPECT_EQ(content.metadata().at("seed"), "7") << "what else the parent said is kept";
  const auto history = nlohmann::json::parse(content.metadata().at("derived"));
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0]["ops"], "mlp:x2,key:+2");
  EXPECT_EQ(history[1]["ops"], "layers:+1");
  EXPECT_EQ(history[1]["parent"], b->written.sha256);
  EXPECT_EQ(history[1]["state"], "kept");

  const auto grown = ReadGrowable(content);
  ASSERT_TRUE(grown.ok()) << grown.status();
  EXPECT_EQ(grown->shape.layers.size(), 3u);
  EXPECT_LE(MaxDifference(LogitsOf(*grown), LogitsOf(parent)), 1e-5) << "rounded to float twice";
  // wk was scaled by sqrt(6/4), so its first moment by the inverse: half the old parameter.
  const auto& tensors = content.tensors();
  ASSERT_EQ(tensors.count("optimizer.m/layers.0.attn.wk"), 1u);
  const auto wk = *ReadFloats(content, "layers.0.attn.wk", tensors.at("layers.0.attn.wk").shape);
  const auto m =
      *ReadFloats(content, "optimizer.m/layers.0.attn.wk", tensors.at("layers.0.attn.wk").shape);
  EXPECT_NEAR(m[0], 0.5 * wk[0] * 4 / 6, 1e-6);
}

TEST_F(GrowableFileTest, AFileIsReadAsItIsWithoutOperators) {
  const GrowableModel parent = MakeModel(RmsShapes()[2].shape, 1);
  Write(Path("a"), parent);
  const auto same = DeriveFromFile(Path("a"), {}, Options());
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_LE(MaxDifference(same->child.parameters, parent.parameters), 1e-6);
  EXPECT_EQ(same->child.state.size(), LayOut(parent.shape).tensors.size());
  const auto grown = DeriveFromFile(Path("a"), *ParseDeriveOps("heads:x2"), Options());
  ASSERT_TRUE(grown.ok()) << grown.status();
  EXPECT_EQ(grown->child.shape.layers[0].heads, 4);
  EXPECT_EQ(DeriveFromFile(Path("b"), {}, Options()).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(GrowableFileTest, StateCanBeLeftBehind) {
  Write(Path("a"), MakeModel(RmsShapes()[1].shape, 1));
  GrowOptions options = Options();
  options.keep_state = false;
  ASSERT_TRUE(GrowFile(Path("a"), *ParseDeriveOps("mlp:x2"), options, Path("b")).ok());
  const auto file = SafetensorsFile::Open(Path("b"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->content().tensors().count("optimizer.m/tok_embed"), 0u);
  EXPECT_THAT((*file)->content().metadata().at("derived"), HasSubstr("\"state\":\"reset\""));
}

TEST_F(GrowableFileTest, WhatCannotGrowIsRefusedAndNothingIsWritten) {
  const GrowableModel parent = MakeModel(RmsShapes()[1].shape, 1);
  Write(Path("a"), parent);
  const auto message = [&](const std::string& from, const std::string& ops) {
    const auto grown = GrowFile(Path(from), *ParseDeriveOps(ops), Options(), Path("out"));
    EXPECT_FALSE(grown.ok());
    EXPECT_FALSE(std::filesystem::exists(Path("out")));
    return std::string(grown.status().message());
  };
  EXPECT_THAT(message("a", "mlp:2"), HasSubstr("want more, got 2"));
  EXPECT_THAT(message("nowhere", "mlp:x2"), HasSubstr("nowhere"));

  const std::vector<float> one = {1};
  ASSERT_TRUE(WriteSafetensors(Path("other"), {}, {{"w", TensorOf(one, {1})}}).ok());
  EXPECT_THAT(message("other", "mlp:x2"), HasSubstr("holds no transformer"));
  ASSERT_TRUE(WriteSafetensors(Path("empty"), {{"shape", ShapeJson(parent.shape)}},
                               {{"w", TensorOf(one, {1})}})
                  .ok());
  EXPECT_THAT(message("empty", "mlp:x2"), HasSubstr("tensor tok_embed: its shape wants"));
}

}  // namespace
}  // namespace saffron
