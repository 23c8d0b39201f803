#pragma once
// The README's tables of keys and of metrics, printed from the registry.

#include <string>

namespace saffron {

// Markdown: one table of every key that a sweep file may set, one of every metric.
std::string ReferenceMarkdown();

}  // namespace saffron
