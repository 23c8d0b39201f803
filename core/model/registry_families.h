#pragma once
// The families of keys that make up the registry, in the order of the reference table. A new family
// is a new file, a line here and a line in registry.cc.

#include <string>
#include <vector>

#include "core/model/registry.h"

namespace saffron {

std::vector<ParamSpec> DataParams();         // data.*
std::vector<ParamSpec> ModelTypeParams();    // model.type and the keys of more than one type
std::vector<ParamSpec> SaffuParams();        // model.* of saffu
std::vector<ParamSpec> TransformerParams();  // model.* of transformer and mlp
std::vector<ParamSpec> ReferenceParams();    // model.* of softmax_regression, kneser_ney, noop
std::vector<ParamSpec> LogLinearParams();    // model.* of log_linear
std::vector<ParamSpec> SolveParams();        // solve.*
std::vector<ParamSpec> TrainParams();        // train.*

// For ParamSpec::consistent of a width of bit-cipher codes, `key`: that it names all types.
std::string CheckCodesSuffice(const ParamView& params, std::string_view key);

// Conditions that several families share.
Condition ModelTypeIs(std::vector<std::string> types);
// It has parameters that an optimiser can train.
Condition IsTrainable();
// saffu or softmax_regression: an explicit solution of the whole model.
Condition IsSolvable();
// Reads text, not images: use together with TypeReadsText.
Condition InputIsText();
Condition TypeReadsText();
Condition TypeReadsData();  // text or images

}  // namespace saffron
