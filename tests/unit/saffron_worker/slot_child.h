#pragma once
// The test program is its own slot process: started with `slot` it serves orders, and the label of
// an assignment says what its trial does.

#include <string>
#include <vector>

#include "saffron/v1/worker.pb.h"

namespace saffron {

// The command line of a slot process of this program.
std::vector<std::string> SlotArgv();

// Labels: "succeed", "measure N", "sleep MS" (gives up when told to), "hang" (does not), "diverge",
// "fail", "crash", "exit", "allocate MIB", "throw".
v1::Assignment AssignmentFor(int64_t trial, const std::string& label, int attempt = 1);

}  // namespace saffron
