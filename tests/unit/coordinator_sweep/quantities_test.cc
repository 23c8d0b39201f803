#include "coordinator/sweep/quantities.h"

#include "gtest/gtest.h"

namespace saffron {
namespace {

TEST(QuantitiesTest, DurationsAsPeopleWriteThem) {
  EXPECT_EQ(ParseDurationMs("2h"), 7'200'000);
  EXPECT_EQ(ParseDurationMs("1h 30m"), 5'400'000);
  EXPECT_EQ(ParseDurationMs("1.5h"), 5'400'000);
  EXPECT_EQ(ParseDurationMs("90s"), 90'000);
  EXPECT_EQ(ParseDurationMs("500 ms"), 500);
  EXPECT_EQ(ParseDurationMs("1d2h3m4s5ms"), 93'784'005);
}

TEST(QuantitiesTest, OtherTextsAreNoDurations) {
  for (const char* text : {"", "2", "h", "2 hours", "-2h", "2h1d", "2h 3h", "1e3s", "0.0001ms",
                           "2h,", "9999999999999d", "inf", "nan"}) {
    EXPECT_EQ(ParseDurationMs(text), std::nullopt) << text;
  }
}

TEST(QuantitiesTest, DurationsReadBackAsPrinted) {
  for (int64_t ms : {int64_t{0}, int64_t{1}, int64_t{999}, int64_t{60'000}, int64_t{93'784'005},
                     int64_t{86'400'000} * 365}) {
    EXPECT_EQ(ParseDurationMs(DurationText(ms)), ms) << DurationText(ms);
  }
  EXPECT_EQ(DurationText(5'400'000), "1h30m");
}

TEST(QuantitiesTest, SizesAsPeopleWriteThem) {
  EXPECT_EQ(ParseBytes("2GiB"), int64_t{2} << 30);
  EXPECT_EQ(ParseBytes("512 MiB"), int64_t{512} << 20);
  EXPECT_EQ(ParseBytes("1.5GB"), 1'500'000'000);
  EXPECT_EQ(ParseBytes("4096B"), 4096);
}

TEST(QuantitiesTest, OtherTextsAreNoSizes) {
  for (const char* text :
       {"", "2", "GiB", "2 gigabytes", "-1GiB", "0.3B", "99999999TiB", "2GiB x"}) {
    EXPECT_EQ(ParseBytes(text), std::nullopt) << text;
  }
}

TEST(QuantitiesTest, SizesReadBackAsPrinted) {
  for (int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{1023}, int64_t{1024},
                        int64_t{1'500'000'000}, int64_t{3} << 40}) {
    EXPECT_EQ(ParseBytes(BytesText(bytes)), bytes) << BytesText(bytes);
  }
  EXPECT_EQ(BytesText(int64_t{2} << 30), "2GiB");
}

}  // namespace
}  // namespace saffron
