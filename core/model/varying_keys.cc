#include "core/model/varying_keys.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/model/registry.h"

namespace saffron {
namespace {

// Whether two of `variants` differ in `key` and in nothing else.
bool AloneTellsApart(const std::string& key, const std::vector<const Params*>& variants) {
  std::map<std::string, const ParamValue*> first;  // by the text of all other keys
  for (const Params* params : variants) {
    const auto found = params->find(key);
    if (found == params->end()) continue;
    std::string rest;
    for (const auto& [other, value] : *params) {
      if (other != key) absl::StrAppend(&rest, other, "=", ParamValueText(value), "\n");
    }
    const auto [entry, is_new] = first.try_emplace(std::move(rest), &found->second);
    if (!is_new && *entry->second != found->second) return true;
  }
  return false;
}

// How a model is measured, or the digest of the variant that it starts from, which differs wherever
// the two were given something else alike, or versions.
bool SaysLittle(const std::string& key) {
  const ParamSpec* spec = FindParam(key);
  return key == "init_from.variant" || absl::StartsWith(key, "numerics.") ||
         (spec != nullptr && spec->about_measuring);
}

}  // namespace

std::set<std::string> VaryingKeys(const std::vector<const Params*>& variants) {
  std::map<std::string, const ParamValue*> first;
  std::set<std::string> varying;
  for (const Params* params : variants) {
    for (const auto& [key, value] : *params) {
      if (*first.try_emplace(key, &value).first->second != value) varying.insert(key);
    }
  }
  std::erase_if(varying, [&](const std::string& key) {
    return SaysLittle(key) && !AloneTellsApart(key, variants);
  });
  return varying;
}

}  // namespace saffron
