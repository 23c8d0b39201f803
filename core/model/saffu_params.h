#pragma once
// The self-attentive feed-forward unit (SAFFU): shapes and parameters shared by the explicit solve
// (core/solve) and backpropagation (core/layers). After Williams & Zhao, arXiv:2311.07510; the
// equations are this project's own and stand in core/layers/saffu_layer.h.

#include <cstdint>
#include <string>
#include <vector>

namespace saffron {

// A key is a (stream, lag): a positive feature vector of L1 norm 1 computed from the context.
enum class Stream : uint8_t {
  kCipher,   // x: bit-cipher code of the token at the lag (<= a few non-zeros)
  kContext,  // c: context vector of the token at the lag (dense)
  kBag,      // r: mean cipher code of the last `radius` tokens (sparse, up to b non-zeros)
  kLower,    // o: output of the layer below at position t-lag+1 (dense; feature_tables.h)
};

struct KeySpec {
  Stream stream;
  int lag;  // 1 = the token right before the target; 1 for kBag
  int dim;  // b for x, c, r; width of the lower layer's output for o
};

enum class Head : uint8_t { kConcat, kSum };

struct SaffuLayerShape {
  std::vector<KeySpec> keys;  // NK of them; keys[0] is the query
  Head head = Head::kConcat;  // kSum needs equal dims
  bool attention = false;     // W_k present (else scores are the static beta_k alone)
  int outputs = 0;            // N: vocabulary for the top layer, cipher width for a lower one

  int num_keys() const { return static_cast<int>(keys.size()); }
  // Row of U where key k starts (0 for every key of a sum head).
  int KeyOffset(int k) const {
    if (head == Head::kSum) return 0;
    int offset = 0;
    for (int i = 0; i < k; ++i) offset += keys[i].dim;
    return offset;
  }
  int InputDim() const {  // D: rows of U
    return head == Head::kSum ? keys[0].dim : KeyOffset(num_keys());
  }
};

// s_k = beta_k + q' W_k X_k,  A = softmax(s),  h = [g A_1 X_1, ..., g A_K X_K] (concat) or
// g sum_k A_k X_k (sum),  z = h U + bias.
template <typename T>
struct SaffuLayerParams {
  SaffuLayerShape shape;
  T gain = 1;           // g, fixed in training
  std::vector<T> beta;  // [NK]
  std::vector<T> w;     // [NK, dim(q), dim(X_k)] one after the other; empty without attention
  std::vector<T> u;     // [D, N] row-major
  std::vector<T> bias;  // [N], or empty: then log p is spread over U's rows (norms are constant)
};

}  // namespace saffron
