#include "core/transformer/transformer_network.h"

#include <algorithm>

#include "core/base/check.h"
#include "core/base/status_macros.h"
#include "core/math/lanes.h"
#include "core/transformer/dense_arena.h"

namespace saffron {
namespace {

// Tokens of a chunk, and numbers of a block of logits. Chosen by measurement
// (transformer_step_bench, 1 MiB of second-level cache, shapes A, B, C, % of the peak): 128 rows
// with blocks of 0.75 MiB 69, 74, 79; with all their logits at once 81, 75, 84; 192 rows 83, 77,
// 85; 256 rows 82, 77, 82. Few rows read weights and gradients too often for what they do with
// them, many spill activations.
constexpr int64_t kChunkRows = 192;
// Experts share a chunk's rows: two of eight do a quarter of them each (moe_bench: 1.7 times the
// time of a dense layer at 128 rows, 1.3 at 512, 1.2 at 1,024).
constexpr int64_t kSparseChunkRows = 512;
constexpr int64_t kLogitBlock = 800 * 1024;
constexpr int64_t kLogitRowsMin = 12;

int64_t LogitRows(int64_t stride, int64_t chunk_rows) {
  const int64_t fit = kLogitBlock / stride / 6 * 6;
  return std::min(chunk_rows, std::max(kLogitRowsMin, fit));
}

// Calls f(first, count) for parts of [0, n) of at most `most` that differ by one at most.
template <typename F>
void ForEvenParts(int64_t n, int64_t most, F f) {
  const int64_t parts = (n + most - 1) / most;
  for (int64_t i = 0; i < parts; ++i) f(n * i / parts, n * (i + 1) / parts - n * i / parts);
}

// Of a row, in its document.
int64_t PositionOf(const Chunk& chunk, int64_t row) {
  return row % chunk.length - (chunk.document == nullptr ? 0 : chunk.document[row]);
}

template <typename T>
void AddRow(int64_t n, const T* x, T* y) {
  ForLanes<T>(
      n, [=]<typename S>(int64_t j) { S::Store(y + j, S::Add(S::Load(y + j), S::Load(x + j))); });
}

}  // namespace

template <typename T>
TransformerNetwork<T>::TransformerNetwork(const TransformerShape& shape, const Options& options)
    : shape_(shape), options_(options), layout_(LayOut(shape)) {
  const bool sparse = std::any_of(shape.layers.begin(), shape.layers.end(),
                                  [](const auto& layer) { return layer.moe.sparse(); });
  chunk_rows_ = std::max<int64_t>(shape.context, sparse ? kSparseChunkRows : kChunkRows);
  logit_rows_ = LogitRows(StrideOf<T>(shape.vocab), chunk_rows_);
}

template <typename T>
absl::StatusOr<std::unique_ptr<TransformerNetwork<T>>> TransformerNetwork<T>::Create(
    const TransformerShape& shape, const Options& options) {
  RETURN_IF_ERROR(CheckShape(shape));
  CHECK(options.dropout >= 0 && options.dropout < 1) << "dropout " << options.dropout;
  CHECK(options.label_smoothing >= 0 && options.label_smoothing < 1)
      << "label smoothing " << options.label_smoothing;
  CHECK(options.document_begin < 0 || shape.causal) << "documents apart without a causal mask";
  CHECK(!options.bf16 || sizeof(T) == sizeof(float)) << "products of doubles in bfloat16";
  if (options.bf16 && !CpuHasBf16()) {
    return absl::UnimplementedError(
        "products in bfloat16 (train.precision bf16) want a CPU with AVX512-BF16 (avx512_bf16 in "
        "/proc/cpuinfo), which this one does not have");
  }
  std::unique_ptr<TransformerNetwork> network(new TransformerNetwork(shape, options));
  const TransformerLayout& layout = network->layout_;
  ASSIGN_OR_RETURN(network->arena_,
                   MakeDenseArena<T>(layout.tensors, layout.size, options.beside, options.train));
  ASSIGN_OR_RETURN(
      network->workspace_,
      MakeWorkspace<T>([&](Workspace<T>& workspace) { network->TakeWorkspace(workspace); },
                       options.bf16 ? &network->bf16_ : nullptr));
  return network;
}

template <typename T>
void TransformerNetwork<T>::TakeWorkspace(Workspace<T>& workspace) {
  const bool train = options_.train, drops = train && options_.dropout > 0;
  layers_.clear();
  for (int i = 0; i < static_cast<int>(shape_.layers.size()); ++i) {
    layers_.emplace_back(shape_, layout_, i, arena_.parameters().data(),
                         train ? options_.dropout : 0, options_.moe, options_.dropout_seed,
                         chunk_rows_, train, workspace);
  }
  scratch_ = TakeLayerScratch(shape_, chunk_rows_, shape_.context, train, drops, workspace);
  top_ = workspace.TakeRows(chunk_rows_, shape_.width);
  readout_in_ = workspace.TakeRows(chunk_rows_, shape_.width);
  final_state_ = {workspace.Take(chunk_rows_), workspace.Take(chunk_rows_)};
  z_ = workspace.TakeRows(logit_rows_, shape_.vocab);
  readout_ = workspace.TakeWeight(shape_.width, shape_.vocab, train);
  if (options_.bf16) TakeBf16Scratch(workspace);
  if (options_.document_begin >= 0) document_ = workspace.template TakeAs<int32_t>(chunk_rows_);
  if (!train) return;
  dreadout_in_ = workspace.TakeRows(chunk_rows_, shape_.width);
  dx_ = workspace.TakeRows(chunk_rows_, shape_.width);
  if (drops) embed_mask_ = workspace.TakeRows(chunk_rows_, shape_.width);
}

template <typename T>
void TransformerNetwork<T>::TakeBf16Scratch(Workspace<T>& workspace) {
  // Attention multiplies blocks of rows with as many columns as the context.
  int64_t widest = std::max(shape_.width, shape_.context);
  for (const TransformerLayerShape& layer : shape_.layers) {
    widest = std::max<int64_t>({widest, layer.query_width(), layer.key_width(), layer.value_width(),
                                layer.attended_width(), layer.mlp_width});
  }
  const int64_t readout = std::max(shape_.width, shape_.vocab);
  const auto take = [&](auto size) {
    const int64_t pairs = std::max(size(chunk_rows_, widest), size(logit_rows_, readout));
    return workspace.template TakeAs<Bf16Pair>(pairs);
  };
  bf16_ = {take(Bf16LeftSize), take(Bf16RightSize)};
}

template <typename T>
absl::Span<T> TransformerNetwork<T>::tensor(int64_t begin) {
  for (const ParameterTensor& tensor : layout_.tensors) {
    if (tensor.begin == begin) return arena_.parameters().subspan(begin, tensor.size());
  }
  CHECK(false) << "no tensor begins at " << begin;
  return {};
}

template <typename T>
void TransformerNetwork<T>::Pack(bool backward) {
  const T* const params = arena_.parameters().data();
  for (TransformerLayer<T>& layer : layers_) layer.Pack(params, backward);
  if (shape_.tied) {
    PackWeightTransposed(params + layout_.tok_embed, backward, readout_);
  } else {
    PackWeight(params + layout_.readout, backward, readout_);
  }
}

template <typename T>
DropoutSite TransformerNetwork<T>::EmbeddingSite(const Chunk& chunk) const {
  return {.rate = chunk.step > 0 ? options_.dropout : 0,
          .seed = options_.dropout_seed,
          .step = chunk.step,
          .site = 0};
}

template <typename T>
void TransformerNetwork<T>::Embed(const Chunk& chunk, const int32_t* inputs, Rows<T> x) {
  const int64_t h = shape_.width;
  const T* const params = arena_.parameters().data();
  for (int64_t r = 0; r < chunk.rows(); ++r) {
    std::copy_n(params + layout_.tok_embed + inputs[r] * h, h, x.row(r));
    if (layout_.pos_embed >= 0) {
      AddRow(h, params + layout_.pos_embed + PositionOf(chunk, r) * h, x.row(r));
    }
  }
  if (!chunk.train || options_.dropout == 0) return;
  FillDropoutMask(EmbeddingSite(chunk), chunk.first_drawn, chunk.rows(), h, embed_mask_);
  ApplyMask(chunk.rows(), h, x, embed_mask_, x);
}

template <typename T>
void TransformerNetwork<T>::EmbedBackward(const Chunk& chunk, const int32_t* inputs, Rows<T> dx) {
  const int64_t h = shape_.width;
  T* const gradient = arena_.gradients().data();
  if (options_.dropout > 0) ApplyMask(chunk.rows(), h, dx, embed_mask_, dx);
  for (int64_t r = 0; r < chunk.rows(); ++r) {
    AddRow(h, dx.row(r), gradient + layout_.tok_embed + inputs[r] * h);
    if (layout_.pos_embed >= 0) {
      AddRow(h, dx.row(r), gradient + layout_.pos_embed + PositionOf(chunk, r) * h);
    }
  }
}

template <typename T>
void TransformerNetwork<T>::Forward(const Chunk& chunk, const int32_t* inputs) {
  const int64_t h = shape_.width;
  const T* const params = arena_.parameters().data();
  Embed(chunk, inputs, layers_.empty() ? top_ : layers_[0].activations().x);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const bool last = i + 1 == layers_.size();
    layers_[i].Forward(chunk, last ? top_ : layers_[i + 1].activations().x, scratch_.attention,
                       router_losses_);
  }
  if (!shape_.final_norm) {
    for (int64_t r = 0; r < chunk.rows(); ++r) std::copy_n(top_.row(r), h, readout_in_.row(r));
    return;
  }
  NormForward(chunk.rows(), h, FinalNorm(params), top_, readout_in_, final_state_);
}

template <typename T>
NormWeights<T> TransformerNetwork<T>::FinalNorm(const T* params) const {
  const int64_t bias = layout_.final_norm.bias;
  return {shape_.norm, shape_.final_epsilon, params + layout_.final_norm.gain,
          bias < 0 ? nullptr : params + bias};
}

template <typename T>
void TransformerNetwork<T>::LogitsOf(const Chunk& chunk, int64_t row, int64_t rows) {
  const T* const params = arena_.parameters().data();
  LinearForward(rows, {readout_in_.row(row), readout_in_.stride}, readout_,
                layout_.readout_bias < 0 ? nullptr : params + layout_.readout_bias, z_);
  if (offset_ != nullptr) offset_(chunk.first + row, rows, z_);
}

template <typename T>
template <typename F>
void TransformerNetwork<T>::ForLogitBlocks(int64_t rows, F f) {
  ForEvenParts(rows, logit_rows_, f);
}

template <typename T>
const int32_t* TransformerNetwork<T>::FindDocuments(const int32_t* inputs, int64_t sequences,
                                                    int64_t length) {
  if (options_.document_begin < 0) return nullptr;
  int64_t row = 0;
  for (int64_t s = 0; s < sequences; ++s) {
    int32_t begin = 0;
    for (int32_t t = 0; t < length; ++t, ++row) {
      if (inputs[row] == options_.document_begin) begin = t;
      document_[row] = begin;
    }
  }
  return document_;
}

template <typename T>
template <typename F>
void TransformerNetwork<T>::ForChunks(absl::Span<const int32_t> inputs, int64_t length,
                                      int64_t step, int64_t first_drawn, bool train, F f) {
  const auto tokens = static_cast<int64_t>(inputs.size());
  CHECK(length >= 1 && length <= shape_.context && tokens % length == 0)
      << tokens << " tokens in sequences of " << length << ", context " << shape_.context;
  router_losses_ = {};
  const int64_t sequences = tokens / length, at_once = std::max<int64_t>(1, chunk_rows_ / length);
  ForEvenParts(sequences, at_once, [&](int64_t first, int64_t count) {
    f(Chunk{.first = first * length,
            .sequences = count,
            .length = length,
            .step = step,
            .first_drawn = first_drawn + first * length,
            .train = train,
            .batch = tokens,
            .document = FindDocuments(inputs.data() + first * length, count, length)});
  });
}

template <typename T>
double TransformerNetwork<T>::ReadoutBackward(const Chunk& chunk, const int32_t* targets,
                                              double scale) {
  const int64_t v = shape_.vocab;
  T* const gradient = arena_.gradients().data();
  double loss = 0;
  ForLogitBlocks(chunk.rows(), [&](int64_t row, int64_t count) {
    const Rows<T> in{readout_in_.row(row), readout_in_.stride};
    const Rows<T> din{dreadout_in_.row(row), dreadout_in_.stride};
    LogitsOf(chunk, row, count);
    loss += CrossEntropyGradient(count, v, targets + row, options_.label_smoothing, scale, z_);
    LinearBackwardInput<false>(count, z_, readout_, din);
    T* const dbias = layout_.readout_bias < 0 ? nullptr : gradient + layout_.readout_bias;
    if (shape_.tied) {
      // The embedding is the readout's transpose: its gradient is dz' h.
      LinearBackwardWeight<T>(count, z_, in, readout_.Transposed(), gradient + layout_.tok_embed,
                              nullptr);
      if (dbias != nullptr) AddColumnSums(count, v, z_, dbias);
    } else {
      LinearBackwardWeight(count, in, z_, readout_, gradient + layout_.readout, dbias);
    }
  });
  return loss;
}

template <typename T>
double TransformerNetwork<T>::LossAndGradient(absl::Span<const int32_t> inputs,
                                              absl::Span<const int32_t> targets, int64_t length,
                                              int64_t step, int64_t first_drawn) {
  CHECK(options_.train) << "a network for evaluation alone has no gradient";
  CHECK(inputs.size() == targets.size()) << inputs.size() << " inputs, " << targets.size();
  const auto counted = static_cast<int64_t>(targets.size()) -
                       std::count(targets.begin(), targets.end(), kIgnoredTarget);
  CHECK(counted > 0) << "no target counts";
  const int64_t h = shape_.width;
  T* const gradient = arena_.gradients().data();
  std::fill(arena_.gradients().begin(), arena_.gradients().end(), T{0});
  Pack(/*backward=*/true);
  double loss = 0;
  ForChunks(inputs, length, step, first_drawn, /*train=*/true, [&](const Chunk& chunk) {
    const int32_t* const tokens = inputs.data() + chunk.first;
    Forward(chunk, tokens);
    loss += ReadoutBackward(chunk, targets.data() + chunk.first, 1.0 / counted);
    Rows<T> dx = dreadout_in_;
    if (shape_.final_norm) {
      dx = dx_;
      std::fill_n(dx.data, chunk.rows() * dx.stride, T{0});
      NormBackward(chunk.rows(), h, FinalNorm(arena_.parameters().data()), top_, final_state_,
                   dreadout_in_, dx, gradient + layout_.final_norm.gain,
                   layout_.final_norm.bias < 0 ? nullptr : gradient + layout_.final_norm.bias);
    }
    for (size_t i = layers_.size(); i-- > 0;) layers_[i].Backward(chunk, dx, gradient, scratch_);
    EmbedBackward(chunk, tokens, dx);
  });
  return loss / static_cast<double>(counted) + options_.moe.z_loss * router_losses_.z +
         options_.moe.balance_loss * router_losses_.balance;
}

template <typename T>
void TransformerNetwork<T>::ShowRouting(const Chunk& chunk, const int32_t* inputs) {
  for (size_t i = 0; i < layers_.size(); ++i) {
    const MoeLayer<T>* const moe = layers_[i].moe();
    if (moe == nullptr) continue;
    routing_observer_(static_cast<int>(i), moe->routing(chunk),
                      {inputs, static_cast<size_t>(chunk.rows())});
  }
}

template <typename T>
Evaluation TransformerNetwork<T>::Evaluate(absl::Span<const int32_t> inputs,
                                           absl::Span<const int32_t> targets, int64_t length) {
  CHECK(inputs.size() == targets.size()) << inputs.size() << " inputs, " << targets.size();
  Evaluation result;
  Pack(/*backward=*/false);
  ForChunks(inputs, length, 0, 0, /*train=*/false, [&](const Chunk& chunk) {
    const int32_t* const wanted = targets.data() + chunk.first;
    Forward(chunk, inputs.data() + chunk.first);
    if (routing_observer_) ShowRouting(chunk, inputs.data() + chunk.first);
    ForLogitBlocks(chunk.rows(), [&](int64_t row, int64_t count) {
      const bool any = std::any_of(wanted + row, wanted + row + count,
                                   [](int32_t target) { return target != kIgnoredTarget; });
      if (!any) return;
      LogitsOf(chunk, row, count);
      CrossEntropyEvaluate(count, shape_.vocab, wanted + row, z_, result);
    });
  });
  return result;
}

template <typename T>
void TransformerNetwork<T>::Logits(absl::Span<const int32_t> inputs, int64_t length,
                                   absl::Span<T> logits) {
  const int64_t v = shape_.vocab;
  CHECK(logits.size() == inputs.size() * v) << logits.size() << " logits";
  Pack(/*backward=*/false);
  ForChunks(inputs, length, 0, 0, /*train=*/false, [&](const Chunk& chunk) {
    Forward(chunk, inputs.data() + chunk.first);
    ForLogitBlocks(chunk.rows(), [&](int64_t row, int64_t count) {
      LogitsOf(chunk, row, count);
      for (int64_t r = 0; r < count; ++r) {
        std::copy_n(z_.row(r), v, logits.data() + (chunk.first + row + r) * v);
      }
    });
  });
}

template <typename T>
void TransformerNetwork<T>::Hidden(absl::Span<const int32_t> inputs, int64_t length,
                                   absl::Span<T> hidden) {
  const int64_t h = shape_.width;
  CHECK(hidden.size() == inputs.size() * h) << hidden.size() << " numbers";
  Pack(/*backward=*/false);
  ForChunks(inputs, length, 0, 0, /*train=*/false, [&](const Chunk& chunk) {
    Forward(chunk, inputs.data() + chunk.first);
    for (int64_t r = 0; r < chunk.rows(); ++r) {
      std::copy_n(readout_in_.row(r), h, hidden.data() + (chunk.first + r) * h);
    }
  });
}

template class TransformerNetwork<float>;
template class TransformerNetwork<double>;

}  // namespace saffron
