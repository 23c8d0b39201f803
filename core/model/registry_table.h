#pragma once
// The registry compiled for quick resolution: a sweep resolves 100,000 variants in well under a
// second.

#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/model/registry.h"

namespace saffron {

class RegistryTable {
 public:
  static const RegistryTable& Get();

  const std::vector<ParamSpec>& params() const { return params_; }
  // Position in params(), or -1.
  int IndexOf(std::string_view key) const;
  // Positions in ascending order of key.
  const std::vector<int>& by_key() const { return by_key_; }

  // values[i] points at the value of params()[i], default where nothing was given. Points
  // irrelevant ones back at their default and returns which are relevant.
  std::vector<bool> DropIrrelevant(std::vector<const ParamValue*>& values) const;

 private:
  struct CompiledCondition {
    int index;  // of the key that the condition reads
    const Condition* condition;
  };
  RegistryTable();
  void Order(int index, std::vector<int>& state);

  std::vector<ParamSpec> params_;
  std::unordered_map<std::string_view, int> index_;
  std::vector<int> by_key_;
  std::vector<std::vector<CompiledCondition>> conditions_;
  std::vector<int> order_;  // every key after those that its relevance depends on
};

}  // namespace saffron
