#pragma once
// What no input may break. Aborts when one does.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace saffron {

// The bytes as a sweep in each format: read, or refused with a message; when read, printing and
// reading it again gives the same, and expanding it ends.
void FuzzSweep(std::string_view bytes);
// The bytes as an expression: parsed or refused, evaluated or refused.
void FuzzExpression(std::string_view bytes);

}  // namespace saffron

// libFuzzer's entry point: `clang++ -fsanitize=fuzzer` links it to a program of its own.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
