#pragma once
// Reference numbers of public implementations: tests/golden/fixtures/NAME.json.

#include <fstream>
#include <string>
#include <vector>

#include "core/base/check.h"
#include "nlohmann/json.hpp"

namespace saffron {

class Fixture {
 public:
  explicit Fixture(const std::string& name) {
    std::ifstream file(std::string(SAFFRON_SOURCE_DIR "/tests/golden/fixtures/") + name + ".json");
    CHECK(file.good()) << "no fixture " << name;
    json_ = nlohmann::json::parse(file);
  }

  template <typename T = double>
  std::vector<T> Data(const std::string& key) const {
    return json_.at(key).at("data").get<std::vector<T>>();
  }
  std::vector<int64_t> Shape(const std::string& key) const {
    return json_.at(key).at("shape").get<std::vector<int64_t>>();
  }
  const nlohmann::json& json() const { return json_; }

 private:
  nlohmann::json json_;
};

}  // namespace saffron
