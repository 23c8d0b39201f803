#include "coordinator/report/reference.h"

#include <fstream>
#include <sstream>
#include <string>

#include "core/model/registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace saffron {
namespace {

TEST(ReferenceTest, EveryKeyAndMetricIsInIt) {
  const std::string reference = ReferenceMarkdown();
  for (const ParamSpec& spec : AllParams()) {
    EXPECT_THAT(reference, testing::HasSubstr("| `" + spec.key + "` |"));
  }
  for (const MetricSpec& spec : AllMetrics()) {
    EXPECT_THAT(reference, testing::HasSubstr("| `" + spec.key + "` |"));
  }
}

// `saffron reference` prints what stands between the markers.
TEST(ReferenceTest, TheReadmeIsUpToDate) {
  std::ifstream file(SAFFRON_SOURCE_DIR "/README.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string readme = text.str();
  const std::string begin = "<!-- saffron reference -->\n", end = "<!-- end -->";
  const size_t from = readme.find(begin), to = readme.find(end);
  ASSERT_NE(from, std::string::npos);
  ASSERT_NE(to, std::string::npos);
  EXPECT_EQ(readme.substr(from + begin.size(), to - from - begin.size()), ReferenceMarkdown());
}

}  // namespace
}  // namespace saffron
