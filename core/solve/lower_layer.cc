#include "core/solve/lower_layer.h"

#include <algorithm>

#include "core/math/exp.h"
#include "core/math/gemm.h"
#include "core/solve/moment_kernels.h"

namespace saffron {

LowerLayer::LowerLayer(const FeatureTables& features, const SaffuLayerParams<float>& params,
                       absl::Span<const int32_t> stream, const LowerOutputs* below)
    : features_(features),
      shape_(params.shape),
      stream_(stream),
      below_(below),
      gains_(features, params),
      padded_((shape_.outputs + kMomentLanes - 1) / kMomentLanes * kMomentLanes),
      bias_(padded_) {
  std::copy(params.bias.begin(), params.bias.end(), bias_.begin());
  for (int k = 0; k < shape_.num_keys(); ++k) {
    const KeySpec& key = shape_.keys[k];
    Matrix<float> u = Matrix<float>::Zero(key.dim, padded_);
    u.leftCols(shape_.outputs) = Eigen::Map<const Matrix<float>>(
        params.u.data() + int64_t{shape_.KeyOffset(k)} * shape_.outputs, key.dim, shape_.outputs);
    if (!IsTokenKey(key)) {
      tables_.push_back(std::move(u));
      continue;
    }
    Matrix<float>& table =
        tables_.emplace_back(Matrix<float>::Zero(features.cipher.rows(), padded_));
    for (int token = 0; token < features.cipher.rows(); ++token) {
      const KeyVector x = TokenKeyVector(features, key, token);
      for (int e = 0; e < x.size; ++e) {
        table.row(token) += x.value[e] * u.row(x.index == nullptr ? e : x.index[e]);
      }
    }
  }
}

Matrix<float> LowerLayer::Outputs(int64_t first, int64_t last) const {
  const int keys = shape_.num_keys(), width = shape_.outputs;
  KeyWindow window(features_, shape_.keys, stream_, below_);
  window.Load(first, last);
  Matrix<float> gains(last - first, keys), z(last - first, padded_);
  std::vector<const float*> rows;
  std::vector<float> weights;
  for (int64_t t = first; t < last; ++t) {
    gains_.At(window, t, gains.row(t - first).data());
    rows.clear();
    weights.clear();
    for (int k = 0; k < keys; ++k) {
      if (!IsTokenKey(shape_.keys[k])) continue;
      const int32_t token = TokenOfKey(stream_, features_.padding, shape_.keys[k], t);
      rows.push_back(tables_[k].row(token).data());
      weights.push_back(gains(t - first, k));
    }
    AddRows(bias_.data(), rows.data(), weights.data(), static_cast<int>(rows.size()), padded_,
            z.row(t - first).data());
  }
  for (int k = 0; k < keys; ++k) {
    if (IsTokenKey(shape_.keys[k])) continue;
    const int dim = shape_.keys[k].dim;
    Matrix<float> x(last - first, dim);
    for (int64_t t = first; t < last; ++t) {
      const Eigen::Map<const Eigen::RowVectorXf> value(window.At(k, t).value, dim);
      x.row(t - first) = gains(t - first, k) * value;
    }
    Gemm<true>(x.rows(), padded_, dim, GemmLeft<float>{x.data(), dim, 1}, tables_[k].data(),
               padded_, z.data(), padded_);
  }
  for (int64_t i = 0; i < z.rows(); ++i) SoftmaxInPlace(z.row(i).data(), width);
  return z.leftCols(width);
}

}  // namespace saffron
