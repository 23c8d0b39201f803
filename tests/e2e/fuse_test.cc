// Trained models fused by hand: through real processes.

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/data/data_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/scene.h"

namespace saffron {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kTransformer[] = R"(version: 1
name: fuse
metric: {name: valid/perplexity, goal: minimize}
baseline:
  data.corpus: tiny
  data.vocab: 64
  data.tokens: 8000
  data.eval_tokens: 1000
  model.type: transformer
  model.layers: 2
  model.hidden_width: 8
  model.heads: 2
  model.mlp_width: 16
  model.window: 16
  train.init: random
  train.steps: 30
  train.batch: 64
  train.lr: 0.01
)";

class FuseTest : public testing::Test {
 protected:
  nlohmann::json Json(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--output", "json"});
    const Ended ended = scene_.Run(arguments);
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    return nlohmann::json::parse(ended.out, nullptr, false);
  }
  // Trials 1 and 2 of the sweep, their best checkpoints kept.
  void Train(const std::string& sweep) {
    const Ended ran =
        scene_.Run({"run", scene_.Write("sweep.yaml", sweep), "--workers", "1", "--keep", "best"});
    ASSERT_EQ(ran.exit_code, 0) << ran.err;
  }

  Scene scene_;
};

TEST_F(FuseTest, TwoTransformersFuseIntoAFileThatAllElseReads) {
  scene_.AddTinyCorpus();
  Train(absl::StrCat(kTransformer, "seeds: {count: 2, first: 1}\n"));
  const std::string to = scene_.Path("fused.safetensors");
  const Ended fused = scene_.Run({"model", "fuse", "1", "2", "--to", to, "--output", "json"});
  ASSERT_EQ(fused.exit_code, 0) << fused.err;
  EXPECT_THAT(fused.err,
              HasSubstr("nothing in the files says that these transformers began as one"));
  EXPECT_THAT(fused.err, HasSubstr(" of 36 units of a changed places"));
  const auto table = nlohmann::json::parse(fused.out);
  ASSERT_EQ(table.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(table[i]["model"], std::vector<std::string>({"a", "b", "average", "fused"})[i]);
  }
  // What the table says, the files hold.
  const auto valid = [&](const std::string& model) {
    for (const auto& row : Json({"model", "eval", model, "--split", "valid"})) {
      if (row["metric"] == "valid/perplexity") return row["value"].get<double>();
    }
    return 0.0;
  };
  EXPECT_EQ(table[0]["valid/perplexity"], valid("1"));
  EXPECT_EQ(table[1]["valid/perplexity"], valid("2"));
  EXPECT_EQ(table[3]["valid/perplexity"], valid(to));
  EXPECT_NE(table[2]["valid/perplexity"], table[3]["valid/perplexity"]);

  const auto shown = Json({"model", "show", to});
  EXPECT_EQ(shown["content"], "model");
  EXPECT_EQ(shown["fused"]["measured"]["fused"]["valid/perplexity"], valid(to));
  EXPECT_EQ(scene_.Run({"model", "logits", to, "--tokens", "1,2"}).exit_code, 0);
  EXPECT_EQ(
      scene_.Run({"model", "derive", to, "--op", "mlp:x2", "-o", scene_.Path("grown")}).exit_code,
      0);

  // Nothing is written over what is there, nor over a parent, nor half.
  const auto refused = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"model", "fuse"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Ended ended = scene_.Run(arguments);
    EXPECT_EQ(ended.exit_code, 2) << ended.out;
    return ended.err;
  };
  EXPECT_THAT(refused({"1", "2", "--to", to}), HasSubstr("--force"));
  EXPECT_EQ(scene_.Run({"model", "fuse", "1", "2", "--to", to, "--force"}).exit_code, 0);
  EXPECT_THAT(refused({"1", to, "--to", to, "--force"}), HasSubstr(to));
  for (const std::string& kept : {scene_.Path("results.db"), scene_.Path("results.db") + "-wal",
                                  scene_.Path("results.db") + ".artifacts/00/11"}) {
    EXPECT_THAT(refused({"1", "2", "--to", kept, "--force"}), HasSubstr("database"));
  }
  const std::string other = scene_.Path("other.db");
  ASSERT_EQ(scene_.Run({"backup", other}).exit_code, 0);
  EXPECT_THAT(refused({"1", "2", "--to", other, "--force"}), HasSubstr("is a database"));
  EXPECT_EQ(scene_
                .Run({"model", "derive", to, "--op", "mlp:x2", "--force", "-o",
                      scene_.Path("results.db")})
                .exit_code,
            2);
  EXPECT_THAT(refused({"1", "2", "--to", scene_.Path("x"), "--weight", "2"}),
              HasSubstr("want 0 to 1"));
  EXPECT_THAT(refused({"1", scene_.Path("grown"), "--to", scene_.Path("x")}),
              HasSubstr("layers.0.mlp_width: want the same in both models, got 16 in "));
  EXPECT_THAT(
      refused({"1", scene_.Write("noise", "no checkpoint at all"), "--to", scene_.Path("x")}),
      HasSubstr("noise"));
  EXPECT_FALSE(std::filesystem::exists(scene_.Path("x")));
  EXPECT_EQ(scene_.Run({"model", "fuse", "1", "77", "--to", scene_.Path("x")}).exit_code, 4);

  // Without the corpus it fuses all the same, and says what it did not do.
  std::filesystem::copy_file(to, scene_.Path("copy"));
  scene_.environment["SAFFRON_DATA"] = scene_.Path("no data");
  const Ended blind = scene_.Run(
      {"model", "fuse", scene_.Path("grown"), scene_.Path("grown"), "--to", scene_.Path("x")});
  EXPECT_EQ(blind.exit_code, 0) << blind.err;
  EXPECT_THAT(blind.err, HasSubstr("not measured: "));
  EXPECT_THAT(blind.out, Not(HasSubstr("valid/")));
}

// Thirty images of a digit: a bar at a place of its own, and noise.
std::string Digits(int digit) {
  std::string text = "{\"data\":[";
  unsigned noise = 7u + static_cast<unsigned>(digit);
  for (int i = 0; i < 30 * 784; ++i) {
    noise = noise * 1103515245u + 12345u;
    const bool on = i % 28 / 2 == digit || noise >> 16 & 1;
    absl::StrAppend(&text, i > 0 ? "," : "", on ? 1 : 0);
  }
  return text + "]}";
}

TEST_F(FuseTest, TwoMlpsFuseIntoOneThatIsNearerToThemThanTheirPlainAverage) {
  std::filesystem::create_directory(scene_.Path("digits"));
  for (int digit = 0; digit < 10; ++digit) {
    scene_.Write(absl::StrCat("digits/", digit, ".json"), Digits(digit));
  }
  const auto added =
      DataStore(scene_.Path("data")).AddMnist("digits", scene_.Path("digits"), false);
  ASSERT_TRUE(added.ok()) << added.status();
  Train(R"(version: 1
name: fuse
metric: {name: valid/nats_per_token, goal: minimize}
baseline:
  data.corpus: digits
  model.type: mlp
  model.input: pixels
  model.layers: 2
  model.hidden_width: 32
  train.batch: 32
  train.steps: 60
  train.lr: 0.003
seeds: {count: 2, first: 1}
)");
  const auto table = Json({"model", "fuse", "1", "2", "--to", scene_.Path("fused")});
  ASSERT_EQ(table.size(), 4u);
  EXPECT_LT(table[3]["valid/nats_per_token"], table[2]["valid/nats_per_token"]);
  EXPECT_EQ(scene_.Run({"model", "show", scene_.Path("fused")}).exit_code, 0);
}

}  // namespace
}  // namespace saffron
