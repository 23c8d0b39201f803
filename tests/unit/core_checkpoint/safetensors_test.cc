#include "core/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "core/base/digest.h"
#include "core/checkpoint/arena_tensors.h"
#include "core/data/files.h"

namespace saffron {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// A file by hand: length, header, data.
std::string File(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), 8);
  return file + header + data;
}

std::string Refusal(const std::string& file) {
  const auto parsed = Safetensors::Parse(file, "x.safetensors");
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << parsed.status();
  return std::string(parsed.status().message());
}

class SafetensorsTest : public ::testing::Test {
 protected:
  SafetensorsTest() : folder_(::testing::TempDir() + "/safetensors_" + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~SafetensorsTest() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  const std::string folder_;
};

TEST_F(SafetensorsTest, WhatIsWrittenIsReadBack) {
  const std::vector<float> w = {1, 2, 3, 4, 5, -0.0f};
  const std::vector<double> scale = {0.1};
  const std::vector<int64_t> steps = {1, -2};
  const std::vector<NamedTensor> tensors = {{"w", TensorOf(w, {2, 3})},
                                            {"scale", TensorOf(scale, {})},
                                            {"steps", TensorOf(steps, {2})},
                                            {"empty", TensorOf(std::vector<float>(), {0, 7})}};
  const auto written = WriteSafetensors(Path("a"), {{"key", "täxt\n\"quoted\""}}, tensors);
  ASSERT_TRUE(written.ok()) << written.status();
  const auto file = SafetensorsFile::Open(Path("a"));
  ASSERT_TRUE(file.ok()) << file.status();
  const Safetensors& content = (*file)->content();
  EXPECT_EQ(*content.Metadata("key"), "täxt\n\"quoted\"");
  ASSERT_EQ(content.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const auto read = content.Tensor(name);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->type, tensor.type) << name;
    EXPECT_EQ(read->shape, tensor.shape) << name;
    EXPECT_EQ(read->bytes, tensor.bytes) << name;
  }
  EXPECT_EQ(*ReadIntegers(content, "steps"), steps);
  EXPECT_EQ(written->bytes, static_cast<int64_t>((*file)->bytes().size()));
  EXPECT_EQ(written->sha256, *Sha256HexOfFile(Path("a")));
}

TEST_F(SafetensorsTest, TensorsAreAlignedAndTheFileDependsOnItsContentAlone) {
  const std::vector<float> odd = {1};
  const std::vector<double> d = {1, 2};
  const std::vector<NamedTensor> tensors = {{"odd", TensorOf(odd, {1})}, {"d", TensorOf(d, {2})}};
  for (const char* name : {"a", "b"}) {
    ASSERT_TRUE(WriteSafetensors(Path(name), {{"k", "v"}}, tensors).ok());
  }
  EXPECT_EQ(*ReadWholeFile(Path("a")), *ReadWholeFile(Path("b")));
  const auto file = SafetensorsFile::Open(Path("a"));
  ASSERT_TRUE(file.ok());
  const auto place = [&](const char* name) {
    return (*file)->content().Tensor(name)->bytes.data() - (*file)->bytes().data();
  };
  EXPECT_EQ(place("d") % 8, 0);
  EXPECT_EQ(place("odd") % 4, 0);
}

TEST_F(SafetensorsTest, AFileOfAnotherWriterIsReadAsItStands) {
  // Spaces at the end, keys in any order, a scalar, an empty tensor at the end.
  const std::string header =
      R"({"b":{"shape":[],"data_offsets":[4,6],"dtype":"BF16"},)"
      R"("a":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]},)"
      R"("z":{"dtype":"I64","shape":[0],"data_offsets":[6,6]},"__metadata__":{}}   )";
  const std::string bytes = File(header, "abcdEF");
  const auto parsed = Safetensors::Parse(bytes, "x");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->Tensor("a")->bytes, "abcd");
  EXPECT_EQ(parsed->Tensor("b")->bytes, "EF");
  EXPECT_TRUE(parsed->Tensor("z")->bytes.empty());
  EXPECT_TRUE(Safetensors::Parse(File("{}"), "x").ok());
}

TEST_F(SafetensorsTest, WhatIsNoHeaderIsRefused) {
  EXPECT_THAT(Refusal(""), StartsWith("x.safetensors: not a safetensors file: "));
  EXPECT_THAT(Refusal("1234567"), HasSubstr("too few"));
  EXPECT_THAT(Refusal(File("")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(Refusal(File(" {}")), HasSubstr("does not begin with '{'"));
  EXPECT_THAT(Refusal(File("{")), HasSubstr("not JSON at byte"));
  EXPECT_THAT(Refusal(File("{} x")), HasSubstr("not JSON"));
  EXPECT_THAT(Refusal(File("{\"\xff\":{}}")), HasSubstr("not JSON"));
  EXPECT_THAT(Refusal(std::string(8, '\xff') + "{}"), HasSubstr("at most 100000000 are allowed"));
  std::string longer = File("{}");
  longer[0] = 9;
  EXPECT_THAT(Refusal(longer), HasSubstr("cut short: a header of 9 bytes in a file of 10"));
}

TEST_F(SafetensorsTest, WhatDoesNotHoldTogetherIsRefusedByName) {
  const auto one = [](const std::string& fields) {
    return File("{\"t\":{" + fields + "}}", "abcd");
  };
  const std::string good = R"("dtype":"U8","shape":[4],"data_offsets":[0,4])";
  ASSERT_TRUE(Safetensors::Parse(one(good), "x").ok());
  EXPECT_THAT(Refusal(one(good + ",\"shape\":[4]")), HasSubstr("\"shape\" occurs twice"));
  EXPECT_THAT(Refusal(one(good + ",\"more\":1")), HasSubstr("did not expect a number"));
  EXPECT_THAT(Refusal(one(R"("dtype":"U9","shape":[4],"data_offsets":[0,4])")),
              HasSubstr("\"t\": unknown dtype \"U9\""));
  EXPECT_THAT(Refusal(one(R"("shape":[4],"data_offsets":[0,4])")), HasSubstr("want dtype, shape"));
  EXPECT_THAT(Refusal(one(R"("dtype":"U8","shape":[4],"data_offsets":[0])")),
              HasSubstr("want two data_offsets, got 1"));
  EXPECT_THAT(Refusal(one(R"("dtype":"U8","shape":[4],"data_offsets":[4,0])")),
              HasSubstr("not within"));
  EXPECT_THAT(Refusal(one(R"("dtype":"U8","shape":[5],"data_offsets":[0,5])")),
              HasSubstr("not within the 4 bytes"));
  EXPECT_THAT(Refusal(one(R"("dtype":"F32","shape":[4],"data_offsets":[0,4])")),
              HasSubstr("shape [4] of F32 takes 16 bytes, data_offsets give 4"));
  EXPECT_THAT(Refusal(one(R"("dtype":"U8","shape":[-4],"data_offsets":[0,4])")),
              HasSubstr("negative"));
  EXPECT_THAT(Refusal(one(R"("dtype":"U8","shape":[4.0],"data_offsets":[0,4])")),
              HasSubstr("not whole"));
  EXPECT_THAT(Refusal(one(R"("dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,4])")),
              HasSubstr("too large"));
  // 2^62 * 2^2 wraps to 0, 2^32 * 2^32 * 4 too.
  EXPECT_THAT(Refusal(one(R"("dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,0])")),
              HasSubstr("more than 2^63"));
  EXPECT_THAT(Refusal(one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])")),
              HasSubstr("more than 2^63"));
  EXPECT_THAT(Refusal(one(R"("dtype":"U8","shape":[[4]],"data_offsets":[0,4])")),
              HasSubstr("did not expect a list"));
  EXPECT_THAT(Refusal(File(R"({"t":5})")), HasSubstr("did not expect a number"));
  EXPECT_THAT(Refusal(File(R"({"__metadata__":{"a":1}})")), HasSubstr("did not expect a number"));
  EXPECT_THAT(Refusal(File(R"({"__metadata__":{"a":"1","a":"2"}})")), HasSubstr("occurs twice"));
}

TEST_F(SafetensorsTest, EveryByteOfTheDataBelongsToOneTensor) {
  const auto two = [](const std::string& a, const std::string& b, const std::string& data) {
    return File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + a +
                    R"(},"b":{"dtype":"U8","shape":[2],"data_offsets":)" + b + "}}",
                data);
  };
  ASSERT_TRUE(Safetensors::Parse(two("[2,4]", "[0,2]", "abcd"), "x").ok());
  EXPECT_THAT(Refusal(two("[0,2]", "[3,5]", "abcde")), HasSubstr("a hole at byte 2"));
  EXPECT_THAT(Refusal(two("[0,2]", "[1,3]", "abc")), HasSubstr("an overlap at byte 1"));
  EXPECT_THAT(Refusal(two("[0,2]", "[2,4]", "abcde")), HasSubstr("1 bytes at the end"));
  EXPECT_THAT(Refusal(File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                           R"("a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
                           "abcd")),
              HasSubstr("\"a\" occurs twice"));
}

TEST_F(SafetensorsTest, DepthAndRubbishCostNothing) {
  EXPECT_THAT(Refusal(File(std::string(1 << 20, '['))), HasSubstr("begin with '{'"));
  std::string deep = "{\"a\":";
  for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
  EXPECT_THAT(Refusal(File(deep)), HasSubstr("did not expect an object"));
  EXPECT_THAT(Refusal(File("{\"" + std::string(1000, '\x7f') + "\":5}")), HasSubstr("???..."));
}

TEST_F(SafetensorsTest, EveryShorterFileIsRefused) {
  const std::vector<float> w = {1, 2, 3};
  ASSERT_TRUE(WriteSafetensors(Path("a"), {{"k", "v"}}, {{"w", TensorOf(w, {3})}}).ok());
  const std::string whole = *ReadWholeFile(Path("a"));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Safetensors::Parse(std::string_view(whole).substr(0, size), "x").ok()) << size;
  }
}

TEST_F(SafetensorsTest, OpeningSaysWhatIsWrong) {
  EXPECT_EQ(SafetensorsFile::Open(Path("none")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(SafetensorsFile::Open(folder_).status().code(), absl::StatusCode::kInvalidArgument);
  std::ofstream(Path("empty")).close();
  const absl::Status empty = SafetensorsFile::Open(Path("empty")).status();
  EXPECT_THAT(std::string(empty.message()), HasSubstr(Path("empty")));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  EXPECT_EQ(SafetensorsFile::Open(Path("fifo")).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SafetensorsTest, AFailedWriteLeavesTheOldFileAndNoOther) {
  const std::vector<float> w = {1};
  ASSERT_TRUE(WriteSafetensors(Path("a"), {}, {{"w", TensorOf(w, {1})}}).ok());
  EXPECT_FALSE(WriteSafetensors(Path("none/a"), {}, {{"w", TensorOf(w, {1})}}).ok());
  std::filesystem::create_directory(Path("folder"));
  EXPECT_FALSE(WriteSafetensors(Path("folder"), {}, {{"w", TensorOf(w, {1})}}).ok());
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
    EXPECT_THAT((std::vector<std::string>{"a", "folder"}),
                ::testing::Contains(entry.path().filename().string()));
    ++files;
  }
  EXPECT_EQ(files, 2);
}

TEST(ArenaTensors, BlocksAndPaddingAreTheArenasOwnBusiness) {
  // [2, 5] in blocks of 2 columns; then a vector of 3 in a block of 4.
  const std::vector<ParameterTensor> layout = {
      {.name = "m", .begin = 0, .rows = 2, .cols = 5, .role = TensorRole::kHidden, .block = 2},
      {.name = "v", .begin = 12, .cols = 3, .block = 4}};
  ASSERT_EQ(layout[0].stored(), 12);
  std::vector<float> array(16, 0);
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t col = 0; col < 5; ++col) {
      array[layout[0].at(row, col)] = static_cast<float>(10 * row + col);
    }
  }
  EXPECT_EQ(array, (std::vector<float>{0, 1, 10, 11, 2, 3, 12, 13, 4, 0, 14, 0, 0, 0, 0, 0}));
  for (int i = 0; i < 3; ++i) array[12 + i] = static_cast<float>(i + 100);
  TensorList list;
  AddTensors("p/", layout, array, &list);
  ASSERT_EQ(list.tensors.size(), 2u);
  EXPECT_EQ(list.tensors[0].name, "p/m");
  EXPECT_EQ(list.tensors[0].tensor.shape, (std::vector<int64_t>{2, 5}));
  EXPECT_EQ(list.tensors[1].tensor.shape, (std::vector<int64_t>{3}));
  const std::string path = ::testing::TempDir() + "/arena_" + std::to_string(getpid());
  ASSERT_TRUE(WriteSafetensors(path, {}, list.tensors).ok());
  const auto file = SafetensorsFile::Open(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*ReadFloats((*file)->content(), "p/m", {2, 5}),
            (std::vector<float>{0, 1, 2, 3, 4, 10, 11, 12, 13, 14}));
  std::vector<float> again(16, 0);
  ASSERT_TRUE(ReadTensors((*file)->content(), "p/", layout, absl::MakeSpan(again)).ok());
  EXPECT_EQ(again, array);
}

TEST(ArenaTensors, AnotherShapeOrAMissingTensorIsRefusedByName) {
  const std::vector<float> w = {1, 2, 3, 4};
  const std::string path = ::testing::TempDir() + "/shapes_" + std::to_string(getpid());
  ASSERT_TRUE(WriteSafetensors(path, {}, {{"w", TensorOf(w, {2, 2})}}).ok());
  const auto file = SafetensorsFile::Open(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<float> array(4);
  const auto read = [&](const ParameterTensor& tensor) {
    return std::string(
        ReadTensors((*file)->content(), "", {tensor}, absl::MakeSpan(array)).message());
  };
  EXPECT_EQ(read({.name = "w", .rows = 2, .cols = 2, .role = TensorRole::kHidden}), "");
  EXPECT_THAT(read({.name = "w", .cols = 4}), HasSubstr("tensor w: want [4] of F32, got [2, 2]"));
  EXPECT_THAT(read({.name = "v", .cols = 4}), HasSubstr("no tensor \"v\""));
}

}  // namespace
}  // namespace saffron
