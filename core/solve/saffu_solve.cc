#include "core/solve/saffu_solve.h"

#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "core/base/status_macros.h"
#include "core/solve/layer_solve.h"
#include "core/solve/lower_layer.h"
#include "core/solve/solution_codec.h"

namespace saffron {
namespace {

absl::StatusOr<std::vector<SaffuLayerSolution>> SolveLayers(const SaffuSolveSpec& spec,
                                                            const TextDataset& data,
                                                            const FeatureTables& features,
                                                            StatisticsCache& cache,
                                                            StageClock* clock) {
  const std::vector<SaffuLayerShape> shapes = SaffuShapes(spec, data.vocab);
  std::vector<SaffuLayerSolution> layers;
  layers.reserve(shapes.size());  // Layers above hold on to the parameters of those below.
  std::vector<std::unique_ptr<LowerLayer>> lower;
  std::optional<SparseRows> soft;
  if (shapes.size() > 1) soft = CipherTargets(data.vocab, spec.width);
  for (const SaffuLayerShape& shape : shapes) {
    const bool top = layers.size() + 1 == shapes.size();
    const LayerProblem problem = {.spec = spec,
                                  .shape = shape,
                                  .features = features,
                                  .data = data,
                                  .soft = top ? nullptr : &*soft,
                                  .below = lower.empty() ? nullptr : lower.back().get(),
                                  .cache = cache};
    ASSIGN_OR_RETURN(SaffuLayerSolution layer, SolveLayer(problem, clock));
    layers.push_back(std::move(layer));
    if (top) break;
    lower.push_back(
        std::make_unique<LowerLayer>(features, layers.back().params, data.train, problem.below));
  }
  return layers;
}

// `layers_of` gives the layers once features are there.
template <typename LayersOf>
absl::StatusOr<SaffuSolution> SolveWith(const SaffuSolveSpec& spec, const TextDataset& data,
                                        StatisticsCache& cache, LayersOf layers_of) {
  RETURN_IF_ERROR(CheckSpec(spec, data.vocab));
  SaffuSolution solution;
  StageClock clock(&solution.seconds);
  ASSIGN_OR_RETURN(solution.features, BuildFeatures(spec, data, cache));
  clock.Lap("features");
  ASSIGN_OR_RETURN(solution.layers, layers_of(*solution.features, &clock));
  solution.holdout_perplexity = std::exp(solution.layers.back().holdout_nats);
  return solution;
}

}  // namespace

absl::StatusOr<SaffuSolution> SolveSaffuAfresh(const SaffuSolveSpec& spec, const TextDataset& data,
                                               StatisticsCache& cache) {
  return SolveWith(spec, data, cache, [&](const FeatureTables& features, StageClock* clock) {
    return SolveLayers(spec, data, features, cache, clock);
  });
}

absl::StatusOr<SaffuSolution> SolveSaffu(const SaffuSolveSpec& spec, const TextDataset& data,
                                         StatisticsCache& cache) {
  return SolveWith(
      spec, data, cache,
      [&](const FeatureTables& features,
          StageClock* clock) -> absl::StatusOr<std::vector<SaffuLayerSolution>> {
        std::optional<std::vector<SaffuLayerSolution>> fresh;
        ASSIGN_OR_RETURN(
            const StatisticsCache::Bytes bytes,
            cache.GetOrCompute(SolutionKey(spec, data), [&]() -> absl::StatusOr<std::vector<char>> {
              ASSIGN_OR_RETURN(fresh, SolveLayers(spec, data, features, cache, clock));
              return EncodeLayers(*fresh);
            }));
        if (fresh.has_value()) return *std::move(fresh);
        auto layers = DecodeLayers(*bytes, SaffuShapes(spec, data.vocab));
        clock->Lap("load");
        return layers;
      });
}

}  // namespace saffron
