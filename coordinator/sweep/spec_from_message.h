#pragma once
// Texts that spell the message itself: textproto, and protobuf's JSON of it.

#include <string_view>

#include "coordinator/sweep/document.h"
#include "coordinator/sweep/problems.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

// Positions are those of the fields; any that the text itself sets are replaced.
v1::SweepSpec SpecFromTextproto(std::string_view text, Problems& problems);

// Whether a JSON text spells the message (lists of keys and values) and not YAML's shape
// (mappings).
bool SpellsMessage(const DocumentNode& root);
// `root` is the tree of `text`.
v1::SweepSpec SpecFromMessageJson(std::string_view text, const DocumentNode& root,
                                  Problems& problems);

}  // namespace saffron
