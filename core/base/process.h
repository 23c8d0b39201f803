#pragma once
// Whether another process of this machine still lives.

#include <cstdint>
#include <string>

namespace saffron {

// Names the space in which process ids mean something: this boot of this machine, and the namespace
// of process ids (containers on one host have several). Empty when it cannot be told. Thread-safe.
std::string ProcessSpace();

// Whether no process `pid` is running in this process's own space; one that ended and was not
// waited for counts as gone. False when it cannot be told. (Ids are reused: false is not a
// promise.)
bool IsProcessGone(int64_t pid);

}  // namespace saffron
