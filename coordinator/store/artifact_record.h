#pragma once
// What the database says of a stored file.

#include <cstdint>
#include <string>

namespace saffron {

struct ArtifactRecord {
  std::string sha256;
  int64_t bytes = 0;
  std::string kind;  // kStateArtifact, kCheckpointArtifact, ...
  std::string role;  // of a checkpoint: "best" or "last"; of a trace: "routing"; else ''
  int64_t step = 0;  // optimisation steps done
};

// The state of a trial that has no result yet: the next attempt goes on from the newest.
inline constexpr char kStateArtifact[] = "state";
// The model of a trial that has one.
inline constexpr char kCheckpointArtifact[] = "checkpoint";
// What the parts of such a model did when it was evaluated.
inline constexpr char kTraceArtifact[] = "trace";

}  // namespace saffron
