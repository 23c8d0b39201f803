#pragma once
// The attention of a SAFFU layer: scores from query and keys, and the way back.
//   s_k = beta_k + q' W_k X_k      A = softmax_k(s)
// with q the row of key 0. Without W the scores are beta alone.

#include <cstdint>
#include <vector>

#include "core/layers/key_rows.h"
#include "core/layers/layer_places.h"
#include "core/math/aligned_array.h"

namespace saffron {

template <typename T>
class Attention {
 public:
  Attention(const LayerPlaces<T>& places, int positions_max);

  // A[positions, NK] of `positions` loaded positions; `arena` holds the parameters.
  void Forward(const T* arena, const std::vector<KeyRows<T>>& keys, int positions);
  T weight(int64_t m, int k) const { return weights_[m * num_keys_ + k]; }

  // Given weighted[m, k] = A_k dL/dA_k (overwritten by ds = weighted - A sum_k weighted), adds
  //   dbeta_k += sum_m ds_k      dW_k += sum_m ds_k q X_k'
  // to `gradient` (laid out as the arena). Where dx[k] is not null (o keys), adds to row m of
  // dx[k][positions, stride] what passes through the scores:
  //   dX_k += ds_k W_k'q         dX_1 += sum_k ds_k W_k X_k
  void Backward(const T* arena, const std::vector<KeyRows<T>>& keys, int positions, T* weighted,
                T* gradient, const std::vector<T*>& dx);

 private:
  void QueryTimesW(const T* w, const KeyRows<T>& query, const KeyRows<T>& key, T* out) const;
  void GatherKeys(const KeyRows<T>& query, const KeyRows<T>& key, int k, int positions,
                  const T* ds);
  void AddOuterProducts(const KeyRows<T>& query, const KeyRows<T>& key, T* dw) const;
  void BackToQuery(const T* w, const KeyRows<T>& query, const KeyRows<T>& key, T* dq) const;

  LayerPlaces<T> places_;
  int num_keys_;
  AlignedArray<T> weights_;                     // A, [positions_max, NK]
  std::vector<AlignedArray<T>> query_times_w_;  // per key: q'W_k by query row, [rows, stride]
  std::vector<double> dbeta_;                   // [NK]
  AlignedArray<T> gathered_;  // sum of ds_k X_k by query row, of one key at a time: [rows, stride]
};

}  // namespace saffron
