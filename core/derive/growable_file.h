#pragma once
// Growing the model in a checkpoint file into one in another.
//
// A file that can grow says in its metadata what "shape" its transformer has (shape_json.h); its
// tensors have the names of the layout, and those of an optimiser's state stand beside them as
// "optimizer.SLOT/NAME". Of the grown file "derived" tells the history, a JSON list with an object
// for each growing: ops, seed, state, parent (SHA-256 of the file), max_change, max_change_float,
// max_logit. All other metadata is the parent's.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/checkpoint/safetensors.h"
#include "core/derive/verify.h"

namespace saffron {

// What a file holds of the state of the optimiser that trained the model in it; nothing where it
// holds none. INVALID_ARGUMENT: a state that is no vector or matrix of float.
absl::StatusOr<std::vector<StoredState>> ReadStoredState(const Safetensors& file);

// The shape of the transformer in a file. INVALID_ARGUMENT: no transformer, or not with the tensors
// of its shape, so that whoever takes memory for it may trust it.
absl::StatusOr<TransformerShape> ReadShape(const Safetensors& file);

// The model itself; errors likewise.
absl::StatusOr<GrowableModel> ReadGrowable(const Safetensors& file);

struct GrowOptions {
  uint64_t seed = 0;       // of what is free in the new tensors
  bool keep_state = true;  // carry the optimiser's state over, where the file has any
  FreshModel fresh;        // how a new model is drawn
};

// The grown model and what growing changed; with no operators the model itself, unchanged. Errors
// of ReadGrowable, DeriveAndVerify and the file system, opening with the path.
absl::StatusOr<Derivation> DeriveFromFile(const std::string& from, const std::vector<DeriveOp>& ops,
                                          const GrowOptions& options);

// The same into another file. `to` is written only when the grown
// model computes what its parent does.
struct GrownFile {
  WrittenFile written;
  DerivationReport report;
  int64_t parameters_before = 0, parameters_after = 0;
};
absl::StatusOr<GrownFile> GrowFile(const std::string& from, const std::vector<DeriveOp>& ops,
                                   const GrowOptions& options, const std::string& to);

}  // namespace saffron
