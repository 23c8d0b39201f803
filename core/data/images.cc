#include "core/data/images.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/data/files.h"
#include "core/data/split.h"

namespace saffron {
namespace {

// A cursor over the little JSON these files hold: `{ "data": [numbers] }`.
class Cursor {
 public:
  Cursor(const std::string& file, std::string_view text) : file_(file), text_(text) {}

  // Skips white space, then `wanted` if it is next.
  bool Accept(std::string_view wanted) {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
    if (!text_.substr(at_).starts_with(wanted)) return false;
    at_ += wanted.size();
    return true;
  }

  absl::Status Expect(std::string_view wanted) {
    if (Accept(wanted)) return absl::OkStatus();
    return Error(absl::StrCat("want ", std::string(wanted)));
  }

  absl::StatusOr<float> Number() {
    Accept("");
    float value = 0;
    const char* const end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(text_.data() + at_, end, value);
    if (error != std::errc() || !(value >= 0 && value <= 1)) {
      return Error("want a number between 0 and 1");
    }
    at_ = stop - text_.data();
    return value;
  }

  absl::Status Error(const std::string& message) const {
    return absl::InvalidArgumentError(absl::StrCat(file_, " (byte ", at_, "): ", message));
  }

 private:
  const std::string& file_;
  std::string_view text_;
  size_t at_ = 0;
};

void FillPart(const Documents& documents, const std::vector<int64_t>& part, Matrix<float>* x,
              std::vector<int32_t>* y) {
  const int64_t pixels = static_cast<int64_t>(documents[0].size()) - 1;
  x->resize(static_cast<Eigen::Index>(part.size()), pixels);
  y->resize(part.size());
  for (size_t row = 0; row < part.size(); ++row) {
    const std::string_view image = documents[part[row]];
    (*y)[row] = static_cast<unsigned char>(image[0]);
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      (*x)(row, pixel) = static_cast<float>(static_cast<unsigned char>(image[1 + pixel])) / 255.0f;
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<unsigned char>> ParseDigitPixels(const std::string& file,
                                                            std::string_view json) {
  Cursor cursor(file, json);
  RETURN_IF_ERROR(cursor.Expect("{"));
  RETURN_IF_ERROR(cursor.Expect("\"data\""));
  RETURN_IF_ERROR(cursor.Expect(":"));
  RETURN_IF_ERROR(cursor.Expect("["));
  std::vector<unsigned char> pixels;
  pixels.reserve(json.size() / 2);
  do {
    ASSIGN_OR_RETURN(const float value, cursor.Number());
    pixels.push_back(static_cast<unsigned char>(std::lround(value * 255.0f)));
  } while (cursor.Accept(","));
  RETURN_IF_ERROR(cursor.Expect("]"));
  RETURN_IF_ERROR(cursor.Expect("}"));
  if (pixels.size() % kDigitPixels != 0) {
    return cursor.Error(
        absl::StrCat("want ", kDigitPixels, " numbers an image, got ", pixels.size(), " in all"));
  }
  return pixels;
}

absl::StatusOr<std::vector<std::string>> ReadMnistDigits(const std::string& dir) {
  std::vector<std::string> images;
  for (int digit = 0; digit < 10; ++digit) {
    const std::string file = absl::StrCat(dir, "/", digit, ".json");
    ASSIGN_OR_RETURN(const std::string json, ReadWholeFile(file));
    ASSIGN_OR_RETURN(const std::vector<unsigned char> pixels, ParseDigitPixels(file, json));
    for (size_t at = 0; at < pixels.size(); at += kDigitPixels) {
      std::string& image = images.emplace_back(1, static_cast<char>(digit));
      image.append(pixels.begin() + at, pixels.begin() + at + kDigitPixels);
    }
  }
  return images;
}

absl::StatusOr<std::shared_ptr<const ImageDataset>> LoadImages(const std::string& folder,
                                                               const Manifest& manifest) {
  ASSIGN_OR_RETURN(const Documents documents, Documents::Open(folder, manifest));
  const Split split = SplitImages(documents.size());
  auto data = std::make_shared<ImageDataset>();
  data->fingerprint = manifest.info.fingerprint;
  FillPart(documents, split.train, &data->train_x, &data->train_y);
  FillPart(documents, split.valid, &data->valid_x, &data->valid_y);
  FillPart(documents, split.test, &data->test_x, &data->test_y);
  for (const auto* labels : {&data->train_y, &data->valid_y, &data->test_y}) {
    for (const int32_t label : *labels) data->classes = std::max(data->classes, label + 1);
  }
  return data;
}

}  // namespace saffron
