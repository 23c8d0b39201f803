#pragma once
// Reads text files into documents for DataStore::AddText.

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace saffron {

// Files given as arguments: a folder stands for the regular files in it (not below, none whose name
// starts with '.'), a pattern with *, ? or [ for its matches, each in sorted order; anything else
// for itself. A file that is named more than once counts once. INVALID_ARGUMENT where nothing
// matches or a folder is empty.
absl::StatusOr<std::vector<std::string>> ExpandPaths(const std::vector<std::string>& arguments);

// The documents of `files`, in order: one a file, or, when `separator` is not empty, the parts
// between lines that equal it (white space at a line's end aside), the line itself dropped. A part
// of nothing but white space is no document. A byte-order mark at the start of a file is dropped;
// all other bytes stay, CRLF included. INVALID_ARGUMENT (file:line:column and byte offset) for
// bytes that are not UTF-8 or that are NUL, and for a file without any text.
absl::StatusOr<std::vector<std::string>> ReadTextDocuments(const std::vector<std::string>& files,
                                                           const std::string& separator);

}  // namespace saffron
