#include "coordinator/sweep/spec_from_document.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/sweep/document_reader.h"
#include "coordinator/sweep/quantities.h"
#include "coordinator/sweep/sweep_limits.h"

namespace saffron {
namespace {

// Keys of W&B's sweep files that say how its agents start a program, or describe the sweep to
// people.
constexpr std::string_view kIgnoredKeys[] = {"program", "project",     "entity",     "command",
                                             "job",     "description", "controller", "image_uri"};
// Keys of a block that a file without `blocks` has at its top level.
constexpr std::string_view kBlockKeys[] = {"method", "count",    "run_cap", "parameters",
                                           "zip",    "derived",  "when",    "exclude",
                                           "ablate", "init_from"};
const std::vector<std::string> kLaterMethods = {"bayes", "asha", "evolution", "hyperband"};
const std::vector<std::string> kLaterStopRules = {"median", "asha", "hyperband"};

bool SaysNothing(const DocumentNode& node) {
  return node.kind == DocumentNode::Kind::kNull ||
         (!node.is_scalar() && node.items.empty() && node.members.empty());
}

class SpecReader {
 public:
  explicit SpecReader(Problems& problems) : problems_(problems) {}

  v1::SweepSpec Read(const DocumentNode& root) {
    if (root.kind == DocumentNode::Kind::kNull) {
      problems_.Add(root.place, "", "want a sweep, got an empty file");
      return {};
    }
    MapReader top(root, "", problems_);
    if (const auto* member = top.Take("version")) {
      if (const auto version =
              ReadInteger(member->value, "version", kSweepVersion, kSweepVersion, problems_)) {
        spec_.set_version(static_cast<int>(*version));
      }
    }
    if (const auto* member = top.Take("name")) {
      SetPosition(member->value.place, spec_.mutable_name_position());
      if (auto text = ReadString(member->value, "name", problems_)) {
        spec_.set_name(*std::move(text));
      }
    }
    TakeString(top, "question", spec_.mutable_question());
    if (const auto* member = top.Take("metric")) ReadMetric(*member);
    if (const auto* member = top.Take("constants")) {
      ReadSettings(member->value, "constants", spec_.mutable_constants());
    }
    if (const auto* member = top.Take("baseline")) {
      ReadSettings(member->value, "baseline", spec_.mutable_baseline());
    }
    if (const auto* member = top.Take("include_baseline")) {
      if (const auto include = ReadBoolean(member->value, "include_baseline", problems_)) {
        spec_.set_include_baseline(*include);
      }
    }
    ReadBlocks(top, root);
    ReadSections(top);
    ReadUnsupported(top);
    ReadIgnored(top);
    top.Finish();
    return std::move(spec_);
  }

 private:
  void TakeString(MapReader& map, std::string_view key, std::string* out) {
    const DocumentMember* member = map.Take(key);
    if (member == nullptr) return;
    if (auto text = ReadString(member->value, key, problems_)) *out = *std::move(text);
  }

  void ReadMetric(const DocumentMember& member) {
    v1::SweepMetric* metric = spec_.mutable_metric();
    SetPosition(member.place, metric->mutable_position());
    MapReader map(member.value, "metric", problems_);
    if (const auto* name = map.Take("name")) {
      SetPosition(name->value.place, metric->mutable_position());
      if (auto text = ReadString(name->value, "metric.name", problems_)) {
        metric->set_name(*std::move(text));
      }
    }
    if (const auto* goal = map.Take("goal")) {
      const auto& words = *v1::SweepMetric::Goal_descriptor();
      if (const auto word = ReadWord(goal->value, "metric.goal", EnumWords(words), {}, problems_)) {
        metric->set_goal(static_cast<v1::SweepMetric::Goal>(EnumNumber(words, *word)));
      }
    }
    if (const auto* target = map.Take("target")) Ignore(target->place, "metric.target");
    map.Finish();
  }

  void ReadSettings(const DocumentNode& node, std::string_view key,
                    google::protobuf::RepeatedPtrField<v1::Setting>* settings) {
    for (const DocumentMember& member : ReadMap(node, key, problems_)) {
      if (member.value.kind == DocumentNode::Kind::kMap && !member.value.members.empty()) {
        problems_.Add(member.place, member.key,
                      absl::StrCat("want dotted keys, such as ", member.key, ".",
                                   member.value.members.front().key, ", got a mapping"));
        continue;
      }
      v1::Setting* setting = settings->Add();
      setting->set_key(member.key);
      SetPosition(member.place, setting->mutable_position());
      ReadSweepValue(member.value, member.key, setting->mutable_value(), problems_);
    }
  }

  void ReadBlocks(MapReader& top, const DocumentNode& root) {
    const DocumentMember* blocks = top.Take("blocks");
    // An empty one says that there is none.
    const DocumentMember* init = top.Take("init_from");
    const bool no_init = init == nullptr || SaysNothing(init->value);
    const auto has = [&](std::string_view key) {
      return top.Has(key) && !(key == "init_from" && no_init);
    };
    if (blocks == nullptr) {
      bool any = false;
      for (std::string_view key : kBlockKeys) any = any || has(key);
      v1::Block block;
      ReadBlockKeys(top, &block);
      if (!any) return;
      block.set_name("sweep");
      SetPosition(root.place, block.mutable_position());
      *spec_.add_blocks() = std::move(block);
      return;
    }
    for (std::string_view key : kBlockKeys) {
      if (!has(key)) continue;
      problems_.Add(top.Take(key)->place, key,
                    "want it inside a block, since the file has blocks, got it beside them");
    }
    for (const DocumentNode& item : ReadList(blocks->value, "blocks", problems_)) {
      v1::Block* block = spec_.add_blocks();
      SetPosition(item.place, block->mutable_position());
      MapReader map(item, "a block", problems_);
      if (!map.Has("name") && item.kind == DocumentNode::Kind::kMap) {
        problems_.Add(item.place, "name", "want a name for the block, got none");
      }
      TakeString(map, "name", block->mutable_name());
      ReadBlockKeys(map, block);
      map.Finish();
    }
  }

  void ReadBlockKeys(MapReader& map, v1::Block* block) {
    if (const auto* member = map.Take("method")) {
      const auto& words = *v1::Block::Method_descriptor();
      if (const auto word =
              ReadWord(member->value, "method", EnumWords(words), kLaterMethods, problems_)) {
        block->set_method(static_cast<v1::Block::Method>(EnumNumber(words, *word)));
      }
    }
    ReadCount(map, block);
    if (const auto* member = map.Take("parameters")) {
      ReadParameters(member->value, "", block);
    }
    if (const auto* member = map.Take("zip")) {
      for (const DocumentNode& item : ReadList(member->value, "zip", problems_)) {
        ReadZip(item, block->add_zip());
      }
    }
    if (const auto* member = map.Take("derived")) {
      ReadKeyExpressions(member->value, "derived", block->mutable_derived());
    }
    if (const auto* member = map.Take("when")) {
      ReadKeyExpressions(member->value, "when", block->mutable_when());
    }
    if (const auto* member = map.Take("exclude")) {
      for (const DocumentNode& item : ReadList(member->value, "exclude", problems_)) {
        ReadExpression(item, "exclude", block->add_exclude());
      }
    }
    if (const auto* member = map.Take("ablate")) ReadAblation(*member, block->mutable_ablate());
    if (const auto* member = map.Take("init_from")) ReadInitFrom(*member, block);
  }

  void ReadInitFrom(const DocumentMember& member, v1::Block* block) {
    const DocumentNode& node = member.value;
    if (SaysNothing(node)) return;
    v1::InitFrom* init = block->mutable_init_from();
    SetPosition(member.place, init->mutable_position());
    MapReader map(node, "init_from", problems_);
    if (const auto* variant = map.Take("variant")) {
      SetPosition(variant->place, init->mutable_position());
      if (variant->value.kind == DocumentNode::Kind::kMap) {
        ReadSettings(variant->value, "init_from.variant", init->mutable_settings());
      } else if (auto name = ReadString(variant->value, "init_from.variant", problems_)) {
        init->set_variant(*std::move(name));
      }
    }
    if (const auto* seed = map.Take("seed"); seed != nullptr && seed->value.text != "same") {
      if (const auto value = ReadInteger(seed->value, "init_from.seed", 0, kSeedMax, problems_)) {
        init->set_seed(*value);
      }
    }
    if (const auto* checkpoint = map.Take("checkpoint")) {
      const auto& words = *v1::InitFrom::Checkpoint_descriptor();
      if (const auto word = ReadWord(checkpoint->value, "init_from.checkpoint", EnumWords(words),
                                     {}, problems_)) {
        init->set_checkpoint(static_cast<v1::InitFrom::Checkpoint>(EnumNumber(words, *word)));
      }
    }
    if (const auto* state = map.Take("state")) {
      const auto& words = *v1::InitFrom::State_descriptor();
      if (const auto word =
              ReadWord(state->value, "init_from.state", EnumWords(words), {}, problems_)) {
        init->set_state(static_cast<v1::InitFrom::State>(EnumNumber(words, *word)));
      }
    }
    if (const auto* derive = map.Take("derive")) {
      for (const DocumentNode& item : ReadList(derive->value, "init_from.derive", problems_)) {
        if (auto text =
                ReadText(item, "init_from.derive", "an operator such as mlp:x2", problems_)) {
          init->add_derive(*std::move(text));
        }
      }
    }
    map.Finish();
  }

  void ReadCount(MapReader& map, v1::Block* block) {
    const DocumentMember* count = map.Take("count");
    const DocumentMember* run_cap = map.Take("run_cap");
    if (count != nullptr && run_cap != nullptr) {
      problems_.Add(run_cap->place, "run_cap",
                    "want count or run_cap, which mean the same, got both");
    }
    if (count == nullptr) count = run_cap;
    if (count == nullptr) return;
    if (const auto value = ReadInteger(count->value, count->key, 1, kCountMax, problems_)) {
      block->set_count(*value);
    }
  }

  // W&B nests: {model: {parameters: {bits: ...}}} is model.bits.
  void ReadParameters(const DocumentNode& node, const std::string& prefix, v1::Block* block) {
    for (const DocumentMember& member : ReadMap(node, "parameters", problems_)) {
      const std::string key = prefix + member.key;
      if (member.value.kind == DocumentNode::Kind::kMap && member.value.members.size() == 1 &&
          member.value.members[0].key == "parameters") {
        ReadParameters(member.value.members[0].value, key + ".", block);
        continue;
      }
      if (member.value.kind != DocumentNode::Kind::kMap) {
        problems_.Add(member.value.place, key,
                      absl::StrCat("want a mapping such as {values: [...]}, got ",
                                   DescribeNode(member.value)));
        continue;
      }
      v1::Parameter* parameter = block->add_parameters();
      parameter->set_key(key);
      SetPosition(member.place, parameter->mutable_position());
      const size_t before = problems_.size();
      ReadParameter(member.value, key, parameter);
      if (problems_.size() > before) problems_.Spoil(key);
    }
  }

  void ReadParameter(const DocumentNode& node, const std::string& key, v1::Parameter* parameter) {
    MapReader map(node, absl::StrCat("parameter ", key), problems_);
    const DocumentMember* const value = map.Take("value");
    const DocumentMember* const values = map.Take("values");
    if (value != nullptr && values != nullptr) {
      problems_.Add(values->place, key, "want value or values, got both");
    }
    if (value != nullptr) ReadSweepValue(value->value, key, parameter->add_values(), problems_);
    if (values != nullptr) ReadValues(values->value, key, parameter);
    if (const auto* member = map.Take("probabilities")) {
      for (const DocumentNode& item : ReadList(member->value, key + ".probabilities", problems_)) {
        parameter->add_probabilities(
            ReadNumber(item, key + ".probabilities", problems_).value_or(0));
      }
    }
    ReadDistribution(map, key, parameter);
    const std::pair<const char*, v1::SweepValue* (v1::Parameter::*)()> numbers[] = {
        {"min", &v1::Parameter::mutable_min},
        {"max", &v1::Parameter::mutable_max},
        {"q", &v1::Parameter::mutable_q},
        {"mu", &v1::Parameter::mutable_mu},
        {"sigma", &v1::Parameter::mutable_sigma}};
    for (const auto& [name, field] : numbers) {
      if (const auto* member = map.Take(name)) {
        ReadSweepValue(member->value, absl::StrCat(key, ".", name), (parameter->*field)(),
                       problems_);
      }
    }
    if (const auto* member = map.Take("count")) {
      if (const auto count = ReadInteger(member->value, key + ".count", 1, kCountMax, problems_)) {
        parameter->set_count(*count);
      }
    }
    map.Finish();
  }

  void ReadDistribution(MapReader& map, const std::string& key, v1::Parameter* parameter) {
    const DocumentMember* member = map.Take("distribution");
    if (member == nullptr) return;
    const auto& descriptor = *v1::Parameter::Distribution_descriptor();
    std::vector<std::string> words = EnumWords(descriptor);
    words.insert(words.end(), {"categorical", "constant"});
    const auto word = ReadWord(member->value, key + ".distribution", words,
                               {"beta", "q_beta", "inv_log_uniform"}, problems_);
    if (!word.has_value()) return;
    const bool listed = *word == "categorical" || *word == "constant";
    if (!listed) {
      parameter->set_distribution(
          static_cast<v1::Parameter::Distribution>(EnumNumber(descriptor, *word)));
    } else if (parameter->values().empty()) {
      problems_.Add(member->place, key,
                    absl::StrCat("want ", *word == "constant" ? "value" : "values", " with ", *word,
                                 ", got none"));
    }
  }

  void ReadValues(const DocumentNode& node, const std::string& key, v1::Parameter* parameter) {
    const std::vector<DocumentNode>& items = ReadList(node, key, problems_);
    if (items.empty() && node.kind == DocumentNode::Kind::kList) {
      problems_.Add(node.place, key, "want at least one value, got an empty list");
    }
    for (const DocumentNode& item : items) {
      ReadSweepValue(item, key, parameter->add_values(), problems_);
    }
  }

  void ReadZip(const DocumentNode& node, v1::Zip* zip) {
    SetPosition(node.place, zip->mutable_position());
    for (const DocumentMember& member : ReadMap(node, "zip", problems_)) {
      v1::Parameter* parameter = zip->add_parameters();
      parameter->set_key(member.key);
      SetPosition(member.place, parameter->mutable_position());
      ReadValues(member.value, member.key, parameter);
    }
  }

  void ReadKeyExpressions(const DocumentNode& node, std::string_view key,
                          google::protobuf::RepeatedPtrField<v1::KeyExpression>* expressions) {
    for (const DocumentMember& member : ReadMap(node, key, problems_)) {
      v1::KeyExpression* expression = expressions->Add();
      expression->set_key(member.key);
      SetPosition(member.place, expression->mutable_position());
      ReadExpression(member.value, member.key, expression->mutable_expression());
    }
  }

  void ReadExpression(const DocumentNode& node, std::string_view key, v1::Expression* expression) {
    SetPosition(node.place, expression->mutable_position());
    const auto text = ReadText(node, key, "an expression", problems_);
    if (!text.has_value()) return;
    // The '=' of values is understood here too.
    expression->set_text(std::string(absl::StripAsciiWhitespace(absl::StripPrefix(*text, "="))));
  }

  void ReadAblation(const DocumentMember& member, v1::Ablation* ablation) {
    SetPosition(member.place, ablation->mutable_position());
    MapReader map(member.value, "ablate", problems_);
    if (const auto* mode = map.Take("mode")) {
      const auto& words = *v1::Ablation::Mode_descriptor();
      if (const auto word = ReadWord(mode->value, "ablate.mode", EnumWords(words), {}, problems_)) {
        ablation->set_mode(static_cast<v1::Ablation::Mode>(EnumNumber(words, *word)));
      }
    }
    if (const auto* groups = map.Take("groups")) {
      for (const DocumentMember& group : ReadMap(groups->value, "ablate.groups", problems_)) {
        v1::AblationGroup* out = ablation->add_groups();
        out->set_name(group.key);
        SetPosition(group.place, out->mutable_position());
        ReadSettings(group.value, group.key, out->mutable_changes());
      }
    }
    map.Finish();
  }

  void ReadSections(MapReader& top) {
    if (const auto* member = top.Take("seeds")) ReadSeeds(*member, spec_.mutable_seeds());
    if (const auto* member = top.Take("resources")) {
      ReadResources(*member, spec_.mutable_resources());
    }
    if (const auto* member = top.Take("retry")) ReadRetry(*member, spec_.mutable_retry());
    if (const auto* member = top.Take("limits")) ReadLimits(*member, spec_.mutable_limits());
    if (const auto* member = top.Take("sampling_seed")) {
      if (const auto seed = ReadInteger(member->value, "sampling_seed", 0, kSeedMax, problems_)) {
        spec_.set_sampling_seed(*seed);
      }
    }
  }

  void ReadSeeds(const DocumentMember& member, v1::Seeds* seeds) {
    SetPosition(member.place, seeds->mutable_position());
    MapReader map(member.value, "seeds", problems_);
    if (const auto* count = map.Take("count")) {
      if (const auto value =
              ReadInteger(count->value, "seeds.count", 1, kSeedCountMax, problems_)) {
        seeds->set_count(*value);
      }
    }
    if (const auto* first = map.Take("first")) {
      if (const auto value = ReadInteger(first->value, "seeds.first", 0, kSeedMax, problems_)) {
        seeds->set_first(*value);
      }
    }
    map.Finish();
  }

  void ReadResources(const DocumentMember& member, v1::Resources* resources) {
    SetPosition(member.place, resources->mutable_position());
    MapReader map(member.value, "resources", problems_);
    if (const auto* threads = map.Take("threads")) {
      if (threads->value.text == "1") {
        resources->set_threads(1);
      } else {
        WantGot(*threads, "resources.threads",
                "1 (a trial runs on one thread; workers have slots for more trials)");
      }
    }
    if (const auto* memory = map.Take("memory")) {
      constexpr std::string_view kWanted = "a size such as 2GiB or 512MiB";
      if (const auto text = ReadText(memory->value, "resources.memory", kWanted, problems_)) {
        const auto bytes = ParseBytes(*text);
        if (bytes.has_value()) resources->set_memory_bytes(*bytes);
        if (!bytes.has_value()) WantGot(*memory, "resources.memory", kWanted);
      }
    }
    map.Finish();
  }

  void ReadRetry(const DocumentMember& member, v1::Retry* retry) {
    SetPosition(member.place, retry->mutable_position());
    MapReader map(member.value, "retry", problems_);
    const std::pair<const char*, void (v1::Retry::*)(int64_t)> classes[] = {
        {"preempted", &v1::Retry::set_preempted},
        {"worker_lost", &v1::Retry::set_worker_lost},
        {"out_of_memory", &v1::Retry::set_out_of_memory},
        {"timeout", &v1::Retry::set_timeout},
        {"error", &v1::Retry::set_error}};
    for (const auto& [name, set] : classes) {
      const DocumentMember* budget = map.Take(name);
      if (budget == nullptr) continue;
      const std::string key = absl::StrCat("retry.", name);
      if (budget->value.is_scalar() && budget->value.text == "unlimited") {
        (retry->*set)(kUnlimited);
      } else if (budget->value.is_scalar() &&
                 std::holds_alternative<std::string>(ReadScalar(budget->value))) {
        WantGot(*budget, key, absl::StrCat("an integer in [0, ", kRetryMax, "] or unlimited"));
      } else if (const auto n = ReadInteger(budget->value, key, 0, kRetryMax, problems_)) {
        (retry->*set)(*n);
      }
    }
    if (const auto* poison = map.Take("poison")) {
      if (const auto n = ReadInteger(poison->value, "retry.poison", 0, kRetryMax, problems_)) {
        retry->set_poison(*n);
      }
    }
    map.Finish();
  }

  void ReadLimits(const DocumentMember& member, v1::Limits* limits) {
    SetPosition(member.place, limits->mutable_position());
    MapReader map(member.value, "limits", problems_);
    if (const auto* variants = map.Take("variants")) {
      if (const auto value =
              ReadInteger(variants->value, "limits.variants", 1, kCountMax, problems_)) {
        limits->set_variants(*value);
      }
    }
    const std::pair<const char*, google::protobuf::Duration* (v1::Limits::*)()> times[] = {
        {"trial_time", &v1::Limits::mutable_trial_time},
        {"total_time", &v1::Limits::mutable_total_time}};
    constexpr std::string_view kWanted = "a duration such as 2h, 1h 30m or 90s";
    for (const auto& [name, field] : times) {
      const DocumentMember* time = map.Take(name);
      if (time == nullptr) continue;
      const std::string key = absl::StrCat("limits.", name);
      const auto text = ReadText(time->value, key, kWanted, problems_);
      if (!text.has_value()) continue;
      const auto milliseconds = ParseDurationMs(*text);
      if (!milliseconds.has_value() || *milliseconds == 0) {
        WantGot(*time, key, kWanted);
        continue;
      }
      google::protobuf::Duration* duration = (limits->*field)();
      duration->set_seconds(*milliseconds / 1000);
      duration->set_nanos(static_cast<int>(*milliseconds % 1000) * 1'000'000);
    }
    map.Finish();
  }

  void ReadUnsupported(MapReader& top) {
    if (const auto* stop = top.Take("stop")) {
      MapReader map(stop->value, "stop", problems_);
      if (const auto* rule = map.Take("rule")) {
        ReadWord(rule->value, "stop.rule", {"none"}, kLaterStopRules, problems_);
      }
      map.Finish();
    }
    // Empty ones say that there is none.
    for (std::string_view key : {"claims", "early_terminate"}) {
      const DocumentMember* member = top.Take(key);
      if (member == nullptr) continue;
      const DocumentNode& value = member->value;
      if (SaysNothing(value)) continue;
      problems_.Add(member->place, key,
                    absl::StrCat("want it left out, since it is not supported "
                                 "yet, got ",
                                 DescribeNode(value)));
    }
  }

  void ReadIgnored(MapReader& top) {
    for (std::string_view key : kIgnoredKeys) {
      if (!top.Has(key)) continue;
      Ignore(top.Take(key)->place, key);
    }
  }

  void Ignore(Place place, std::string_view key) {
    spec_.add_notes(absl::StrCat(problems_.Location(place), ": ", std::string(key),
                                 ": ignored; it has no meaning here"));
  }

  void WantGot(const DocumentMember& member, std::string_view key, std::string_view wanted) {
    problems_.Add(member.value.place, key,
                  absl::StrCat("want ", std::string(wanted), ", got ", DescribeNode(member.value)));
  }

  Problems& problems_;
  v1::SweepSpec spec_;
};

}  // namespace

void ReadSweepValue(const DocumentNode& node, std::string_view key, v1::SweepValue* value,
                    Problems& problems) {
  SetPosition(node.place, value->mutable_position());
  const Scalar scalar = ReadScalar(node);
  if (!node.is_scalar() || std::holds_alternative<std::monostate>(scalar)) {
    problems.Add(node.place, key, absl::StrCat("want a value, got ", DescribeNode(node)));
  } else if (const auto* problem = std::get_if<ScalarProblem>(&scalar)) {
    problems.Add(node.place, key, problem->what);
  } else if (const auto* truth = std::get_if<bool>(&scalar)) {
    value->set_boolean(*truth);
  } else if (const auto* whole = std::get_if<int64_t>(&scalar)) {
    value->set_integer(*whole);
  } else if (const auto* real = std::get_if<double>(&scalar)) {
    value->set_number(*real);
  } else if (const auto& text = std::get<std::string>(scalar); text.substr(0, 1) == "=") {
    value->set_expression(std::string(absl::StripAsciiWhitespace(text.substr(1))));
  } else {
    value->set_text(text);
  }
}

v1::SweepSpec SpecFromDocument(const DocumentNode& root, Problems& problems) {
  return SpecReader(problems).Read(root);
}

}  // namespace saffron
