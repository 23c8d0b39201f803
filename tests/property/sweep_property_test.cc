// What must hold of every sweep: printing and reading are inverse, expansion is ordered,
// repeatable, free of collisions, and a union of blocks is a union of variants.

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/base/random.h"
#include "core/model/registry.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

// Random sweeps. Values are drawn from a pool in which everything goes with everything, so that a
// sweep that does not expand is a bug.
class SweepMaker {
 public:
  explicit SweepMaker(uint64_t seed) : random_(seed, RandomPurpose::kTest) {}

  uint64_t Below(uint64_t n) { return random_.Below(next_++, n); }
  bool Chance(int percent) { return Below(100) < static_cast<uint64_t>(percent); }
  template <typename T>
  const T& OneOf(const std::vector<T>& items) {
    return items[Below(items.size())];
  }

  v1::SweepSpec Spec() {
    v1::SweepSpec spec;
    spec.set_name(Name());
    if (Chance(70)) spec.set_question(OddText());
    if (Chance(50)) {
      spec.mutable_metric()->set_name("test/perplexity");
      if (Chance(50)) spec.mutable_metric()->set_goal(v1::SweepMetric::MAXIMIZE);
    }
    Constants(&spec);
    for (const std::string& key : SomeKeys(4)) *spec.add_baseline() = Setting(key);
    if (Chance(30)) spec.set_include_baseline(Chance(50));
    const int blocks = 1 + static_cast<int>(Below(4));
    for (int i = 0; i < blocks; ++i) *spec.add_blocks() = Block(absl::StrCat("block ", i));
    Sections(&spec);
    return spec;
  }

  // A grid of its own, `method`, `exclude` and `ablate` aside.
  v1::Block Grid(const std::string& name) {
    v1::Block block;
    block.set_name(name);
    for (const std::string& key : SomeKeys(4)) *block.add_parameters() = Listed(key);
    if (block.parameters().empty()) *block.add_parameters() = Listed("model.bits");
    return block;
  }

  v1::Setting Setting(const std::string& key) {
    v1::Setting setting;
    setting.set_key(key);
    *setting.mutable_value() = Value(key);
    return setting;
  }

  std::vector<std::string> SomeKeys(int most) {
    std::vector<std::string> keys;
    for (const auto& [key, values] : Pool()) keys.push_back(key);
    for (size_t i = keys.size() - 1; i > 0; --i) std::swap(keys[i], keys[Below(i + 1)]);
    keys.resize(Below(most + 1));
    return keys;
  }

 private:
  static const std::map<std::string, std::vector<ParamValue>>& Pool() {
    using S = std::string;
    static const auto* const pool = new std::map<std::string, std::vector<ParamValue>>{
        {"data.tokens", {int64_t{1000}, int64_t{20000}, 1e6}},
        {"data.corpus", {S("sotu"), S("a.b-c_d"), S("2024"), S("no"), S("1e3")}},
        {"model.bits", {int64_t{16}, int64_t{32}, int64_t{64}, int64_t{128}}},
        {"model.context", {int64_t{1}, int64_t{2}, int64_t{4}}},
        {"model.head", {S("concat"), S("sum")}},
        {"model.attention", {S("solved"), S("static")}},
        {"model.streams", {S("x"), S("x+c"), S("x+r")}},
        {"model.type", {S("saffu"), S("unigram"), S("kneser_ney"), S("noop")}},
        {"model.order", {int64_t{2}, int64_t{3}, int64_t{4}}},
        {"solve.gains", {S("calibrated"), S("geometric"), S("knorm")}},
        {"solve.kappa", {int64_t{0}, 0.5, 1.0, 1e-3}},
        {"train.init", {S("explicit"), S("random")}},
        {"train.steps", {int64_t{0}, int64_t{10}, int64_t{100}, int64_t{5000}}},
        {"train.lr", {0.001, 3.1e-3, 1e-05, int64_t{1}}},
        {"train.optimizer", {S("adam"), S("adamw"), S("sgd")}},
    };
    return *pool;
  }

  v1::SweepValue Value(const std::string& key) {
    v1::SweepValue value;
    const ParamValue& drawn = OneOf(Pool().at(key));
    if (const auto* whole = std::get_if<int64_t>(&drawn)) value.set_integer(*whole);
    if (const auto* real = std::get_if<double>(&drawn)) value.set_number(*real);
    if (const auto* text = std::get_if<std::string>(&drawn)) value.set_text(*text);
    if (key == "data.tokens" && Chance(40)) value.set_expression("  tokens // 10 + 7");
    return value;
  }

  v1::Parameter Listed(const std::string& key) {
    v1::Parameter parameter;
    parameter.set_key(key);
    const int count = 1 + static_cast<int>(Below(3));
    for (int i = 0; i < count; ++i) *parameter.add_values() = Value(key);
    return parameter;
  }

  std::string Name() {
    return OneOf<std::string>(
        {"a", "saffu-roadmap", "Data scale (2)", "größe", "x.y_z", "yes", "1e3x"});
  }
  // Whatever may stand in a text that people read.
  std::string OddText() {
    static const std::vector<std::string> kPieces = {
        "plain words", ": ",     " #",   "\"",   "'", "\\", "\n",  "\t",  "é",    "日本",
        "😀",           "- ",     "{",    "]",    "%", "@",  "&a",  "*a",  "null", "~",
        "\u0085",      "\u2028", "\x01", "\x7f", "=", " ",  "1e5", "0x1", "|"};
    std::string text;
    for (uint64_t n = Below(8); n > 0; --n) text += OneOf(kPieces);
    return text;
  }

  void Constants(v1::SweepSpec* spec) {
    v1::Setting* tokens = spec->add_constants();
    tokens->set_key("tokens");
    tokens->mutable_value()->set_integer(10000 + static_cast<int64_t>(Below(1000000)));
    if (Chance(50)) {
      v1::Setting* text = spec->add_constants();
      text->set_key("text");
      std::string odd = OddText();
      text->mutable_value()->set_text(odd.substr(0, 1) == "=" ? "x" + odd : odd);
    }
    if (Chance(50)) {
      v1::Setting* share = spec->add_constants();
      share->set_key("_share2");
      share->mutable_value()->set_expression("tokens / 3");
    }
    if (Chance(50)) {
      v1::Setting* flag = spec->add_constants();
      flag->set_key("flag");
      flag->mutable_value()->set_boolean(Chance(50));
    }
  }

  v1::Block Block(const std::string& name) {
    v1::Block block = Grid(name);
    std::set<std::string> used;
    for (const v1::Parameter& parameter : block.parameters()) used.insert(parameter.key());
    const auto free = [&used](const std::string& key) { return used.insert(key).second; };
    if (free("train.batch")) {
      v1::Parameter* parameter = block.add_parameters();
      parameter->set_key("train.batch");
      parameter->mutable_min()->set_integer(1);
      parameter->mutable_max()->set_integer(1 + static_cast<int64_t>(Below(3)));
    }
    if (Chance(40) && free("train.beta1") && free("train.final_lr")) {
      v1::Zip* zip = block.add_zip();
      for (const char* key : {"train.beta1", "train.final_lr"}) {
        v1::Parameter* parameter = zip->add_parameters();
        parameter->set_key(key);
        parameter->add_values()->set_number(0.25);
        parameter->add_values()->set_number(0.75);
      }
      if (Chance(50)) {
        v1::KeyExpression* when = block.add_when();
        when->set_key("train.beta1");
        when->mutable_expression()->set_text(" train.steps > 10 and tokens > 0 ");
      }
    }
    if (Chance(40) && free("train.warmup")) {
      v1::KeyExpression* derived = block.add_derived();
      derived->set_key("train.warmup");
      derived->mutable_expression()->set_text("floor(0.1 * train.steps)");
    }
    if (Chance(40))
      block.add_exclude()->set_text("model.bits == 128 and model.context >= 4 and 'x' == \"y\"");
    if (Chance(30)) {
      block.set_method(v1::Block::RANDOM);
      block.set_count(1 + static_cast<int64_t>(Below(5)));
      v1::Parameter* drawn = block.add_parameters();
      drawn->set_key("train.weight_decay");
      drawn->set_distribution(v1::Parameter::Q_NORMAL);
      drawn->mutable_mu()->set_number(1);
      drawn->mutable_sigma()->set_integer(2);
      drawn->mutable_q()->set_number(0.25);
    } else if (Chance(30) && free("model.features") && free("solve.alpha")) {
      v1::Ablation* ablate = block.mutable_ablate();
      ablate->set_mode(static_cast<v1::Ablation::Mode>(Below(5)));
      for (const auto& [name, key, value] :
           {std::tuple("no codes: at all", "model.features", "binary"),
            {"null", "solve.alpha", ""}}) {
        v1::AblationGroup* group = ablate->add_groups();
        group->set_name(name);
        v1::Setting* change = group->add_changes();
        change->set_key(key);
        if (*value != '\0') change->mutable_value()->set_text(value);
        if (*value == '\0') change->mutable_value()->set_number(100);
      }
    } else if (Chance(30)) {
      block.set_count(1 + static_cast<int64_t>(Below(100)));
    }
    return block;
  }

  void Sections(v1::SweepSpec* spec) {
    if (Chance(50)) spec->mutable_seeds()->set_count(1 + static_cast<int64_t>(Below(9)));
    if (Chance(50)) spec->mutable_seeds()->set_first(Below(1000));
    if (Chance(50))
      spec->mutable_resources()->set_memory_bytes(static_cast<int64_t>(Below(1ull << 40)));
    if (Chance(50)) spec->mutable_retry()->set_timeout(static_cast<int64_t>(Below(7)) - 1);
    if (Chance(50)) spec->mutable_limits()->set_variants(5000 + static_cast<int64_t>(Below(1000)));
    if (Chance(50)) spec->mutable_limits()->mutable_trial_time()->set_seconds(1 + Below(100000));
    if (Chance(30)) {
      spec->mutable_limits()->mutable_total_time()->set_seconds(Below(3));
      spec->mutable_limits()->mutable_total_time()->set_nanos(500'000'000);
    }
    if (Chance(50)) spec->set_sampling_seed(Below(1ull << 50));
  }

  CounterRandom random_;
  uint64_t next_ = 0;
};

constexpr int kSweeps = 300;

std::string Comparable(v1::SweepSpec spec) {
  ClearPositions(&spec);
  return spec.DebugString();
}

v1::SweepSpec Checked(v1::SweepSpec spec) {
  const absl::Status status = CheckSpec(&spec);
  EXPECT_TRUE(status.ok()) << status << "\n" << spec.DebugString();
  return spec;
}

std::vector<std::string> Digests(const Expansion& expansion) {
  std::vector<std::string> digests;
  for (const ExpandedVariant& v : expansion.variants) digests.push_back(v.digest);
  return digests;
}

std::set<std::string> DigestSet(const Expansion& expansion) {
  const std::vector<std::string> digests = Digests(expansion);
  return {digests.begin(), digests.end()};
}

Expansion MustExpand(const v1::SweepSpec& spec) {
  absl::StatusOr<Expansion> expansion = Expand(spec);
  EXPECT_TRUE(expansion.ok()) << expansion.status() << "\n" << CanonicalSpecText(Checked(spec));
  return expansion.ok() ? *std::move(expansion) : Expansion();
}

TEST(SweepPropertyTest, ReadingWhatWasPrintedGivesTheSameSweep) {
  for (uint64_t seed = 0; seed < kSweeps; ++seed) {
    const v1::SweepSpec spec = Checked(SweepMaker(seed).Spec());
    const std::string text = CanonicalSpecText(spec);
    const auto again = ReadSweepText(text, SweepFormat::kYaml, "s.yaml");
    ASSERT_TRUE(again.ok()) << "seed " << seed << ": " << again.status() << "\n" << text;
    ASSERT_EQ(Comparable(*again), Comparable(spec)) << "seed " << seed << "\n" << text;
    ASSERT_EQ(CanonicalSpecText(*again), text) << "seed " << seed;
  }
}

TEST(SweepPropertyTest, EveryFormatSaysTheSame) {
  for (uint64_t seed = 0; seed < kSweeps; ++seed) {
    const v1::SweepSpec spec = Checked(SweepMaker(seed).Spec());
    const auto from_text = ReadSweepText(spec.DebugString(), SweepFormat::kTextproto, "s");
    ASSERT_TRUE(from_text.ok()) << "seed " << seed << ": " << from_text.status();
    ASSERT_EQ(SpecDigest(*from_text), SpecDigest(spec)) << "seed " << seed;
    std::string json;
    ASSERT_TRUE(google::protobuf::util::MessageToJsonString(spec, &json).ok());
    const auto from_json = ReadSweepText(json, SweepFormat::kJson, "s");
    ASSERT_TRUE(from_json.ok()) << "seed " << seed << ": " << from_json.status();
    ASSERT_EQ(SpecDigest(*from_json), SpecDigest(spec)) << "seed " << seed;
  }
}

TEST(SweepPropertyTest, ExpansionIsRepeatableAndAFunctionOfTheCanonicalText) {
  for (uint64_t seed = 0; seed < kSweeps; ++seed) {
    const v1::SweepSpec spec = Checked(SweepMaker(seed).Spec());
    const auto read = ReadSweepText(CanonicalSpecText(spec), SweepFormat::kYaml, "other.yaml");
    ASSERT_TRUE(read.ok());
    const Expansion once = MustExpand(spec), again = MustExpand(*read);
    ASSERT_EQ(Digests(once), Digests(again)) << "seed " << seed;
    for (size_t i = 0; i < once.variants.size(); ++i) {
      const auto& a = once.variants[i].origins;
      const auto& b = again.variants[i].origins;
      ASSERT_EQ(a.size(), b.size());
      for (size_t j = 0; j < a.size(); ++j) {
        ASSERT_EQ(std::tie(a[j].block, a[j].position, a[j].role, a[j].groups),
                  std::tie(b[j].block, b[j].position, b[j].role, b[j].groups));
      }
    }
  }
}

TEST(SweepPropertyTest, NoTwoVariantsShareADigest) {
  std::map<std::string, std::string> text_of;  // over all sweeps
  for (uint64_t seed = 0; seed < kSweeps; ++seed) {
    const Expansion expansion = MustExpand(SweepMaker(seed).Spec());
    std::set<std::string> texts;
    for (const ExpandedVariant& v : expansion.variants) {
      const std::string text = v.variant.CanonicalText();
      ASSERT_EQ(v.digest, v.variant.Digest());
      ASSERT_TRUE(texts.insert(text).second) << "the same variant twice: " << text;
      ASSERT_EQ(text_of.emplace(v.digest, text).first->second, text);
    }
  }
}

TEST(SweepPropertyTest, OriginsAndStatisticsAddUp) {
  for (uint64_t seed = 0; seed < kSweeps; ++seed) {
    const Expansion expansion = MustExpand(SweepMaker(seed).Spec());
    std::vector<std::set<int64_t>> positions(expansion.blocks.size());
    std::vector<int64_t> first(expansion.blocks.size(), 0);
    std::pair<int, int64_t> last(-1, -1);
    for (const ExpandedVariant& v : expansion.variants) {
      ASSERT_FALSE(v.origins.empty());
      ++first[v.origins[0].block];
      const std::pair<int, int64_t> at(v.origins[0].block, v.origins[0].position);
      ASSERT_LT(last, at) << "variants are in the order of their first mention";
      last = at;
      for (const VariantOrigin& origin : v.origins) {
        ASSERT_TRUE(positions[origin.block].insert(origin.position).second);
      }
    }
    for (size_t b = 0; b < expansion.blocks.size(); ++b) {
      const BlockStatistics& block = expansion.blocks[b];
      ASSERT_EQ(first[b], block.distinct);
      ASSERT_EQ(static_cast<int64_t>(positions[b].size()), block.distinct + block.collapsed);
      // Positions are 0, 1, 2, ... without a gap.
      ASSERT_TRUE(positions[b].empty() ||
                  *positions[b].rbegin() == static_cast<int64_t>(positions[b].size()) - 1);
    }
  }
}

TEST(SweepPropertyTest, ASweepIsTheUnionOfItsBlocks) {
  for (uint64_t seed = 0; seed < kSweeps; ++seed) {
    v1::SweepSpec whole = SweepMaker(seed).Spec();
    whole.set_include_baseline(false);
    std::set<std::string> together;
    for (const v1::Block& block : whole.blocks()) {
      v1::SweepSpec part = whole;
      part.clear_blocks();
      *part.add_blocks() = block;
      const std::set<std::string> digests = DigestSet(MustExpand(part));
      together.insert(digests.begin(), digests.end());
    }
    ASSERT_EQ(DigestSet(MustExpand(whole)), together) << "seed " << seed;
    v1::SweepSpec reversed = whole;
    std::reverse(reversed.mutable_blocks()->pointer_begin(),
                 reversed.mutable_blocks()->pointer_end());
    ASSERT_EQ(DigestSet(MustExpand(reversed)), together) << "seed " << seed;
  }
}

TEST(SweepPropertyTest, TheOrderOfAxesChangesTheOrderOfVariantsOnly) {
  for (uint64_t seed = 0; seed < kSweeps; ++seed) {
    SweepMaker maker(seed);
    v1::SweepSpec spec;
    spec.set_name("x");
    *spec.add_constants() = maker.Setting("data.tokens");
    spec.mutable_constants(0)->set_key("tokens");
    spec.mutable_constants(0)->mutable_value()->set_integer(50000);
    *spec.add_blocks() = maker.Grid("a");
    const std::set<std::string> digests = DigestSet(MustExpand(spec));
    auto* parameters = spec.mutable_blocks(0)->mutable_parameters();
    std::reverse(parameters->pointer_begin(), parameters->pointer_end());
    ASSERT_EQ(DigestSet(MustExpand(spec)), digests) << "seed " << seed;
  }
}

TEST(SweepPropertyTest, ExcludeKeepsExactlyWhatTheConditionDoesNotHoldFor) {
  for (uint64_t seed = 0; seed < kSweeps; ++seed) {
    SweepMaker maker(seed);
    v1::SweepSpec spec;
    spec.set_name("x");
    spec.add_constants()->set_key("tokens");
    spec.mutable_constants(0)->mutable_value()->set_integer(50000);
    *spec.add_blocks() = maker.Grid("a");
    v1::Parameter* sleep = spec.mutable_blocks(0)->add_parameters();
    sleep->set_key("train.eval_every");
    for (int i = 0; i < 7; ++i) sleep->add_values()->set_integer(i);
    const int64_t keep = static_cast<int64_t>(maker.Below(7));
    const Expansion all = MustExpand(spec);
    spec.mutable_blocks(0)->add_exclude()->set_text(
        absl::StrCat("not (train.eval_every <= ", keep, ")"));
    const Expansion some = MustExpand(spec);
    std::vector<std::string> expected;
    for (const ExpandedVariant& v : all.variants) {
      // Where the key does not matter, the first of the seven stands for all.
      if (!v.variant.Has("train.eval_every") || v.variant.Int("train.eval_every") <= keep) {
        expected.push_back(v.digest);
      }
    }
    ASSERT_EQ(Digests(some), expected) << "seed " << seed;
    ASSERT_EQ(some.blocks[0].excluded * 7,
              (all.blocks[0].distinct + all.blocks[0].collapsed) * (6 - keep));
  }
}

}  // namespace
}  // namespace saffron
