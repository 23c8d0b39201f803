#pragma once
// From a text corpus on disk to the dataset a trial asked for, through the corpus's cache of
// encodings.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/data/corpus.h"
#include "core/data/data_store.h"

namespace saffron {

// INVALID_ARGUMENT naming the key, what it may be and what it is.
absl::Status CheckTextRequest(const TextRequest& request);

// INVALID_ARGUMENT unless `tokens` of the part ("validation", "test") leave a target to predict.
absl::Status CheckEnoughToEvaluate(const std::string& corpus, std::string_view part,
                                   int64_t tokens);

// The dataset of a request that passed CheckTextRequest, from the corpus in `folder`. Thread-safe,
// and safe among processes: of several that miss the same encoding, one makes it.
absl::StatusOr<std::shared_ptr<const TextDataset>> LoadText(const std::string& folder,
                                                            const Manifest& manifest,
                                                            const TextRequest& request);

}  // namespace saffron
