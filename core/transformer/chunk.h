#pragma once

#include <cstdint>

namespace saffron {

// A chunk of tokens: `sequences` times `length` rows, the first being row `first` of the batch.
struct Chunk {
  int64_t first = 0, sequences = 0, length = 0;
  int64_t step = 0;         // 0: no dropout
  int64_t first_drawn = 0;  // its first row among the rows that the step draws masks for
  bool train = false;       // dropout applies
  int64_t batch = 0;        // tokens of the whole batch
  int64_t rows() const { return sequences * length; }
};

}  // namespace saffron
