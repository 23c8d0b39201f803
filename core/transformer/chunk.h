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
  // [rows()]: of every row, the place in its sequence where its document begins; it sees nothing
  // before. Null: a sequence is one document.
  const int32_t* document = nullptr;
  int64_t rows() const { return sequences * length; }
  // The first row that is not of the same document of the same sequence as `row`.
  int64_t DocumentEnd(int64_t row) const {
    const int64_t end = row - row % length + length;
    if (document == nullptr) return end;
    const int32_t begin = document[row];
    while (++row < end && document[row] == begin) {
    }
    return row;
  }
};

}  // namespace saffron
