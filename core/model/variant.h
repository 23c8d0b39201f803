#pragma once
// One variant: a full configuration (data, model, training recipe) without a seed.
//
// Keys are dotted ("model.bits"). A ResolvedVariant holds exactly the keys that are *relevant* to
// it (registry.h says when a key is), each with a value of the registered type and range. A key
// that cannot change the result is dropped, so two spellings of the same experiment are one
// variant.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/statusor.h"

namespace saffron {

using ParamValue = std::variant<bool, int64_t, double, std::string>;
using Params = std::map<std::string, ParamValue>;  // by key

// Canonical text of a value: true|false, decimal integer, shortest round-trip double (always with
// '.', 'e', "inf" or "nan"), or the string JSON-quoted. Two values are equal iff their texts are.
std::string ParamValueText(const ParamValue& value);

class ResolvedVariant {
 public:
  // Fills defaults, drops irrelevant keys, checks types, ranges and choices. Integers are accepted
  // where a double is wanted; a double only where it is a whole number for an integer key.
  // INVALID_ARGUMENT naming the key, what was expected, what was given, and for an unknown key the
  // nearest known one.
  // Idempotent: Resolve(v.params()) == v. Costs microseconds.
  static absl::StatusOr<ResolvedVariant> Resolve(const Params& given);

  // Equal configurations, key by key.
  friend bool operator==(const ResolvedVariant& a, const ResolvedVariant& b) {
    return a.params_ == b.params_;
  }

  const Params& params() const { return params_; }
  bool Has(std::string_view key) const;
  // CHECK-fail when the key is not relevant to this variant or has another type: our mistake.
  const ParamValue& operator[](std::string_view key) const;
  bool Bool(std::string_view key) const;
  int64_t Int(std::string_view key) const;  // not of a list (ParamSpec::one_for_each)
  double Double(std::string_view key) const;
  const std::string& String(std::string_view key) const;

  // The identity of the configuration: the relevant keys whose value differs from the default, one
  // `key=value` a line, sorted; so that registering a new key does not change old identities.
  // (Changing a default does change numbers: bump kNumericsVersion.)
  std::string CanonicalText() const;
  std::string Digest() const;  // SHA-256 of CanonicalText(), hex

 private:
  Params params_;
};

// SHA-256 over canonical text, seed, data fingerprint and numerics version: equal identity means
// the same result, shared between roadmaps and revisions and never computed twice. A variant
// without the key "data.corpus" reads no data; its fingerprint is the empty string.
std::string TrialDigest(const ResolvedVariant& variant, uint64_t seed,
                        std::string_view data_fingerprint);

}  // namespace saffron
