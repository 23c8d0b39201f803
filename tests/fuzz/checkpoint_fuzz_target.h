#pragma once
// What no checkpoint file may break. Aborts when one does.

#include <string_view>

namespace saffron {

// The bytes as a file, and as the text of a header (its first line) with the data behind it: read
// and held together, or refused with a message.
void FuzzCheckpoint(std::string_view bytes);

}  // namespace saffron
