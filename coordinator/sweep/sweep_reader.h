#pragma once
// From a sweep file to a checked SweepSpec. YAML, JSON (in YAML's shape, or protobuf's JSON of the
// message) and textproto. Nothing here touches the network, the database or the corpora.
//
// Errors are INVALID_ARGUMENT, one problem a line, at most ten, each
//   FILE:LINE:COL: KEY: want WHAT, got WHAT; did you mean NAME?
// with 1-based lines and columns. Thread-safe.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "saffron/v1/sweep.pb.h"

namespace saffron {

enum class SweepFormat { kYaml, kJson, kTextproto };

// By ending: .json; .textproto, .txtpb or .pbtxt; YAML for everything else.
SweepFormat SweepFormatOf(std::string_view path);

struct ReadOptions {
  // `--set NAME=VALUE`, in order. NAME is a constant of the file, whose value it replaces, or a
  // registered key, whose value in the baseline it sets. VALUE is read as a YAML scalar would be.
  std::vector<std::string> set = {};
};

// Largest file that is read at all.
inline constexpr int64_t kSweepBytesMax = 4 << 20;

// Reads, checks (CheckSpec) and fills in defaults. A file over kSweepBytesMax is refused without
// being read.
absl::StatusOr<v1::SweepSpec> ReadSweepFile(const std::string& path,
                                            const ReadOptions& options = {});
// `source` names the text in messages and, without its ending, a sweep that has no name.
absl::StatusOr<v1::SweepSpec> ReadSweepText(std::string_view text, SweepFormat format,
                                            std::string_view source,
                                            const ReadOptions& options = {});

// Fills in the defaults of `spec` and finds whatever is wrong without expanding it: unknown keys,
// types and ranges of values, syntax and names of expressions, lengths of zips, cycles. For specs
// that arrive from elsewhere; ReadSweep* have done it.
absl::Status CheckSpec(v1::SweepSpec* spec);

// The checked `spec` as YAML, every setting in one place and one spelling. Reading it gives an
// equal spec: ReadSweepText(CanonicalSpecText(x)) == x but for positions, source and notes. Ends in
// '\n'.
std::string CanonicalSpecText(const v1::SweepSpec& spec);
// SHA-256 of the canonical text, hex: the identity of a revision.
std::string SpecDigest(const v1::SweepSpec& spec);
// Forgets positions, source and notes, so that specs can be compared field by field.
void ClearPositions(v1::SweepSpec* spec);

}  // namespace saffron
