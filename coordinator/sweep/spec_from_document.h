#pragma once
// From the tree of a YAML or JSON text to the message: which keys there are, and what shape each
// value has. What the values mean is for sweep_plan.h.

#include "coordinator/sweep/document.h"
#include "coordinator/sweep/problems.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

// Adds a problem for each unknown key, missing part or value of the wrong shape; the spec then
// holds what could be read. Does not fill in defaults.
v1::SweepSpec SpecFromDocument(const DocumentNode& root, Problems& problems);

// The value that a scalar stands for; a string that begins with '=' is an expression. Adds a
// problem when it is none.
void ReadSweepValue(const DocumentNode& node, std::string_view key, v1::SweepValue* value,
                    Problems& problems);

}  // namespace saffron
