// Central differences of everything registered that has a part in a loss, in the code and the
// precision in which it is trained. Cases are made from the registry: what is registered is
// checked, or stands in a list here with the reason why not. (What a component computes is checked
// to more digits where it lives, in double.)

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/model/registry.h"
#include "core/train/trial_families.h"
#include "tests/unit/core_train/tiny_corpus.h"

namespace saffron {
namespace {

// Everything small. A key that is given here is checked at this value and another.
const Params& Base() {
  static const auto* const base =
      new Params{{"data.vocab", int64_t{28}},           {"model.bits", int64_t{8}},
                 {"model.dense_bits", int64_t{8}},      {"model.heads", int64_t{2}},
                 {"model.hidden_width", int64_t{8}},    {"model.history_window", int64_t{20}},
                 {"model.layers", int64_t{2}},          {"model.mlp_width", int64_t{12}},
                 {"model.network_context", int64_t{4}}, {"model.network_width", int64_t{32}},
                 {"model.width", int64_t{8}},           {"model.window", int64_t{16}},
                 {"train.batch", int64_t{64}},          {"train.init", "random"},
                 {"train.steps", int64_t{20}}};
  return *base;
}

// Where half or twice the number will not do, and of text that is free.
const std::map<std::string, std::vector<ParamValue>>& OtherValues() {
  static const auto* const values = new std::map<std::string, std::vector<ParamValue>>{
      {"model.expert_top", {int64_t{1}, int64_t{3}}},
      {"model.head_dim", {int64_t{6}}},
      {"model.layers", {int64_t{1}}},
      {"model.network_layers", {int64_t{1}}},
      {"model.order", {int64_t{1}, int64_t{2}}},
      {"model.templates", {"skip", "pair"}}};
  return *values;
}

// What some values need, beside what makes them relevant.
struct Need {
  std::string key, value;
  Params params;
};
const std::vector<Need>& Needs() {
  static const auto* const needs = new std::vector<Need>{
      {"model.type", "mlp", {{"model.input", "pixels"}, {"data.corpus", "digits"}}},
      {"model.input", "pixels", {{"data.corpus", "digits"}}},
      {"model.order", "1", {{"model.templates", "pair"}}},
      {"model.expert_top", "3", {{"model.experts", int64_t{4}}}},
      {"model.trained", "dense", {{"model.dense", "x+c+r"}}},
      {"model.evidence_scale", "0.5", {{"model.evidence", "trained"}}},
      {"model.network_scale", "0.5", {{"model.evidence", "trained"}}}};
  return *needs;
}

// Values without a gradient to check.
enum class Why : uint8_t {
  kNoSteps,       // nothing of it is trained
  kRefused,       // where it would be relevant
  kNoDerivative,  // a staircase, of steps wider than those of a difference
};
struct Unchecked {
  std::string key, value;  // value "": any
  Why why;
};
const std::vector<Unchecked>& NotChecked() {
  static const auto* const unchecked =
      new std::vector<Unchecked>{{"model.type", "kneser_ney", Why::kNoSteps},
                                 {"model.type", "unigram", Why::kNoSteps},
                                 {"model.type", "noop", Why::kNoSteps},
                                 {"model.sleep_ms", "", Why::kNoSteps},
                                 {"model.behaviour", "", Why::kNoSteps},
                                 // A token's output would depend on later ones.
                                 {"model.slots", "priority", Why::kRefused},
                                 {"train.precision", "bf16", Why::kNoDerivative}};
  return *unchecked;
}

// Keys of train.* that say from where, how and how far steps go: not what they descend. (So do
// those of solve.*, and data.* says on what.)
constexpr std::string_view kOfSteps =
    " init steps batch optimizer lr schedule decay_fraction decay_shape final_lr warmup momentum "
    "nesterov l2 beta1 beta2 epsilon weight_decay decay_on step_size scale_parameter update_clip "
    "factored_min update_momentum muon_lr muon_momentum accumulate freeze ema polish polish_on "
    "polish_examples clip eval_every patience keep ";

bool IsOfTheLoss(const std::string& key) {
  if (absl::StartsWith(key, "model.")) return true;
  if (!absl::StartsWith(key, "train.")) return false;
  return kOfSteps.find(absl::StrCat(" ", key.substr(6), " ")) == std::string_view::npos;
}

// What to check a key at. Empty where this cannot know.
std::vector<ParamValue> ValuesOf(const ParamSpec& spec) {
  const auto other = OtherValues().find(spec.key);
  if (other != OtherValues().end()) return other->second;
  const auto given = Base().find(spec.key);
  const ParamValue& usual = given != Base().end() ? given->second : spec.default_value;
  switch (spec.type) {
    case ParamType::kBool:
      return {true, false};
    case ParamType::kString:
      return {spec.choices.begin(), spec.choices.end()};
    case ParamType::kInt:
      return {std::max<int64_t>(1, 2 * std::get<int64_t>(usual))};
    case ParamType::kDouble:
      return {std::get<double>(usual) == 0 ? 0.1 : std::get<double>(usual) / 2};
  }
  return {};
}

std::string TextOf(const ParamValue& value) {
  const std::string* text = std::get_if<std::string>(&value);
  return text != nullptr ? *text : ParamValueText(value);
}

bool Holds(const Condition& condition, const ParamValue& value) {
  if (!condition.at_least.has_value()) {
    return std::ranges::find(condition.any_of, TextOf(value)) != condition.any_of.end();
  }
  const int64_t* whole = std::get_if<int64_t>(&value);
  return (whole != nullptr ? static_cast<double>(*whole) : std::get<double>(value)) >=
         *condition.at_least;
}

std::vector<ParamValue> WhatHolds(const Condition& condition, ParamType type) {
  if (!condition.at_least.has_value()) return {condition.any_of.begin(), condition.any_of.end()};
  if (type == ParamType::kDouble) return {*condition.at_least};
  return {static_cast<int64_t>(*condition.at_least)};
}

// `params` with what makes `spec` relevant, in every way that there is; none where they say
// otherwise.
std::vector<Params> MadeRelevant(const ParamSpec& spec, const Params& params) {
  std::vector<Params> all = {params};
  for (const Condition& condition : spec.relevant_when) {
    const ParamSpec& other = *FindParam(condition.key);
    std::vector<Params> next;
    for (const Params& one : all) {
      const auto given = one.find(condition.key);
      std::vector<ParamValue> values;
      if (given == one.end() && !Holds(condition, other.default_value)) {
        values = WhatHolds(condition, other.type);
      } else if (Holds(condition, given == one.end() ? other.default_value : given->second)) {
        values = {given == one.end() ? other.default_value : given->second};
      }
      for (const ParamValue& value : values) {
        Params with = one;
        with[condition.key] = value;
        for (Params& relevant : MadeRelevant(other, with)) next.push_back(std::move(relevant));
      }
    }
    all = std::move(next);
  }
  return all;
}

std::vector<size_t> Places(const ParameterTensor& tensor) {
  std::vector<size_t> places;
  for (int64_t i = 0; i < tensor.rows; ++i) {
    for (int64_t j = 0; j < tensor.cols; ++j) {
      places.push_back(static_cast<size_t>(tensor.at(i, j)));
    }
  }
  return places;
}

std::vector<float> GradientOf(const ParameterArena<float>& arena) {
  std::vector<float> gradient(arena.parameters().size());  // zero where a segment has none
  for (const ParameterSegment<float>& segment : arena.segments()) {
    if (segment.gradient == nullptr) continue;
    std::copy_n(segment.gradient, segment.size, gradient.begin() + segment.begin);
  }
  return gradient;
}

// The tensors whose gradients are not the slopes of the loss, in the neighbourhood `point` of the
// model's parameters, which are left as they were; with what they are instead.
std::map<std::string, std::string> WrongGradients(Trainable& model, uint64_t point) {
  constexpr double kRelative = 0.01, kLossError = 1e-7;
  constexpr int kDirections = 3;
  const absl::Span<float> p = model.arena().parameters();
  const std::vector<float> start(p.begin(), p.end());
  const CounterRandom random(point, RandomPurpose::kTest);
  for (const ParameterTensor& tensor : model.arena().tensors()) {
    // Padding stays zero.
    for (const size_t i : Places(tensor)) p[i] += static_cast<float>(0.1 * random.Normal(i));
  }
  const int64_t count = 64 / model.targets_per_example();
  std::vector<int64_t> examples;
  for (int64_t i = 0; i < count; ++i) examples.push_back(i * model.examples() / count);
  const auto loss = [&] {
    model.BeginStep(1);
    return model.LossAndGradient(examples);
  };
  loss();
  const std::vector<float> gradient = GradientOf(model.arena()), at(p.begin(), p.end());
  std::map<std::string, std::string> wrong;
  for (const ParameterTensor& tensor : model.arena().tensors()) {
    const std::vector<size_t> places = Places(tensor);
    double squares = 0;
    for (const size_t i : places) squares += double{gradient[i]} * gradient[i];
    const double norm = std::sqrt(squares);
    // A loss that hardly depends on the tensor wants larger steps, to stand out from rounding.
    const double step =
        std::max(3e-4 * std::min(1.0, 16 / std::sqrt(places.size())), std::min(5e-6 / norm, 0.03));
    for (int k = 1; k <= kDirections; ++k) {
      double want = 0;
      std::vector<double> direction;
      for (const size_t i : places) {
        direction.push_back(random.Normal(k * p.size() + i));
        want += direction.back() * gradient[i];
      }
      const auto moved = [&](double by) {
        for (size_t n = 0; n < places.size(); ++n) {
          p[places[n]] = static_cast<float>(at[places[n]] + by * direction[n]);
        }
        const double value = loss();
        std::copy(at.begin(), at.end(), p.begin());
        return value;
      };
      const double got = (moved(step) - moved(-step)) / (2 * step);
      const double tolerance = kRelative * norm + kLossError / step;
      // A tensor on which nothing depends would pass whatever is wrong with it.
      if (std::abs(got - want) < tolerance && norm > 1e-5) continue;
      wrong[tensor.name] =
          absl::StrCat("slope ", got, ", by its gradient ", want, " (of norm ", norm, ")");
    }
  }
  std::copy(start.begin(), start.end(), p.begin());
  return wrong;
}

using Covered = std::set<std::pair<std::string, std::string>>;  // key, value

// What is registered as a part of a loss, and not covered.
std::vector<std::string> Uncovered(const std::vector<ParamSpec>& registered,
                                   const Covered& covered) {
  std::vector<std::string> missing;
  for (const ParamSpec& spec : registered) {
    if (!IsOfTheLoss(spec.key) || covered.count({spec.key, ""}) > 0) continue;
    const std::vector<ParamValue> values = ValuesOf(spec);
    if (values.empty()) missing.push_back(spec.key);
    for (const ParamValue& value : values) {
      if (covered.count({spec.key, TextOf(value)}) > 0) continue;
      missing.push_back(absl::StrCat(spec.key, "=", TextOf(value)));
    }
  }
  return missing;
}

class RegisteredGradientTest : public TinyCorpusTest {
 protected:
  void SetUp() override {
    TinyCorpusTest::SetUp();
    text_ = fingerprint_;
    UseDigits();
    images_ = fingerprint_;
    for (const Unchecked& one : NotChecked()) covered_.insert({one.key, one.value});
  }

  std::unique_ptr<TrialModel> Started(const ResolvedVariant& variant) {
    const TrainerEnv env{.data = &data_, .statistics = &cache_};
    const bool is_text = variant.String("data.corpus") == "tiny";
    const TrialInputs inputs{variant, 3, is_text ? text_ : images_, env};
    std::unique_ptr<TrialModel> model = MakeTrialModel(variant);
    CHECK(model != nullptr) << variant.String("model.type");
    EXPECT_EQ(model->Load(inputs), absl::OkStatus());
    EXPECT_EQ(model->Start(inputs), absl::OkStatus());
    return model;
  }

  void Check(const ResolvedVariant& variant) {
    SCOPED_TRACE(variant.CanonicalText());
    const std::unique_ptr<TrialModel> model = Started(variant);
    if (HasFailure()) return;
    ASSERT_NE(model->trainable(), nullptr);
    std::map<std::string, std::string> wrong = WrongGradients(*model->trainable(), 0);
    // Where a token's choice of experts changes, the loss jumps; a gradient that is wrong is so
    // elsewhere too.
    const bool is_sparse = variant.Has("model.experts") && variant.Int("model.experts") > 1;
    for (uint64_t point = 1; is_sparse && !wrong.empty() && point < 6; ++point) {
      const auto there = WrongGradients(*model->trainable(), point);
      std::erase_if(wrong, [&](const auto& one) { return there.count(one.first) == 0; });
    }
    for (const auto& [tensor, how] : wrong) ADD_FAILURE() << tensor << ": " << how;
  }

  // Of a type: as it is, and with each value of each key.
  void CheckType(const std::string& type) {
    Params base = Base();
    base["model.type"] = type;
    base["data.corpus"] = "tiny";
    const Params needed = AddNeeds("model.type", type, base);
    std::set<std::string> seen;
    for (const ParamSpec& spec : AllParams()) {
      if (!IsOfTheLoss(spec.key) || needed.count(spec.key) > 0) continue;
      const std::vector<ParamValue> values =
          spec.key == "model.type" ? std::vector<ParamValue>{type} : ValuesOf(spec);
      for (const ParamValue& value : values) {
        if (IsUnchecked(spec.key, TextOf(value))) continue;
        Params params = base;
        params[spec.key] = value;
        AddNeeds(spec.key, TextOf(value), params);
        for (const Params& relevant : MadeRelevant(spec, params)) {
          covered_.insert({spec.key, TextOf(value)});
          const ResolvedVariant variant = MustResolve(relevant);
          if (seen.insert(variant.CanonicalText()).second) Check(variant);
        }
      }
    }
  }

  static std::vector<std::string> CheckedTypes() {
    std::vector<std::string> types = FindParam("model.type")->choices;
    std::erase_if(types, [](const std::string& type) { return IsUnchecked("model.type", type); });
    return types;
  }

  // Returns them.
  static Params AddNeeds(const std::string& key, const std::string& value, Params& params) {
    for (const Need& need : Needs()) {
      if (need.key != key || need.value != value) continue;
      for (const auto& [other, what] : need.params) params[other] = what;
      return need.params;
    }
    return {};
  }
  static bool IsUnchecked(const std::string& key, const std::string& value) {
    return std::ranges::any_of(NotChecked(), [&](const Unchecked& one) {
      return one.key == key && (one.value.empty() || one.value == value);
    });
  }

  std::string text_, images_;  // fingerprints
  Covered covered_;
};

TEST_F(RegisteredGradientTest, IsTheSlopeOfTheLossWhateverIsChosen) {
  for (const std::string& type : CheckedTypes()) CheckType(type);
  EXPECT_EQ(Uncovered(AllParams(), covered_), std::vector<std::string>());
}

TEST_F(RegisteredGradientTest, ANewChoiceOrTextOrKeyOfTrainingIsMissed) {
  CheckType("mlp");
  const std::vector<ParamSpec> registered = {
      *FindParam("model.mlp"),
      {.key = "model.new", .type = ParamType::kString, .choices = {"a"}},
      {.key = "model.text", .type = ParamType::kString},
      {.key = "train.new", .type = ParamType::kBool}};
  EXPECT_EQ(
      Uncovered(registered, covered_),
      (std::vector<std::string>{"model.new=a", "model.text", "train.new=true", "train.new=false"}));
}

TEST_F(RegisteredGradientTest, WhatIsNotCheckedHasTheReasonThatIsGiven) {
  for (const Unchecked& one : NotChecked()) {
    SCOPED_TRACE(one.key + " " + one.value);
    const ParamSpec& spec = *FindParam(one.key);
    if (one.key == "model.type") {
      Params params = Base();
      params[one.key] = one.value;
      EXPECT_EQ(one.why == Why::kNoSteps, !MustResolve(params).Has("train.steps"));
      continue;
    }
    std::vector<Params> relevant;
    for (const std::string& type : CheckedTypes()) {
      Params params = Base();
      params["model.type"] = type;
      params[one.key] = one.value;
      for (const Params& way : MadeRelevant(spec, params)) relevant.push_back(way);
    }
    EXPECT_EQ(one.why == Why::kNoSteps, relevant.empty());
    for (const Params& params : relevant) {
      EXPECT_EQ(one.why == Why::kRefused, !ResolvedVariant::Resolve(params).ok());
    }
  }
}

// A model with one element of its gradient, the largest of a tensor, twice what it should be.
class Wrong : public Trainable {
 public:
  Wrong(Trainable& model, const ParameterTensor& tensor) : model_(model), tensor_(tensor) {}

  int64_t examples() const override { return model_.examples(); }
  int64_t targets_per_example() const override { return model_.targets_per_example(); }
  void BeginStep(int64_t step) override { model_.BeginStep(step); }
  ParameterArena<float>& arena() override { return model_.arena(); }
  Evaluation EvaluateCurve() override { return model_.EvaluateCurve(); }
  double PriorNats() const override { return model_.PriorNats(); }

  double LossAndGradient(absl::Span<const int64_t> examples) override {
    const double loss = model_.LossAndGradient(examples);
    const std::vector<float> gradient = GradientOf(arena());
    const std::vector<size_t> places = Places(tensor_);
    const auto largest = static_cast<int64_t>(
        *std::ranges::max_element(places, {}, [&](size_t i) { return std::abs(gradient[i]); }));
    for (const ParameterSegment<float>& segment : arena().segments()) {
      if (segment.begin <= largest && largest < segment.begin + segment.size) {
        segment.gradient[largest - segment.begin] *= 2;
      }
    }
    return loss;
  }

 private:
  Trainable& model_;
  const ParameterTensor& tensor_;
};

TEST_F(RegisteredGradientTest, OneWrongElementOfAnyTensorIsNoticed) {
  Params params = Base();
  params["data.corpus"] = "tiny";
  params["model.type"] = "transformer";
  params["model.tie"] = false;
  params["model.biases"] = true;
  const std::unique_ptr<TrialModel> model = Started(MustResolve(params));
  ASSERT_FALSE(HasFailure());
  Trainable& right = *model->trainable();
  EXPECT_EQ(WrongGradients(right, 0), (std::map<std::string, std::string>()));
  for (const ParameterTensor& tensor : right.arena().tensors()) {
    Wrong wrong(right, tensor);
    const std::map<std::string, std::string> found = WrongGradients(wrong, 0);
    EXPECT_TRUE(found.size() == 1 && found.count(tensor.name) == 1) << tensor.name;
  }
}

}  // namespace
}  // namespace saffron
