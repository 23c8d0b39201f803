#pragma once
// Taking a document apart: mappings by known keys, scalars by wanted type. Each function adds a
// problem, with the place, when the document has something else.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/sweep/document.h"
#include "coordinator/sweep/problems.h"
#include "google/protobuf/descriptor.h"

namespace saffron {

// A mapping with a fixed set of keys: those that are taken before Finish.
class MapReader {
 public:
  // A node that is no mapping is a problem of `key`, and then has no members.
  MapReader(const DocumentNode& node, std::string_view key, Problems& problems);
  // The member of that name, or nullptr.
  const DocumentMember* Take(std::string_view key);
  bool Has(std::string_view key) const;
  // Reports the members that nobody took, with the nearest of those that were asked for.
  void Finish();

 private:
  const std::vector<DocumentMember>* members_;
  std::string key_;
  Problems& problems_;
  std::vector<std::string> known_;
};

// The items of a list; none, and a problem, when it is something else.
const std::vector<DocumentNode>& ReadList(const DocumentNode& node, std::string_view key,
                                          Problems& problems);
// The members of a mapping whose keys are the user's.
const std::vector<DocumentMember>& ReadMap(const DocumentNode& node, std::string_view key,
                                           Problems& problems);

// Scalars. `wanted` completes "want …, got …".
std::optional<int64_t> ReadInteger(const DocumentNode& node, std::string_view key, int64_t min,
                                   int64_t max, Problems& problems);
std::optional<double> ReadNumber(const DocumentNode& node, std::string_view key,
                                 Problems& problems);
std::optional<bool> ReadBoolean(const DocumentNode& node, std::string_view key, Problems& problems);
std::optional<std::string> ReadString(const DocumentNode& node, std::string_view key,
                                      Problems& problems);
// The text of any scalar, "3" and "true" included.
std::optional<std::string> ReadText(const DocumentNode& node, std::string_view key,
                                    std::string_view wanted, Problems& problems);

// One of `words`. Those in `later` exist elsewhere but are not supported here.
std::optional<std::string> ReadWord(const DocumentNode& node, std::string_view key,
                                    const std::vector<std::string>& words,
                                    const std::vector<std::string>& later, Problems& problems);

// The words for the values of an enumeration of the protocol, its names in lower case; number 0 of
// it, "unspecified", has none.
std::vector<std::string> EnumWords(const google::protobuf::EnumDescriptor& descriptor);
// The number of a word that EnumWords gave.
int EnumNumber(const google::protobuf::EnumDescriptor& descriptor, std::string_view word);
std::string EnumWord(const google::protobuf::EnumDescriptor& descriptor, int number);

}  // namespace saffron
