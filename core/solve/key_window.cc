#include "core/solve/key_window.h"

#include <algorithm>

#include "core/base/check.h"

namespace saffron {

KeyVector TokenKeyVector(const FeatureTables& features, const KeySpec& key, int32_t token) {
  if (key.stream == Stream::kContext) {
    return {.value = features.context.row(token).data(), .size = key.dim};
  }
  const SparseRows& rows = features.cipher;
  const int32_t begin = rows.begin[token], end = rows.begin[token + 1];
  // A full row (noisy codes) needs no index.
  const int32_t* index = end - begin == rows.dim ? nullptr : rows.index.data() + begin;
  return {.index = index, .value = rows.value.data() + begin, .size = end - begin};
}

KeyWindow::KeyWindow(const FeatureTables& features, const std::vector<KeySpec>& keys,
                     absl::Span<const int32_t> stream, const LowerOutputs* below)
    : features_(features), keys_(keys), stream_(stream), below_(below) {
  for (const KeySpec& key : keys) {
    if (key.stream == Stream::kBag) has_bag_ = true;
    if (key.stream == Stream::kLower) lower_lag_max_ = std::max(lower_lag_max_, key.lag);
  }
  CHECK(lower_lag_max_ == 0 || below_ != nullptr);
  PadCodes();
}

void KeyWindow::PadCodes() {
  const SparseRows& rows = features_.cipher;
  for (int w = 0; w < rows.rows(); ++w) {
    code_width_ = std::max(code_width_, rows.begin[w + 1] - rows.begin[w]);
  }
  if (code_width_ == rows.dim) {
    code_width_ = 0;
    return;
  }
  code_value_.resize(int64_t{rows.rows()} * code_width_);
  for (int w = 0; w < rows.rows(); ++w) {
    const int32_t begin = rows.begin[w], size = rows.begin[w + 1] - begin;
    for (int e = 0; e < code_width_; ++e) {
      code_index_.push_back(rows.index[begin + std::min(e, size - 1)]);
      if (e < size) code_value_[int64_t{w} * code_width_ + e] = rows.value[begin + e];
    }
  }
}

void KeyWindow::Load(int64_t first, int64_t last) {
  CHECK(first >= 0 && first < last && last <= static_cast<int64_t>(stream_.size()));
  if (has_bag_) LoadBags(first, last);
  if (lower_lag_max_ > 0) {
    // An o key before the stream's start reads padding only, as position 0 does.
    lower_first_ = std::max<int64_t>(0, first - lower_lag_max_ + 1);
    lower_ = below_->Outputs(lower_first_, last);
  }
}

// Mean codes of the radius_ tokens before each target, by adding the token that enters the window
// and taking off the one that leaves; the first target of each run of 256 starts from zero, so that
// rounding cannot pile up and a row does not depend on how far back a pass began.
void KeyWindow::LoadBags(int64_t first, int64_t last) {
  constexpr int64_t kRun = 256;
  const SparseRows& rows = features_.cipher;
  const int radius = features_.radius;
  bag_first_ = first;
  bags_.resize(last - first, rows.dim);
  std::vector<double>& sum = bag_sum_;
  sum.resize(rows.dim);
  const auto add = [&](int64_t position, double times) {
    const int32_t w = position >= 0 ? stream_[position] : features_.padding;
    for (int32_t e = rows.begin[w]; e < rows.begin[w + 1]; ++e) {
      sum[rows.index[e]] += times * rows.value[e];
    }
  };
  for (int64_t t = first / kRun * kRun; t < last; ++t) {
    if (t % kRun == 0) {
      std::fill(sum.begin(), sum.end(), 0);
      for (int r = radius; r >= 1; --r) add(t - r, 1);
    } else {
      add(t - 1, 1);
      add(t - 1 - radius, -1);
    }
    if (t < first) continue;
    for (int j = 0; j < rows.dim; ++j) {
      bags_(t - first, j) = static_cast<float>(std::max(0.0, sum[j] / radius));
    }
  }
}

}  // namespace saffron
