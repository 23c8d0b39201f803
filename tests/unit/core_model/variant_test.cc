#include "core/model/variant.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/base/digest.h"
#include "core/model/registry.h"
#include "core/model/transformer_sizes.h"

namespace saffron {
namespace {

using Params = std::map<std::string, ParamValue>;
using ::testing::HasSubstr;
using ::testing::Not;

ResolvedVariant Must(const Params& given) {
  auto resolved = ResolvedVariant::Resolve(given);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return resolved.ok() ? *resolved : ResolvedVariant();
}

std::string ErrorOf(const Params& given) {
  const auto resolved = ResolvedVariant::Resolve(given);
  EXPECT_FALSE(resolved.ok()) << "resolved to " << resolved->CanonicalText();
  if (resolved.ok()) return "";
  EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(resolved.status().message());
}

TEST(ParamValueText, ShowsTypeAndRoundTripsDoubles) {
  EXPECT_EQ(ParamValueText(true), "true");
  EXPECT_EQ(ParamValueText(int64_t{-7}), "-7");
  EXPECT_EQ(ParamValueText(1.0), "1.0");
  EXPECT_EQ(ParamValueText(0.1), "0.1");
  EXPECT_EQ(ParamValueText(1e-8), "1e-08");
  EXPECT_EQ(ParamValueText(1e300), "1e+300");
  EXPECT_EQ(ParamValueText(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(ParamValueText(std::nan("")), "nan");
  EXPECT_EQ(ParamValueText(std::string("a\"b\\c\nd")), "\"a\\\"b\\\\c\\u000ad\"");
  for (double x : {0.1 + 0.2, 1.0 / 3, 123456789.123, 5e-324}) {
    EXPECT_EQ(std::strtod(ParamValueText(x).c_str(), nullptr), x);
  }
}

TEST(ResolvedVariant, EmptyInputIsTheDefaultVariant) {
  const ResolvedVariant v = Must({});
  EXPECT_EQ(v.String("model.type"), "saffu");
  EXPECT_EQ(v.Int("model.bits"), 64);
  EXPECT_EQ(v.Double("solve.kappa"), 1.0);
  EXPECT_EQ(v.CanonicalText(), "");
}

TEST(ResolvedVariant, DefaultsAreOmittedFromTheCanonicalText) {
  EXPECT_EQ(Must({{"model.bits", int64_t{64}}, {"train.steps", int64_t{300}}}).CanonicalText(),
            "train.steps=300\n");
  EXPECT_EQ(Must({{"train.steps", int64_t{300}}, {"train.lr", 0.01}, {"data.corpus", "moby"}})
                .CanonicalText(),
            "data.corpus=\"moby\"\ntrain.lr=0.01\ntrain.steps=300\n");
}

TEST(ResolvedVariant, EqualExperimentsCollapse) {
  // Nothing is trained, so the learning rate cannot matter.
  EXPECT_EQ(Must({{"train.lr", 0.5}}), Must({}));
  EXPECT_FALSE(Must({{"train.lr", 0.5}}).Has("train.lr"));
  // A random start solves nothing.
  EXPECT_EQ(Must({{"train.init", "random"}, {"solve.alpha", 300.0}}),
            Must({{"train.init", "random"}}));
  // Without stream r there is no radius; Adam has no momentum; a unigram model has no bits.
  EXPECT_EQ(Must({{"model.radius", int64_t{8}}}), Must({}));
  EXPECT_EQ(Must({{"train.steps", int64_t{9}}, {"train.momentum", 0.5}}),
            Must({{"train.steps", int64_t{9}}}));
  EXPECT_EQ(Must({{"model.type", "unigram"}, {"model.bits", int64_t{16}}}),
            Must({{"model.type", "unigram"}}));
  // An integer where a number is wanted, a whole number where an integer is.
  EXPECT_EQ(Must({{"solve.alpha", int64_t{300}}}), Must({{"solve.alpha", 300.0}}));
  EXPECT_EQ(Must({{"model.bits", 32.0}}), Must({{"model.bits", int64_t{32}}}));
  EXPECT_EQ(Must({{"solve.alpha", -0.0}}), Must({}));
}

TEST(ResolvedVariant, AnIrrelevantKeyDoesNotMakeAnotherRelevant) {
  // model.input is no key of saffu, so it must not turn its corpus into images.
  const ResolvedVariant v = Must({{"model.input", "pixels"}});
  EXPECT_TRUE(v.Has("data.tokens"));
  EXPECT_FALSE(v.Has("data.examples"));
  // Steps mean nothing to a unigram model, nor then does the learning rate.
  EXPECT_FALSE(Must({{"model.type", "unigram"}, {"train.steps", int64_t{5}}}).Has("train.lr"));
}

TEST(ResolvedVariant, RelevantKeysAreThere) {
  EXPECT_TRUE(Must({{"model.streams", "x+r"}}).Has("model.radius"));
  EXPECT_FALSE(Must({{"model.streams", "x+r"}}).Has("model.context_lags"));
  EXPECT_TRUE(Must({{"model.layers", int64_t{2}}}).Has("model.width"));
  EXPECT_FALSE(Must({{"data.tokenizer", "byte"}}).Has("data.vocab"));
  EXPECT_FALSE(Must({{"model.type", "noop"}}).Has("data.corpus"));
  const ResolvedVariant pixels =
      Must({{"model.type", "softmax_regression"}, {"model.input", "pixels"}});
  EXPECT_TRUE(pixels.Has("data.examples"));
  EXPECT_FALSE(pixels.Has("data.tokens"));
  EXPECT_FALSE(pixels.Has("model.context"));
}

TEST(ResolvedVariant, DigestsAreStable) {
  // Golden: a change here orphans every stored result.
  EXPECT_EQ(Must({}).Digest(), Sha256Hex(""));
  EXPECT_EQ(Must({{"model.bits", int64_t{32}}, {"train.steps", int64_t{300}}, {"train.lr", 0.003}})
                .Digest(),
            Sha256Hex("model.bits=32\ntrain.lr=0.003\ntrain.steps=300\n"));
  EXPECT_EQ(TrialDigest(Must({}), 17, "abc"),
            Sha256Hex("saffron trial\nvariant="
                      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
                      "\nseed=17\ndata=abc\nnumerics=2\n"));
}

TEST(ResolvedVariant, TrialDigestsDifferInEachPart) {
  const ResolvedVariant a = Must({}), b = Must({{"model.bits", int64_t{32}}});
  const std::string base = TrialDigest(a, 1, "f");
  EXPECT_EQ(base, TrialDigest(Must({{"model.bits", int64_t{64}}}), 1, "f"));
  EXPECT_NE(base, TrialDigest(b, 1, "f"));
  EXPECT_NE(base, TrialDigest(a, 2, "f"));
  EXPECT_NE(base, TrialDigest(a, 1, "g"));
}

TEST(ResolvedVariant, ErrorsSayWhatWasWantedAndGiven) {
  EXPECT_EQ(ErrorOf({{"model.bit", int64_t{64}}}),
            "model.bit: no such key; did you mean model.bits?");
  EXPECT_EQ(ErrorOf({{"optimizer.lr", 0.1}}), "optimizer.lr: no such key; did you mean train.lr?");
  EXPECT_EQ(ErrorOf({{"colour", "red"}}),
            "colour: no such key; keys start with data., model., solve. or train.");
  EXPECT_EQ(ErrorOf({{"model.bits", "many"}}),
            "model.bits: want an integer in [2, 1024], got \"many\"");
  EXPECT_EQ(ErrorOf({{"model.bits", 6.5}}), "model.bits: want an integer in [2, 1024], got 6.5");
  EXPECT_EQ(ErrorOf({{"model.bits", int64_t{1}}}),
            "model.bits: want an integer in [2, 1024], got 1");
  EXPECT_EQ(ErrorOf({{"model.bits", true}}), "model.bits: want an integer in [2, 1024], got true");
  EXPECT_EQ(ErrorOf({{"train.lr", int64_t{-1}}}), "train.lr: want a number in (0, 100], got -1");
  EXPECT_EQ(ErrorOf({{"train.lr", std::nan("")}}), "train.lr: want a number in (0, 100], got nan");
  EXPECT_EQ(ErrorOf({{"train.beta1", 1.0}}), "train.beta1: want a number in [0, 1), got 1.0");
  EXPECT_EQ(ErrorOf({{"train.optimizer", "adm"}}),
            "train.optimizer: want one of adam, adamw, adafactor, muon, sgd, got \"adm\"; did you "
            "mean adam?");
  EXPECT_EQ(ErrorOf({{"train.optimizer", "newton"}}),
            "train.optimizer: want one of adam, adamw, adafactor, muon, sgd, got \"newton\"");
  EXPECT_EQ(ErrorOf({{"data.corpus", int64_t{3}}}), "data.corpus: want a string, got 3");
  EXPECT_EQ(ErrorOf({{"data.corpus", "../etc"}}),
            "data.corpus: want the name of a corpus (1 to 64 of a-z 0-9 . _ -), got \"../etc\"");
}

TEST(ResolvedVariant, ErrorsInKeysThatDoNotMatterAreStillErrors) {
  EXPECT_THAT(ErrorOf({{"train.lr", -1.0}}), HasSubstr("train.lr: want"));
}

TEST(ResolvedVariant, KeysMustFitEachOther) {
  EXPECT_EQ(ErrorOf({{"model.bits", int64_t{12}}}),
            "model.bits: want at least 13, for 4096 types to have codes of their own, got 12");
  Must({{"model.bits", int64_t{13}}});
  Must({{"model.bits", int64_t{9}}, {"data.tokenizer", "byte"}});
  EXPECT_EQ(ErrorOf({{"train.steps", int64_t{10}}, {"train.warmup", int64_t{11}}}),
            "train.warmup: want at most train.steps (10), got 11");
  Must({{"train.warmup", int64_t{11}}});  // nothing is trained: no warm-up either
  EXPECT_EQ(
      ErrorOf({{"model.layers", int64_t{2}}, {"model.head", "sum"}, {"model.width", int64_t{32}}}),
      "model.width: want model.bits (64) when model.head is sum, which adds keys of equal width, "
      "got 32");
}

TEST(ResolvedVariant, SizesOfLayersMayDiffer) {
  const auto with = [](const char* key, const ParamValue& value) {
    return Params{{"model.type", "transformer"}, {"model.layers", int64_t{3}}, {key, value}};
  };
  const ResolvedVariant apart = Must(with("model.mlp_width", "256, 512,0"));
  EXPECT_EQ(apart.String("model.mlp_width"), "256,512,0");
  EXPECT_EQ(SizesOfLayer(apart, 1).mlp_width, 512);
  EXPECT_EQ(SizesOfLayer(apart, 2).mlp_width, 4 * 128);
  EXPECT_EQ(*ResolvedVariant::Resolve(apart.params()), apart);
  EXPECT_THAT(apart.CanonicalText(), HasSubstr("model.mlp_width=\"256,512,0\"\n"));
  // All the same are one for all; the default is no part of the identity, in whatever form.
  EXPECT_EQ(Must(with("model.heads", "2,2,2")), Must(with("model.heads", int64_t{2})));
  EXPECT_EQ(Must(with("model.heads", "2")), Must(with("model.heads", int64_t{2})));
  EXPECT_EQ(Must(with("model.heads", "4,4,4")).CanonicalText(),
            Must(with("model.heads", int64_t{4})).CanonicalText());

  EXPECT_EQ(ErrorOf(with("model.mlp_width", "256,512")),
            "model.mlp_width: want a number for each of model.layers (3), or one for all, got "
            "\"256,512\"");
  EXPECT_THAT(ErrorOf(with("model.mlp_width", "5,5")), HasSubstr("want a number for each of"));
  EXPECT_EQ(ErrorOf(with("model.heads", "2,0,2")),
            "model.heads: want an integer in [1, 256], or a list of them with one for each of "
            "model.layers, got \"2,0,2\"");
  EXPECT_THAT(ErrorOf(with("model.heads", "2,,2")), HasSubstr("or a list of them"));
  EXPECT_THAT(ErrorOf(with("model.heads", "a lot")), HasSubstr("or a list of them"));
  EXPECT_THAT(ErrorOf(with("model.window", "64,64,64")), Not(HasSubstr("list")));
  // What a layer cannot be, whichever it is.
  EXPECT_THAT(ErrorOf(with("model.heads", "4,3,4")), HasSubstr("want a divisor of model.hidden"));
  EXPECT_THAT(ErrorOf(with("model.kv_heads", "4,2,3")), HasSubstr("a divisor of model.heads (4)"));
  EXPECT_THAT(ErrorOf(with("model.head_dim", "4,7,4")), HasSubstr("an even number"));
  EXPECT_EQ(ErrorOf(with("model.value_dim", int64_t{2000})),
            "model.value_dim: want an integer in [0, 1024], or a list of them with one for each "
            "of model.layers, got 2000");
}

TEST(ResolvedVariant, ValuesAreAsWideAsKeysUnlessSaid) {
  Params params = {{"model.type", "transformer"}, {"model.head_dim", int64_t{10}}};
  const std::string before = Must(params).Digest();
  EXPECT_EQ(SizesOfLayer(Must(params), 0).value_dim, 10);
  params["model.value_dim"] = int64_t{0};
  EXPECT_EQ(Must(params).Digest(), before);
  params["model.value_dim"] = int64_t{7};
  EXPECT_EQ(SizesOfLayer(Must(params), 0).value_dim, 7);
  EXPECT_EQ(SizesOfLayer(Must(params), 0).key_dim, 10);
}

TEST(ResolvedVariant, IsAFixedPointOfResolve) {
  for (const Params& given :
       {Params{}, Params{{"model.type", "noop"}},
        Params{{"train.steps", int64_t{3}}, {"train.schedule", "constant"}},
        Params{{"model.type", "softmax_regression"}, {"model.input", "pixels"}}}) {
    const ResolvedVariant v = Must(given);
    EXPECT_EQ(Must(v.params()), v);
    EXPECT_EQ(Must(v.params()).Digest(), v.Digest());
  }
}

TEST(ResolvedVariantDeathTest, ReadingAnIrrelevantKeyIsOurMistake) {
  EXPECT_DEATH(Must({}).Double("train.lr"), "train.lr is not relevant");
  EXPECT_DEATH(Must({}).Double("model.bits"), "model.bits has another type");
}

}  // namespace
}  // namespace saffron
