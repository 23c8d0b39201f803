#pragma once

#include <vector>

#include "core/model/registry.h"

namespace saffron {

std::vector<ParamSpec> ExpertParams();  // model.* of a transformer's sparse layers

}  // namespace saffron
