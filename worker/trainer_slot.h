#pragma once
#include <string>

namespace saffron {

// What a slot process does (slot_server.h) with the trainer and the corpora of `data_root`.
[[noreturn]] void ServeTrainerSlot(int fd, const std::string& data_root);

}  // namespace saffron
