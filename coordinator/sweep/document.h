#pragma once
// A parsed YAML or JSON text as a tree that keeps the place of every key and value, before anything
// is known about sweeps.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/sweep/problems.h"

namespace saffron {

struct DocumentMember;

struct DocumentNode {
  // kPlain: a scalar without quotes, to be typed by its look. kQuoted: certainly a string.
  enum class Kind { kNull, kPlain, kQuoted, kList, kMap };

  Kind kind = Kind::kNull;
  Place place = {};
  std::string text = {};                     // kPlain, kQuoted
  std::vector<DocumentNode> items = {};      // kList
  std::vector<DocumentMember> members = {};  // kMap, in order, each key once

  bool is_scalar() const { return kind == Kind::kPlain || kind == Kind::kQuoted; }
};

struct DocumentMember {
  std::string key;
  Place place;
  DocumentNode value;
};

// Deeper texts are refused: a sweep needs eight levels.
inline constexpr int kDocumentDepthMax = 32;
// Nodes of a text; and nodes that aliases may add to it, so that a few lines of aliases of aliases
// cannot grow into billions.
inline constexpr int64_t kDocumentNodesMax = 1'000'000;
inline constexpr int64_t kAliasNodesMax = 10'000;

// Whether `text` is UTF-8 without control characters other than tab and line ends; else adds the
// problem. A text that is not must not be parsed.
bool CheckCharacters(std::string_view text, Problems& problems);

// The one document of a YAML 1.2 text, read with yaml-cpp. Refuses what people mistake: duplicate
// keys, merge keys (<<), tags, tabs as indentation, several documents, keys that are not scalars.
// Nothing when the text cannot be parsed; a tree that is only to be looked at for further problems
// when others were added.
std::optional<DocumentNode> ParseYaml(std::string_view text, Problems& problems);
// The same of a JSON text (RFC 8259). Numbers, true, false are kPlain.
std::optional<DocumentNode> ParseJson(std::string_view text, Problems& problems);

// Removes and reports keys that a mapping anywhere in the tree has twice.
void RemoveDuplicateKeys(DocumentNode& node, Problems& problems);

// Finds lines, and turns offsets of bytes into columns of characters.
class LineIndex {
 public:
  explicit LineIndex(std::string_view text);
  Place PlaceOfOffset(size_t offset) const;
  // From 0-based line and byte column, as yaml-cpp counts them.
  Place PlaceOfBytes(int line, int column) const;
  // The text from there on; empty where there is none.
  std::string_view From(int line, int column) const;
  // The 0-based line without its end; empty beyond the last.
  std::string_view Line(int line) const;

 private:
  std::string_view text_;
  std::vector<size_t> starts_;     // of lines
  std::vector<size_t> continued_;  // offsets of bytes that continue a character
};

// What a plain scalar stands for (YAML 1.2's core schema, decimal only), or how to write what was
// perhaps meant: "want true or false, got no, …".
struct ScalarProblem {
  std::string what;
};
using Scalar = std::variant<std::monostate, bool, int64_t, double, std::string, ScalarProblem>;
Scalar ReadScalar(const DocumentNode& node);

// "5", "\"x\"", "a list", "nothing": for "got …".
std::string DescribeNode(const DocumentNode& node);

}  // namespace saffron
