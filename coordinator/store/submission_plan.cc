// What storing an expanded sweep would change, and which key made anything new.

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "coordinator/store/run_store.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

// A configuration as texts, and a hash that is the XOR of its settings' hashes, so that the hash
// without one key costs one operation.
struct Settings {
  std::map<std::string, std::string> texts;
  uint64_t hash = 0;

  static uint64_t HashOf(const std::string& key, const std::string& text) {
    return std::hash<std::string>()(key + "=" + text);
  }
  void Set(const std::string& key, std::string text) {
    hash ^= HashOf(key, text);
    texts[key] = std::move(text);
  }
  // Of everything but `key`, and of which key it is.
  uint64_t HashWithout(const std::string& key, const std::string& text) const {
    return hash ^ HashOf(key, text) ^ (std::hash<std::string>()(key) * 0x9E3779B97F4A7C15u);
  }
};

std::string PlainText(const ParamValue& value) {
  const std::string* text = std::get_if<std::string>(&value);
  return text != nullptr ? *text : ParamValueText(value);
}

struct OldVariant {
  Settings settings;
  bool orphaned = true;  // until the new revision names it
};

// The roadmap's current revision.
struct OldRevision {
  int64_t roadmap = 0, revision = 0;
  std::map<int64_t, OldVariant> variants;
  std::set<int64_t> trials;
  // (variant, seed) -> numerics and fingerprint of its trial.
  std::map<std::pair<int64_t, int64_t>, std::pair<int64_t, std::string>> made_with;
};

absl::Status LoadTrials(Database& db, OldRevision* old) {
  static constexpr char kSql[] =
      "SELECT t.id, t.variant, t.seed, t.numerics, d.fingerprint FROM roadmap_trials rt "
      "JOIN trials t ON t.id = rt.trial JOIN datasets d ON d.id = t.data "
      "WHERE rt.roadmap = ? AND rt.revision = ?";
  ASSIGN_OR_RETURN(Statement * select, db.Use(kSql));
  select->Start(old->roadmap, old->revision);
  while (true) {
    ASSIGN_OR_RETURN(const bool row, select->Next());
    if (!row) return absl::OkStatus();
    old->trials.insert(select->Int(0));
    old->variants[select->Int(1)];
    old->made_with[{select->Int(1), select->Int(2)}] = {select->Int(3),
                                                        std::string(select->Text(4))};
  }
}

absl::Status LoadSettings(Database& db, OldRevision* old) {
  static constexpr char kSql[] =
      "SELECT p.key, p.type, coalesce(p.text, p.number) FROM variant_params p WHERE p.variant = ?";
  ASSIGN_OR_RETURN(Statement * select, db.Use(kSql));
  for (auto& [id, variant] : old->variants) {
    select->Start(id);
    while (true) {
      ASSIGN_OR_RETURN(const bool row, select->Next());
      if (!row) break;
      const std::string_view type = select->Text(1);
      const std::string text = type == "boolean"  ? (select->Int(2) != 0 ? "true" : "false")
                               : type == "number" ? ParamValueText(select->Double(2))
                                                  : std::string(select->Text(2));
      variant.settings.Set(std::string(select->Text(0)), text);
    }
  }
  return absl::OkStatus();
}

// Trials that are new, by variant of the submission.
struct NewTrials {
  const SubmittedVariant* variant = nullptr;
  std::optional<int64_t> id;  // of the variant, where the database has it
  std::vector<uint64_t> seeds;
};

class ChangeFinder {
 public:
  ChangeFinder(const Submission& submission, const OldRevision& old)
      : submission_(submission), old_(old) {
    for (const auto& [id, variant] : old.variants) {
      for (const auto& [key, text] : variant.settings.texts) {
        const OldVariant*& entry = without_[variant.settings.HashWithout(key, text)];
        if (entry == nullptr || variant.orphaned) entry = &variant;
      }
    }
  }

  void Explain(const NewTrials& trials) {
    if (trials.id && old_.variants.count(*trials.id) > 0) return ExplainSameVariant(trials);
    const int64_t n = static_cast<int64_t>(trials.seeds.size());
    Settings settings;
    for (const auto& [key, value] : trials.variant->params) settings.Set(key, PlainText(value));
    for (bool orphaned : {true, false}) {
      for (const auto& [key, text] : settings.texts) {
        auto it = without_.find(settings.HashWithout(key, text));
        if (it == without_.end() || it->second->orphaned != orphaned) continue;
        const auto& texts = it->second->settings.texts;
        auto from = texts.find(key);
        if (from == texts.end() || from->second == text) continue;
        return Add(key, orphaned ? from->second : "", text, n);
      }
    }
    ExplainByNearest(settings, n);
  }

  std::vector<SubmissionChange> Changes() const {
    std::vector<SubmissionChange> changes;
    for (const auto& [what, n] : counts_) {
      changes.push_back({std::get<0>(what), std::get<1>(what), std::get<2>(what), n});
    }
    std::stable_sort(changes.begin(), changes.end(),
                     [](const auto& a, const auto& b) { return a.trials > b.trials; });
    return changes;
  }

 private:
  void Add(const std::string& key, const std::string& from, const std::string& to, int64_t n) {
    counts_[{key, from, to}] += n;
  }

  // The configuration was there: seed, data or numerics are new.
  void ExplainSameVariant(const NewTrials& trials) {
    for (uint64_t seed : trials.seeds) {
      auto it = old_.made_with.find({*trials.id, static_cast<int64_t>(seed)});
      if (it == old_.made_with.end()) {
        Add("seed", "", absl::StrCat(seed), 1);
      } else if (it->second.first != submission_.numerics) {
        Add("numerics", absl::StrCat(it->second.first), absl::StrCat(submission_.numerics), 1);
      } else {
        Add(absl::StrCat("data.corpus contents"), it->second.second, trials.variant->fingerprint,
            1);
      }
    }
  }

  // More than one key differs from anything there was: name the differences to the nearest.
  void ExplainByNearest(const Settings& settings, int64_t n) {
    constexpr int kCandidates = 200, kDifferences = 4;
    std::vector<std::string> best;
    const OldVariant* nearest = nullptr;
    int candidates = 0;
    for (const auto& [id, variant] : old_.variants) {
      if (++candidates > kCandidates) break;
      std::vector<std::string> differing;
      for (const auto& [key, text] : settings.texts) {
        auto it = variant.settings.texts.find(key);
        if (it == variant.settings.texts.end() || it->second != text) differing.push_back(key);
      }
      if (nearest == nullptr || differing.size() < best.size()) {
        nearest = &variant;
        best = std::move(differing);
      }
    }
    if (nearest == nullptr || best.size() > kDifferences) return Add("", "", "", n);
    for (const std::string& key : best) {
      auto it = nearest->settings.texts.find(key);
      const bool replaced = nearest->orphaned && it != nearest->settings.texts.end();
      Add(key, replaced ? it->second : "", settings.texts.at(key), n);
    }
  }

  const Submission& submission_;
  const OldRevision& old_;
  std::unordered_map<uint64_t, const OldVariant*> without_;
  std::map<std::tuple<std::string, std::string, std::string>, int64_t> counts_;
};

// Adds the trial to the count that it belongs to; true when it would run.
bool Classify(std::string_view state, bool named_before, SubmissionPlan* plan) {
  const std::optional<Outcome> outcome = OutcomeFromName(state);
  if (!outcome && !state.empty()) {
    ++plan->trials_pending;
  } else if (outcome && IsResult(*outcome)) {
    ++plan->trials_cached;
  } else if (outcome == Outcome::kFailed && named_before) {
    ++plan->trials_failed;
  } else if (outcome == Outcome::kCancelled && named_before) {
    ++plan->trials_cancelled;
  } else {
    ++plan->trials_new;
    return true;
  }
  return false;
}

absl::StatusOr<std::vector<NewTrials>> ClassifyAll(Database& db, const Submission& s,
                                                   OldRevision* old, SubmissionPlan* plan) {
  static constexpr char kVariant[] = "SELECT id FROM variants WHERE digest = ?";
  static constexpr char kTrial[] =
      "SELECT t.id, t.state FROM trials t JOIN datasets d ON d.id = t.data "
      "WHERE t.variant = ? AND t.seed = ? AND d.fingerprint = ? AND t.numerics = ?";
  ASSIGN_OR_RETURN(Statement * find_variant, db.Use(kVariant));
  ASSIGN_OR_RETURN(Statement * find_trial, db.Use(kTrial));
  std::vector<NewTrials> fresh;
  int64_t named = 0;
  for (const SubmittedVariant& variant : s.variants) {
    NewTrials trials{.variant = &variant, .id = {}, .seeds = {}};
    ASSIGN_OR_RETURN(trials.id, find_variant->One(variant.digest));
    if (trials.id) {
      auto it = old->variants.find(*trials.id);
      if (it != old->variants.end()) it->second.orphaned = false;
    }
    for (int replicate = 0; replicate < s.seed_count; ++replicate) {
      const uint64_t seed = s.seed_first + replicate;
      std::string state;
      bool named_before = false;
      if (trials.id) {
        find_trial->Start(*trials.id, seed, variant.fingerprint, s.numerics);
        ASSIGN_OR_RETURN(const bool row, find_trial->Next());
        if (row) {
          state = find_trial->Text(1);
          named_before = old->trials.count(find_trial->Int(0)) > 0;
        }
      }
      named += named_before;
      ++plan->trials;
      if (!Classify(state, named_before, plan)) continue;
      plan->seconds += variant.seconds;
      trials.seeds.push_back(seed);
    }
    if (!trials.seeds.empty()) fresh.push_back(std::move(trials));
  }
  plan->trials_orphaned = static_cast<int64_t>(old->trials.size()) - named;
  return fresh;
}

}  // namespace

absl::StatusOr<SubmissionPlan> PlanSubmission(Database& db, const Submission& submission) {
  static constexpr char kCurrent[] = "SELECT id, revision FROM roadmaps WHERE name = ?";
  SubmissionPlan plan;
  plan.variants = static_cast<int64_t>(submission.variants.size());
  OldRevision old;
  ASSIGN_OR_RETURN(Statement * select, db.Use(kCurrent));
  select->Start(submission.name);
  ASSIGN_OR_RETURN(const bool row, select->Next());
  if (row) {
    old.roadmap = select->Int(0);
    old.revision = select->Int(1);
    sqlite3_reset(select->get());
    RETURN_IF_ERROR(LoadTrials(db, &old));
  }
  ASSIGN_OR_RETURN(const std::vector<NewTrials> fresh, ClassifyAll(db, submission, &old, &plan));
  if (old.revision == 0 || fresh.empty()) return plan;
  RETURN_IF_ERROR(LoadSettings(db, &old));
  ChangeFinder finder(submission, old);
  for (const NewTrials& trials : fresh) finder.Explain(trials);
  plan.changes = finder.Changes();
  return plan;
}

}  // namespace saffron
