// Every mistake that we know people make, and the whole message they get for it.

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "coordinator/sweep/expand.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/model/registry.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

struct Mistake {
  std::string name;
  std::string text;
  std::string message;  // every line of it
};

// What a user is told, by the reader or else by the expander.
std::string MessageOf(const std::string& text, SweepFormat format = SweepFormat::kYaml) {
  const absl::StatusOr<v1::SweepSpec> spec = ReadSweepText(text, format, "s.yaml");
  if (!spec.ok()) {
    EXPECT_EQ(spec.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(spec.status().message());
  }
  const absl::StatusOr<Expansion> expansion =
      Expand(*spec, {.corpora = std::vector<std::string>{"mnist", "sotu"}});
  if (!expansion.ok()) {
    EXPECT_EQ(expansion.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(expansion.status().message());
  }
  return "accepted";
}

std::string Nested(int depth, const std::string& open, const std::string& inside,
                   const std::string& close) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  text += inside;
  for (int i = 0; i < depth; ++i) text += close;
  return text;
}

std::string ChoicesOf(const std::string& key) {
  return absl::StrJoin(FindParam(key)->choices, ", ");
}

std::string MetricsOf(const std::string& type) {
  std::vector<std::string> metrics =
      ReportedMetrics(ResolvedVariant::Resolve({{"model.type", type}}).value());
  std::sort(metrics.begin(), metrics.end());
  return absl::StrJoin(metrics, ", ");
}

const std::string kAxis = "parameters: {model.bits: {values: [16, 32]}}\n";

std::vector<Mistake> Keys() {
  return {
      {"TypoAtTheTop", "paramters: {}\n",
       "s.yaml:1:1: paramters: want a key of the sweep, got an unknown one; did you mean "
       "parameters?"},
      {"TypoInAKey", "baseline:\n  model.bit: 3\n",
       "s.yaml:2:3: model.bit: want a registered key, got an unknown one; did you mean "
       "model.bits?"},
      {"KeyWithoutItsFamily", "baseline: {lr: 0.1}\n",
       "s.yaml:1:12: lr: want a registered key, got an unknown one; did you mean train.lr?"},
      {"KeyLikeNoOther", "baseline: {wibble: 0.1}\n",
       "s.yaml:1:12: wibble: want a registered key (of data., model., solve. or train.), got an "
       "unknown "
       "one"},
      {"TypoInABlock", "blocks:\n  - name: a\n    parameter: {model.bits: {values: [16]}}\n",
       "s.yaml:3:5: parameter: want a key of a block, got an unknown one; did you mean "
       "parameters?"},
      {"TypoInAParameter", "parameters: {model.bits: {vaules: [16]}}\n",
       "s.yaml:1:27: vaules: want a key of parameter model.bits, got an unknown one; did you mean "
       "values?"},
      {"TypoInASection", "seeds: {cuont: 3}\n" + kAxis,
       "s.yaml:1:9: cuont: want a key of seeds, got an unknown one; did you mean count?"},
      {"UnknownKeyOfASection", "seeds: {replicates: 3}\n" + kAxis,
       "s.yaml:1:9: replicates: want a key of seeds (count, first), got an unknown one"},
      {"TypoInAnAblation", "ablate: {mod: pairwise, groups: {a: {model.bits: 32}}}\n",
       "s.yaml:1:10: mod: want a key of ablate, got an unknown one; did you mean mode?"},
      {"TypoInANestedParameter",
       "parameters:\n  model:\n    parameters:\n      contxt: {values: [2, 4]}\n",
       "s.yaml:4:7: model.contxt: want a registered key, got an unknown one; did you mean "
       "model.context?"},
      {"DuplicateKey", "baseline:\n  model.bits: 64\n  model.bits: 32\n",
       "s.yaml:3:3: model.bits: want each key once, got it again (first on line 2)"},
      {"MergeKey", "baseline: &b {model.bits: 32}\nblocks:\n  - name: a\n    <<: *b\n",
       "s.yaml:4:5: <<: want every key written out, got a merge key, which only some readers of "
       "YAML "
       "follow"},
      {"BlockKeysBesideBlocks",
       "blocks:\n  - {name: a, parameters: {model.bits: {values: [16]}}}\nmethod: random\n",
       "s.yaml:3:1: method: want it inside a block, since the file has blocks, got it beside them"},
      {"BlockWithoutAName", "blocks:\n  - parameters: {model.bits: {values: [16]}}\n",
       "s.yaml:2:5: name: want a name for the block, got none"},
      {"TwoBlocksOfOneName",
       "blocks:\n  - {name: a, parameters: {model.bits: {values: [16]}}}\n"
       "  - {name: a, parameters: {model.bits: {values: [32]}}}\n",
       "s.yaml:3:5: blocks.a: want a name of its own for each block, got it again"},
      {"BlockNamedBaseline",
       "blocks:\n  - {name: baseline, parameters: {model.bits: {values: [16]}}}\n",
       "s.yaml:2:5: blocks.baseline: want a name other than baseline, which is the baseline's own "
       "block"},
      {"NameThatIsASelector", "name: last\n" + kAxis,
       "s.yaml:1:7: name: want a name of letters, digits, '-', '_', '.', '+' and spaces, at most "
       "100 "
       "bytes, "
       "other than last, all and plain numbers, got \"last\""},
      {"KeySetTwiceInABlock", kAxis + "derived: {model.bits: \"16\"}\n",
       "s.yaml:2:11: model.bits: want each key set once in a block, got it in parameters and in "
       "derived"},
      {"AblationOfAnAxis", kAxis + "ablate: {groups: {a: {model.bits: 32}}}\n",
       "s.yaml:1:14: model.bits: want each key set once in a block, got it in ablate and in "
       "parameters"},
  };
}

std::vector<Mistake> Values() {
  return {
      {"WrongType", "baseline: {model.bits: many}\n",
       "s.yaml:1:24: model.bits: want an integer in [2, 1024], got \"many\""},
      {"QuotedNumber", "baseline: {model.bits: \"64\"}\n",
       "s.yaml:1:24: model.bits: want an integer in [2, 1024], got \"64\"; write it without "
       "quotes"},
      {"Fraction", "baseline: {model.bits: 64.5}\n",
       "s.yaml:1:24: model.bits: want an integer in [2, 1024], got 64.5"},
      {"ListForAValue", "baseline: {model.bits: [16, 32]}\n",
       "s.yaml:1:24: model.bits: want a value, got a list"},
      {"NoValue", "baseline:\n  model.bits:\n",
       "s.yaml:2:3: model.bits: want a value, got nothing"},
      {"OutOfRange", "baseline:\n  model.bits: 100000\n",
       "s.yaml:2:15: model.bits: want an integer in [2, 1024], got 100000"},
      {"SeveralOutOfRange", "parameters:\n  train.lr: {values: [0.1, 0, -3, 1e9]}\n",
       "s.yaml:2:28: train.lr: want a number in (0, 100], got 0\n"
       "s.yaml:2:31: train.lr: want a number in (0, 100], got -3\n"
       "s.yaml:2:35: train.lr: want a number in (0, 100], got 1e+09"},
      {"Octal", "baseline: {model.bits: 010}\n",
       "s.yaml:1:24: model.bits: want a decimal number, got 010, which some readers take for "
       "octal; "
       "write 10"},
      {"Hexadecimal", "baseline: {model.bits: 0x10}\n",
       "s.yaml:1:24: model.bits: want a decimal number, got 0x10"},
      {"Underscores", "baseline: {data.tokens: 1_000_000}\n",
       "s.yaml:1:25: data.tokens: want a number without underscores, got 1_000_000; write 1000000"},
      {"NotANumber", "baseline: {train.lr: .nan}\n",
       "s.yaml:1:22: train.lr: want a finite number, got .nan"},
      {"TooLargeForADouble", "baseline: {train.lr: 1e999}\n",
       "s.yaml:1:22: train.lr: want a number that a double holds, got 1e999"},
      {"TooLargeForAnInteger", "baseline: {train.steps: 99999999999999999999}\n",
       "s.yaml:1:25: train.steps: want an integer of 64 bits, got 99999999999999999999"},
      {"NoAsAWord", "baseline: {model.attention: no}\n",
       "s.yaml:1:29: model.attention: want true, false or a quoted string, got the bare word no, "
       "which "
       "some readers take for a boolean; write false or \"no\""},
      {"OffAsABoolean", "include_baseline: off\n" + kAxis,
       "s.yaml:1:19: include_baseline: want true, false or a quoted string, got the bare word off, "
       "which "
       "some readers take for a boolean; write false or \"off\""},
      {"QuotedBoolean", "include_baseline: \"true\"\n" + kAxis,
       "s.yaml:1:19: include_baseline: want true or false, got \"true\""},
      {"NumberAsAName", "name: 2024\n" + kAxis,
       "s.yaml:1:7: name: want a string, got 2024; write \"2024\""},
      {"NumberAsACorpus", "baseline: {data.corpus: 2024}\n",
       absl::StrCat("s.yaml:1:25: data.corpus: want a string, got 2024; write \"2024\"")},
      {"UnknownCorpus", "baseline: {data.corpus: sotuu}\n",
       "s.yaml:1:25: data.corpus: want a corpus that exists (mnist, sotu; `saffron data fetch` "
       "gets "
       "one, `data add` makes one), "
       "got \"sotuu\"; did you mean sotu?"},
      {"UnknownCorpusOnAnAxis", "parameters:\n  data.corpus: {values: [sotu, mine]}\n",
       "s.yaml:2:32: data.corpus: want a corpus that exists (mnist, sotu; `saffron data fetch` "
       "gets "
       "one, `data add` makes one), "
       "got \"mine\""},
      {"UnknownModelType", "baseline: {model.type: safu}\n",
       absl::StrCat("s.yaml:1:24: model.type: want one of ", ChoicesOf("model.type"),
                    ", got \"safu\"; did you mean saffu?")},
      {"ValuesThatDoNotGoTogether", "parameters:\n  model.bits: {values: [64, 8]}\n",
       "s.yaml:2:29: model.bits: want at least 13, for 4096 types to have codes of their own, got "
       "8 (in "
       "block sweep, where model.bits = 8)"},
      {"BaselineThatDoesNotGoTogether", "baseline:\n  model.bits: 8\n",
       "s.yaml:2:15: model.bits: want at least 13, for 4096 types to have codes of their own, got "
       "8 (in "
       "the baseline)"},
      {"Sections",
       "seeds: {count: 0, first: -1}\nresources: {threads: 4, memory: 2}\n"
       "retry: {error: many, timeout: -1}\nlimits: {trial_time: 3600, variants: 0}\n" +
           kAxis,
       "s.yaml:1:16: seeds.count: want an integer in [1, 10000], got 0\n"
       "s.yaml:1:26: seeds.first: want an integer in [0, 4611686018427387903], got -1\n"
       "s.yaml:2:22: resources.threads: want 1 (a trial runs on one thread; workers have slots for "
       "more "
       "trials), got 4\n"
       "s.yaml:2:33: resources.memory: want a size such as 2GiB or 512MiB, got 2\n"
       "s.yaml:3:16: retry.error: want an integer in [0, 1000] or unlimited, got \"many\"\n"
       "s.yaml:3:31: retry.timeout: want an integer in [0, 1000], got -1\n"
       "s.yaml:4:22: limits.trial_time: want a duration such as 2h, 1h 30m or 90s, got 3600\n"
       "s.yaml:4:38: limits.variants: want an integer in [1, 1000000], got 0"},
      {"OtherVersion", "version: 2\n" + kAxis, "s.yaml:1:10: version: want 1, got 2"},
  };
}

std::vector<Mistake> Texts() {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    absl::StrAppend(&bomb, "a", i, ": &a", i, " [",
                    absl::StrJoin(std::vector<std::string>(10, absl::StrCat("*a", i - 1)), ", "),
                    "]\n");
  }
  return {
      {"Empty", "", "s.yaml:1:1: want a sweep, got an empty file"},
      {"OnlyAComment", "# nothing yet\n", "s.yaml:1:1: want a sweep, got an empty file"},
      {"AListAtTheTop", "- a\n- b\n", "s.yaml:1:1: want a mapping, got a list"},
      {"Tab", "baseline:\n\tmodel.bits: 64\n", "s.yaml:2:1: want spaces as indentation, got a tab"},
      {"TabAfterSpaces", "baseline:\n  model.bits: 64\n  \tmodel.context: 2\n",
       "s.yaml:3:3: want spaces as indentation, got a tab"},
      {"TwoDocuments", "name: a\n---\nname: b\n",
       "s.yaml:2:1: want one document in a file, got a second one (---)"},
      {"Tag", "name: !!str x\n" + kAxis,
       "s.yaml:1:7: want a value without a tag, got the tag tag:yaml.org,2002:str"},
      {"AliasBomb", bomb,
       "s.yaml:4:45: want aliases that stand for at most 10000 values in all, got more"},
      {"AliasOfItself", "a: &a [*a]\n",
       "s.yaml:1:8: want an alias of a finished value, got one of a value that contains it"},
      {"UnknownAlias", "baseline: *b\n",
       "s.yaml:1:11: want an alias of an anchor above, got an unknown one"},
      {"TooDeep", Nested(40, "[", "1", "]"),
       "s.yaml:1:33: want at most 32 levels of nesting, got more"},
      {"FarTooDeep", "a: " + Nested(200000, "[", "1", "]"),
       "s.yaml:1:35: want at most 32 levels of nesting, got more"},
      {"Latin1", "name: caf\xE9\n", "s.yaml:1:10: want UTF-8, got the byte 0xe9"},
      {"BadByteAfterUtf8", "name: x\nquestion: \"h\xC3\xA9llo \xFF\"\n",
       "s.yaml:2:18: want UTF-8, got the byte 0xff"},
      {"Utf16", std::string("\xFF\xFEn\0a\0", 6),
       "s.yaml:1:1: want UTF-8, got UTF-16; save the file as UTF-8"},
      {"Binary", std::string("name: x\n\0\1\2", 11),
       "s.yaml:2:1: want text, got the control character 0x00"},
      {"BracketNotClosed", "parameters: {model.bits: {values: [16, 32}}\n",
       "s.yaml:1:42: want brackets and braces closed in the order they were opened, got another"},
      {"QuoteNotClosed", "name: \"x\n",
       "s.yaml:1:7: want a closing quote for this one, got the end of the file"},
      {"QuoteThatSwallowsTheRest", "baseline:\n  model.type: 'saffu\n  model.bits: 64\n",
       "s.yaml:2:15: want a closing quote for this one, got the end of the file"},
      {"Misaligned", "baseline:\n  model.bits: 64\n model.context: 3\n",
       "s.yaml:3:2: want the next key in the column of the first, or quotes around a text with ': "
       "' or "
       "'#' in it, got something else"},
      {"ColonInAText", "question: which: one\n",
       "s.yaml:1:16: want a key in its mapping's column, or quotes around a text with ': ' in it, "
       "got a "
       "':' here"},
      {"ListAsKey", "? [a]\n: b\n", "s.yaml:1:3: want a name as key, got a list"},
  };
}

std::vector<Mistake> Blocks() {
  return {
      {"ZipOfUnequalLengths", "zip:\n  - {train.steps: [0, 300], train.lr: [0.1, 0.2, 0.3]}\n",
       "s.yaml:2:29: zip: want lists of one length, got train.steps 2, train.lr 3"},
      {"EmptyValues", "parameters: {model.bits: {values: []}}\n",
       "s.yaml:1:35: model.bits: want at least one value, got an empty list"},
      {"NeitherValuesNorRange", "parameters: {model.bits: {}}\n",
       "s.yaml:1:14: model.bits: want value, values, or min and max, got none of them"},
      {"ValuesAndRange", "parameters: {model.bits: {values: [16], min: 16, max: 32}}\n",
       "s.yaml:1:14: model.bits: want values or a distribution, got both"},
      {"BareList", "parameters: {model.bits: [16, 32]}\n",
       "s.yaml:1:26: model.bits: want a mapping such as {values: [...]}, got a list"},
      {"MinAboveMax", "parameters: {train.lr: {min: 1, max: 0.1, count: 3}}\n",
       "s.yaml:1:38: train.lr.max: want at least min (1.0), got 0.1"},
      {"MinWithoutMax", "parameters: {train.lr: {min: 1}}\n",
       "s.yaml:1:14: train.lr: want max for uniform, got none"},
      {"MinOutOfRange", "parameters: {train.lr: {min: 0, max: 0.1, count: 3}}\n",
       "s.yaml:1:30: train.lr.min: want a number in (0, 100], got 0.0"},
      {"GridWithoutCount", "parameters: {train.lr: {min: 0.1, max: 1}}\n",
       "s.yaml:1:14: train.lr: want count (the points of a grid) or method: random with uniform, "
       "got "
       "neither"},
      {"NormalGrid", "parameters: {train.lr: {distribution: normal}}\n",
       "s.yaml:1:14: train.lr: want method: random for normal, got a grid"},
      {"UnknownDistribution",
       "parameters: {train.lr: {distribution: log_uniform_value, min: 1, max: 2}}\n",
       "s.yaml:1:39: train.lr.distribution: want one of uniform, int_uniform, log_uniform_values, "
       "inv_log_uniform_values, log_uniform, normal, log_normal, q_uniform, q_log_uniform_values, "
       "q_log_uniform, q_normal, q_log_normal, categorical, constant, got log_uniform_value; did "
       "you "
       "mean log_uniform_values?"},
      {"LogOfNothing",
       "method: random\ncount: 3\nparameters: {train.final_lr: {distribution: log_uniform_values, "
       "min: "
       "0, max: 1}}\n",
       "s.yaml:3:70: train.final_lr.min: want a number above 0 for log_uniform_values, got 0.0"},
      {"DistributionOfWords", "parameters: {model.type: {min: 1, max: 3}}\n",
       "s.yaml:1:14: model.type: want values for a string key, got a distribution of numbers"},
      {"NoMultipleOfQ",
       "parameters: {train.lr: {distribution: q_uniform, min: 0.1, max: 0.2, q: 0.5}}\n",
       "s.yaml:1:73: train.lr.q: want a multiple of q between min and max, got none of 0.5"},
      {"ProbabilitiesInAGrid",
       "parameters: {model.bits: {values: [16, 32], probabilities: [0.5, 0.5]}}\n",
       "s.yaml:1:14: model.bits.probabilities: want method: random with probabilities, got a grid"},
      {"TooFewProbabilities",
       "method: random\ncount: 2\nparameters: {model.bits: {values: [16, 32], probabilities: "
       "[1]}}\n",
       "s.yaml:3:14: model.bits.probabilities: want as many as values (2), got 1"},
      {"RandomWithoutCount", "method: random\n" + kAxis,
       "s.yaml:1:1: blocks.sweep: want count (or run_cap in a W&B file), the number of variants to "
       "draw, with method: random, got none"},
      {"NestedKeys", "baseline: {data: {tokens: 1000}}\n",
       "s.yaml:1:12: data: want dotted keys, such as data.tokens, got a mapping"},
      {"UnknownMethod", "method: grit\n" + kAxis,
       "s.yaml:1:9: method: want one of grid, random, got grit; did you mean grid?"},
      {"BillionVariants",
       "blocks:\n  - name: huge\n    parameters:\n      train.steps: {min: 1, max: 1000}\n"
       "      train.batch: {min: 1, max: 1000}\n      data.tokens: {min: 1000, max: 1999}\n",
       "s.yaml:2:5: blocks.huge: want at most 1000000 combinations, got 1000000000 (train.steps "
       "1000 x "
       "train.batch 1000 x data.tokens 1000); method: random draws some of them, count: N takes "
       "the "
       "first N"},
      {"TooMuchInAllBlocksTogether",
       "blocks:\n  - {name: a, parameters: {train.steps: {min: 1, max: 600000}}}\n"
       "  - {name: b, parameters: {train.steps: {min: 1, max: 600000}}}\n",
       "s.yaml: blocks: want at most 1000000 combinations in all blocks together, got 1200000"},
      {"ExcludeSearchesForEver",
       absl::StrCat("method: random\ncount: 200000\nparameters: {train.steps: {min: 0, max: 1}}\n",
                    "exclude: [\"train.steps < 2\"]\n"),
       "s.yaml:1:1: blocks.sweep: want a sweep that is expanded in at most 3000000 steps, got "
       "more: "
       "exclude leaves too little of its blocks"},
      {"MoreVariantsThanTheLimit",
       "limits: {variants: 3}\nblocks:\n  - name: a\n    parameters: "
       "{model.bits: {values: [16, 32, 64, 128]}}\n",
       "s.yaml:3:5: blocks.a: want at most 3 distinct variants in the sweep, got more with the "
       "combinations of this block (4); limits.variants sets the number"},
      {"OneGroupForPairs", "ablate: {mode: pairwise, groups: {a: {model.bits: 32}}}\n",
       "s.yaml:1:1: ablate: want 2 to 200 groups, got 1"},
      {"GroupsThatHideEachOther",
       "ablate:\n  mode: pairwise\n  groups:\n    a: {model.bits: 32}\n    b: {model.bits: 16}\n",
       "s.yaml:5:21: model.bits: want each key in one group in this mode, got it in a and in b"},
      {"GroupWithoutChanges", "ablate: {groups: {a: {}}}\n",
       "s.yaml:1:19: a: want at least one change, got none"},
      {"BlockOfNothing", "method: grid\n",
       "s.yaml:1:1: blocks.sweep: want parameters, zip, ablate or init_from, got none of them"},
      {"NoVariantAtAll", "include_baseline: false\n",
       "s.yaml: blocks: want at least one variant, got no blocks and no baseline"},
      {"MetricOfSomebodyElse", "metric: {name: val_loss}\nbaseline: {model.type: noop}\n",
       absl::StrCat("s.yaml:1:16: metric.name: want a metric that a variant reports (",
                    MetricsOf("noop"), "), got val_loss")},
      {"TypoInAMetric", "metric: {name: test/perplexty}\n" + kAxis,
       "s.yaml:1:16: metric.name: want a metric that a variant reports, got test/perplexty; did "
       "you mean "
       "test/perplexity?"},
  };
}

std::vector<Mistake> Expressions() {
  const std::string long_or = Nested(400, "model.bits == 1 or ", "true", "");
  return {
      {"UnknownName", kAxis + "exclude: [\"model.bit >= 16\"]\n",
       "s.yaml:2:11: exclude: want a registered key or a constant, got model.bit (column 1 of "
       "`model.bit >= 16`); did you mean model.bits?"},
      {"UnknownConstant",
       "constants: {tokens: 1000000}\nbaseline: {data.tokens: \"= token / 10\"}\n",
       "s.yaml:2:25: data.tokens: want a constant (tokens), got token (column 1 of `token / 10`); "
       "did "
       "you mean tokens?"},
      {"KeyInAValue", "baseline: {data.tokens: \"= data.vocab * 10\"}\n",
       "s.yaml:1:25: data.tokens: want constants in a value, got the key data.vocab (column 1 of "
       "`data.vocab * 10`); `derived` may read keys"},
      {"ComputedOutOfRange",
       "constants: {tokens: 1000}\nbaseline: {data.tokens: \"= tokens / 10\"}\n",
       "s.yaml:2:25: data.tokens: want an integer in [1000, 1000000000], got 100 = tokens / 10"},
      {"ComputedFraction",
       "constants: {tokens: 10001}\nbaseline: {data.tokens: \"= tokens / 10\"}\n",
       "s.yaml:2:25: data.tokens: want an integer in [1000, 1000000000], got 1000.1; round(), "
       "floor() "
       "and ceil() make integers = tokens / 10"},
      {"DivisionByZero",
       "parameters: {model.bits: {values: [16]}, train.steps: {values: [10, 0]}}\n"
       "derived: {train.warmup: \"model.bits // train.steps\"}\n",
       "s.yaml:2:25: train.warmup: want a divisor other than zero, got 16 // 0 (column 12 of "
       "`model.bits "
       "// train.steps`) (in block sweep, where model.bits = 16 and train.steps = 0)"},
      {"DivisionByZeroInAConstant", "constants: {none: 0, all: \"= 1 / none\"}\n" + kAxis,
       "s.yaml:1:27: all: want a divisor other than zero, got 1 / 0 (column 3 of `1 / none`)"},
      {"TooDeep", kAxis + "exclude: [\"" + Nested(100, "(", "1", ")") + "\"]\n",
       absl::StrCat("s.yaml:2:11: exclude: want at most 64 levels of nesting, got more: too costly "
                    "(column 33 of `…",
                    Nested(60, "(", "", ""), "…`)")},
      {"TooLong", kAxis + "exclude: [\"" + long_or + "\"]\n",
       "s.yaml:2:11: exclude: want an expression of at most 4096 bytes, got 7604: too costly"},
      {"TooCostly",
       "parameters: {train.steps: {min: 1, max: 1000}, train.batch: {min: 1, max: 1000}}\nexclude: "
       "[\"" +
           Nested(2000, "1+", "1", "") + " > 0\"]\n",
       "s.yaml:2:11: exclude: want at most 50000000 operations for all combinations of a sweep, "
       "got "
       "more: too costly"},
      {"Overflow", kAxis + "exclude: [\"9 ** 9 ** 9 > 3\"]\n",
       "s.yaml:2:11: exclude: want an integer of 64 bits, got 9 ** 387420489, which is larger "
       "(column 3 "
       "of `9 ** 9 ** 9 > 3`) (in block sweep, where model.bits = 16)"},
      {"DerivedCycle",
       kAxis + "derived:\n  train.steps: train.warmup * 10\n  train.warmup: train.steps / 10\n",
       "s.yaml:3:16: train.steps: want derived keys that do not read each other in a circle, got "
       "train.steps -> train.warmup -> train.steps"},
      {"DerivedFromItself", kAxis + "derived: {train.steps: train.steps + 1}\n",
       "s.yaml:2:24: train.steps: want derived keys that do not read each other in a circle, got "
       "train.steps -> train.steps"},
      {"ConditionsInACircle",
       "parameters: {model.bits: {values: [64, 32]}, model.context: {values: [1, 2]}}\n"
       "when: {model.context: \"model.bits > 3\", model.bits: \"model.context > 1\"}\n",
       "s.yaml:2:53: model.bits: want conditions that do not read each other in a circle, got "
       "model.bits "
       "-> model.context -> model.bits"},
      {"ConditionOfNoAxis", kAxis + "when: {model.context: \"model.bits > 3\"}\n",
       "s.yaml:2:8: model.context: want a key of this block's parameters or zip, got one of no "
       "axis"},
      {"ConditionOfAnAblation",
       "ablate: {groups: {a: {model.bits: 32}}}\nwhen: {model.bits: \"model.context > 3\"}\n",
       "s.yaml:2:8: model.bits: want a key of this block's parameters or zip, got one of no axis"},
      {"ConditionOnADerivedKey",
       kAxis + "derived: {train.steps: \"10\"}\nwhen: {model.bits: \"train.steps > 3\"}\n",
       "s.yaml:3:20: model.bits: want a condition on axes and the baseline, got the derived key "
       "train.steps, which is computed later"},
      {"ConditionThatIsNone", kAxis + "exclude: [\"model.bits\"]\n",
       "s.yaml:2:11: exclude: want true or false, got 16 (column 1 of `model.bits`) (in block "
       "sweep, "
       "where model.bits = 16)"},
      {"NumbersAgainstWords", kAxis + "exclude: [\"model.type == 3\"]\n",
       "s.yaml:2:11: exclude: want values of one type on both sides of ==, got \"saffu\" and 3 "
       "(column "
       "12 of `model.type == 3`) (in block sweep, where model.bits = 16)"},
      {"ExcludeEmptiesTheBlock", kAxis + "exclude: [\"model.bits >= 16\"]\n",
       "s.yaml:2:11: exclude: want something left of block sweep, got all 2 combinations of "
       "model.bits "
       "excluded (2 by `model.bits >= 16`)"},
      {"ExcludeEmptiesAnAxis",
       "parameters: {model.type: {values: [unigram, kneser_ney]}, model.order: {values: [2, 3]}}\n"
       "when: {model.order: \"model.type == 'kneser_ney'\"}\nexclude:\n  - model.order < 4 and "
       "model.type == 'kneser_ney'\n",
       "s.yaml:4:5: exclude: want something left of every axis of block sweep, got every value of "
       "model.order excluded (2 combinations by `model.order < 4 and model.type == 'kneser_ney'`)"},
      {"ExcludeLeavesTooFewDraws",
       "method: random\ncount: 10\nparameters: {train.lr: {min: 0.1, max: 1}, train.steps: {value: "
       "5}}\n"
       "exclude: [\"train.lr > 0.101\"]\n",
       "s.yaml:1:1: blocks.sweep: want 10 draws that exclude leaves, got 4 of 1200"},
      {"ConstantNamedLikeAFunction", "constants: {min: 3}\n" + kAxis,
       "s.yaml:1:13: min: want a name that expressions do not use, got one of their words"},
      {"ConstantWithADot", "constants: {a.b: 3}\n" + kAxis,
       "s.yaml:1:13: a.b: want a name of letters, digits and '_' that begins with no digit, got "
       "another"},
  };
}

std::vector<Mistake> NotSupported() {
  return {
      {"Bayes", "method: bayes\n" + kAxis,
       "s.yaml:1:9: method: want one of grid, random, got bayes, which is not supported yet"},
      {"StopRule", "stop: {rule: median}\n" + kAxis,
       "s.yaml:1:14: stop.rule: want none, got median, which is not supported yet"},
      {"ClaimsAndEarlyEnds", "claims: [x]\nearly_terminate: {type: hyperband}\n" + kAxis,
       "s.yaml:1:1: claims: want it left out, since it is not supported yet, got a list\n"
       "s.yaml:2:1: early_terminate: want it left out, since it is not supported yet, got a "
       "mapping"},
      {"Beta", "parameters: {train.lr: {distribution: beta}}\n",
       "s.yaml:1:39: train.lr.distribution: want one of uniform, int_uniform, log_uniform_values, "
       "inv_log_uniform_values, log_uniform, normal, log_normal, q_uniform, q_log_uniform_values, "
       "q_log_uniform, q_normal, q_log_normal, categorical, constant, got beta, which is not "
       "supported "
       "yet"},
  };
}

void PrintTo(const Mistake& mistake, std::ostream* out) { *out << mistake.name; }

class BadInput : public ::testing::TestWithParam<Mistake> {};

TEST_P(BadInput, SaysWhereAndWhatToWriteInstead) {
  EXPECT_EQ(MessageOf(GetParam().text), GetParam().message);
}

std::string NameOf(const ::testing::TestParamInfo<Mistake>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Keys, BadInput, ::testing::ValuesIn(Keys()), NameOf);
INSTANTIATE_TEST_SUITE_P(Values, BadInput, ::testing::ValuesIn(Values()), NameOf);
INSTANTIATE_TEST_SUITE_P(Texts, BadInput, ::testing::ValuesIn(Texts()), NameOf);
INSTANTIATE_TEST_SUITE_P(Blocks, BadInput, ::testing::ValuesIn(Blocks()), NameOf);
INSTANTIATE_TEST_SUITE_P(Expressions, BadInput, ::testing::ValuesIn(Expressions()), NameOf);
INSTANTIATE_TEST_SUITE_P(NotSupported, BadInput, ::testing::ValuesIn(NotSupported()), NameOf);

TEST(BadInputTest, TenProblemsAreShownAndTheRestCounted) {
  std::string text = "parameters:\n  model.bits: {values: [";
  for (int i = 0; i < 15; ++i) text += "0, ";
  const std::string message = MessageOf(text + "16]}\n");
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 10);
  EXPECT_NE(message.find("\n… and 5 more"), std::string::npos) << message;
}

TEST(BadInputTest, IndependentProblemsAreReportedTogetherInOrder) {
  EXPECT_EQ(MessageOf("nmae: x\nbaseline: {model.bits: 1, model.context: 99}\n" + kAxis),
            "s.yaml:1:1: nmae: want a key of the sweep, got an unknown one; did you mean name?\n"
            "s.yaml:2:24: model.bits: want an integer in [2, 1024], got 1\n"
            "s.yaml:2:42: model.context: want an integer in [1, 64], got 99");
}

TEST(BadInputTest, ColumnsCountCharactersAndNotBytes) {
  EXPECT_EQ(MessageOf("{question: \"héllo wörld\", nmae: x}\n"),
            "s.yaml:1:27: nmae: want a key of the sweep, got an unknown one; did you mean name?");
}

TEST(BadInputTest, JsonHasPlacesToo) {
  EXPECT_EQ(MessageOf("{\"baseline\": {\"model.bits\": 1,\n \"model.bits\": 64},\n \"nmae\": 3}",
                      SweepFormat::kJson),
            "s.yaml:2:2: model.bits: want each key once, got it again (first on line 1)\n"
            "s.yaml:3:2: nmae: want a key of the sweep, got an unknown one; did you mean name?");
  EXPECT_EQ(MessageOf("{\"name\": 'x'}", SweepFormat::kJson),
            "s.yaml:1:10: want a value (strings stand in double quotes), got 'x'");
  EXPECT_EQ(MessageOf("{\"name\": \"x\",}", SweepFormat::kJson),
            "s.yaml:1:14: want a key in double quotes, got }");
  EXPECT_EQ(MessageOf(Nested(100000, "[", "", "]"), SweepFormat::kJson),
            "s.yaml:1:33: want at most 32 levels of nesting, got more");
}

TEST(BadInputTest, JsonOfTheMessageHasPlacesToo) {
  EXPECT_EQ(
      MessageOf("{\"baseline\": [\n {\"key\": \"model.bits\", \"value\": {\"integer\": \"1\"}}]}",
                SweepFormat::kJson),
      "s.yaml:2:33: model.bits: want an integer in [2, 1024], got 1");
  EXPECT_EQ(MessageOf("{\"baseline\": [\n {\"kye\": \"model.bits\"}]}", SweepFormat::kJson),
            "s.yaml:2:3: kye: want a field of Setting, got an unknown one; did you mean key?");
}

TEST(BadInputTest, TextprotoHasPlacesToo) {
  EXPECT_EQ(MessageOf("name: \"x\"\nbaseline { key: \"model.bits\" value { integer: 1 } }\n",
                      SweepFormat::kTextproto),
            "s.yaml:2:30: model.bits: want an integer in [2, 1024], got 1");
  EXPECT_EQ(
      MessageOf("nmae: \"x\"\n", SweepFormat::kTextproto),
      "s.yaml:1:5: want the text of a SweepSpec, got: Message type \"saffron.v1.SweepSpec\" has no "
      "field named \"nmae\"; did you mean name?");
}

}  // namespace
}  // namespace saffron
