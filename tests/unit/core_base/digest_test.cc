#include "core/base/digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace saffron {
namespace {

// FIPS 180-4 examples.
constexpr char kOfNothing[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kOfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(Sha256Hex(""), kOfNothing);
  EXPECT_EQ(Sha256Hex("abc"), kOfAbc);
}

TEST(Sha256, DoesNotDependOnHowBytesArePassed) {
  Sha256 digest;
  digest.Update("a");
  digest.Update("");
  digest.Update("bc");
  EXPECT_EQ(digest.FinishHex(), kOfAbc);
}

TEST(Sha256, SeesZeroBytes) {
  EXPECT_NE(Sha256Hex(std::string_view("a\0b", 3)), Sha256Hex(std::string_view("a\0c", 3)));
}

TEST(Sha256OfFile, ReadsTheWholeFile) {
  const std::string path = ::testing::TempDir() + "/saffron_digest_" + std::to_string(getpid());
  const std::string bytes(200'000, 'x');  // more than one piece
  std::ofstream(path, std::ios::binary) << bytes;
  const auto digest = Sha256HexOfFile(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(*digest, Sha256Hex(bytes));
}

TEST(Sha256OfFile, NamesTheFileThatIsNotThere) {
  const auto digest = Sha256HexOfFile("/no/such/file");
  EXPECT_EQ(digest.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(digest.status().message()), ::testing::HasSubstr("/no/such/file"));
}

}  // namespace
}  // namespace saffron
