#include "core/data/images.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/unit/core_data/scratch.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Pixel `p` of image `image` of `digit`.
int Byte(int digit, int image, int p) {
  return p == 0 ? image : (digit * 31 + image * 7 + p) % 256;
}

// Ten files of `images` images each, as the package writes them.
std::string WriteDigits(const Scratch& scratch, int images) {
  for (int digit = 0; digit < 10; ++digit) {
    std::string json = "{ \"data\": [";
    for (int i = 0; i < images; ++i) {
      for (int p = 0; p < kDigitPixels; ++p) {
        const double rounded = std::round(Byte(digit, i, p) / 255.0 * 1000) / 1000;
        absl::StrAppend(&json, i + p > 0 ? "," : "", rounded);
      }
    }
    scratch.Write(absl::StrCat("digits/", digit, ".json"), json + "]}\n");
  }
  return scratch.Path("digits");
}

std::string ErrorOf(std::string_view json) {
  const auto pixels = ParseDigitPixels("7.json", json);
  EXPECT_EQ(pixels.status().code(), absl::StatusCode::kInvalidArgument) << json;
  return std::string(pixels.status().message());
}

TEST(DigitPixels, ThreeDecimalsRecoverEveryByte) {
  std::string json = "{\"data\":[";
  for (int i = 0; i < kDigitPixels; ++i) {
    absl::StrAppendFormat(&json, "%s%.3f", i > 0 ? " , " : "", i % 256 / 255.0);
  }
  const auto pixels = ParseDigitPixels("f", json + "] }");
  ASSERT_TRUE(pixels.ok()) << pixels.status();
  for (int i = 0; i < kDigitPixels; ++i) ASSERT_EQ((*pixels)[i], i % 256);
}

TEST(DigitPixels, MalformedFilesAreRefusedWithTheirPosition) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("7.json (byte 0): want {"));
  EXPECT_THAT(ErrorOf("{\"dat\":[0]}"), HasSubstr("want \"data\""));
  EXPECT_THAT(ErrorOf("{\"data\":[]}"), HasSubstr("want a number"));
  EXPECT_THAT(ErrorOf("{\"data\":[0,0.5,1.5]}"), HasSubstr("(byte 15): want a number between"));
  EXPECT_THAT(ErrorOf("{\"data\":[-0.1]}"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(ErrorOf("{\"data\":[nan]}"), HasSubstr("between 0 and 1"));
  EXPECT_THAT(ErrorOf("{\"data\":[0,0.5]}"), HasSubstr("want 784 numbers an image, got 2"));
  EXPECT_THAT(ErrorOf("{\"data\":[0,0.5"), HasSubstr("want ]"));
}

TEST(Images, RowsAndLabelsFollowTheShuffledOrder) {
  Scratch scratch;
  DataStore store(scratch.Path("data"));
  const auto info = store.AddMnist("digits", WriteDigits(scratch, 20), false);
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->kind, CorpusKind::kImages);
  EXPECT_EQ(info->documents, 200);
  const auto data = store.Images("digits");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->classes, 10);
  EXPECT_EQ((*data)->fingerprint, info->fingerprint);
  EXPECT_EQ((*data)->train_x.rows(), 160);
  EXPECT_EQ((*data)->valid_x.rows(), 10);
  EXPECT_EQ((*data)->test_x.rows(), 30);
  EXPECT_EQ((*data)->train_x.cols(), kDigitPixels);
  std::set<std::pair<int, int>> seen;
  const auto check = [&](const Matrix<float>& x, const std::vector<int32_t>& y) {
    ASSERT_EQ(static_cast<size_t>(x.rows()), y.size());
    for (Eigen::Index row = 0; row < x.rows(); ++row) {
      const int image = static_cast<int>(std::lround(x(row, 0) * 255));
      seen.emplace(y[row], image);
      for (int p = 0; p < kDigitPixels; ++p) {
        ASSERT_EQ(x(row, p), static_cast<float>(Byte(y[row], image, p)) / 255.0f);
      }
    }
  };
  check((*data)->train_x, (*data)->train_y);
  check((*data)->valid_x, (*data)->valid_y);
  check((*data)->test_x, (*data)->test_y);
  EXPECT_EQ(seen.size(), 200u);
}

TEST(Images, TextAndImagesAreNotMixedUp) {
  Scratch scratch;
  DataStore store(scratch.Path("data"));
  ASSERT_TRUE(store.AddMnist("digits", WriteDigits(scratch, 2), false).ok());
  ASSERT_TRUE(store.AddText("letters", WriteDocuments(scratch, 20), "", false).ok());
  EXPECT_EQ(store.Text({.corpus = "digits"}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(store.Images("letters").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Images, AMissingDigitIsNamed) {
  Scratch scratch;
  const std::string dir = WriteDigits(scratch, 2);
  std::filesystem::remove(dir + "/6.json");
  EXPECT_THAT(
      std::string(DataStore(scratch.Path("data")).AddMnist("d", dir, false).status().message()),
      HasSubstr("6.json"));
}

}  // namespace
}  // namespace saffron
