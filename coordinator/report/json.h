#pragma once
// JSON as it is printed for programs: whatever a database or a file holds, it can be read back.

#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/report/read_source.h"
#include "core/model/variant.h"

namespace saffron {

// NULL, NaN and infinities are null.
nlohmann::ordered_json CellJson(const Cell& cell);

// An object of the parameters by key.
nlohmann::ordered_json ParamsJson(const Params& params);

// `indent` -1: on one line. Bytes that are not UTF-8 become U+FFFD.
std::string JsonText(const nlohmann::ordered_json& json, int indent = -1);

}  // namespace saffron
