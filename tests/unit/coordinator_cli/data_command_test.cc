// data add, list and show, called as the program calls them; fetching has tests of its own.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "coordinator/cli/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class DataCommandTest : public testing::Test {
 protected:
  DataCommandTest() {
    if (::mkdtemp(folder_.data()) == nullptr) abort();
    std::filesystem::create_directory(Path("texts"));
    for (int i = 0; i < 20; ++i) WriteText("texts/" + std::to_string(100 + i), i);
  }
  ~DataCommandTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  void WriteText(const std::string& name, int salt) {
    std::ofstream file(Path(name));
    for (int k = 0; k < 100; ++k) file << "the word" << (k * salt) % 7 << " ends.\n";
  }

  // Runs `saffron data ARGUMENTS --data FOLDER/data`.
  int Main(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"saffron", "data"});
    arguments.insert(arguments.end(), {"--data", Path("data")});
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    CLI::App app("test", "saffron");
    Cli cli;
    AddDataCommand(app, cli);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const int code = cli.Main(app, static_cast<int>(argv.size()), argv.data());
    err_ = testing::internal::GetCapturedStderr();
    out_ = testing::internal::GetCapturedStdout();
    return code;
  }

  std::string folder_ = testing::TempDir() + "saffron_data_command.XXXXXX";
  std::string out_, err_;
};

TEST_F(DataCommandTest, WhatIsAddedIsListedAndShown) {
  ASSERT_EQ(Main({"add", "mine", Path("texts")}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("corpus \"mine\": 20 documents"));
  EXPECT_THAT(out_, IsEmpty());
  ASSERT_EQ(Main({"list", "--output", "json"}), 0) << err_;
  const auto listed = nlohmann::json::parse(out_);
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0]["name"], "mine");
  EXPECT_EQ(listed[0]["documents"], 20);
  EXPECT_EQ(listed[0]["fingerprint"].get<std::string>().size(), 64u);
  ASSERT_EQ(Main({"show", "mine", "--vocab", "4", "--output", "json"}), 0) << err_;
  const auto shown = nlohmann::json::parse(out_)[0];
  EXPECT_EQ(shown["train_documents"], 18);
  EXPECT_EQ(shown["valid_documents"], 1);
  EXPECT_EQ(shown["test_documents"], 1);
  // Five tokens a line (a digit parts from its word), a hundred lines, and <eod>.
  EXPECT_EQ(shown["tokens"], 20 * 501);
  EXPECT_EQ(shown["vocab"], 4);
  EXPECT_EQ(shown["test_coverage"], "59.88 %");
  EXPECT_EQ(shown["first_types"], "<unk> . ends the");
}

TEST_F(DataCommandTest, QuietListsNamesForScripts) {
  ASSERT_EQ(Main({"add", "b", Path("texts/*")}), 0) << err_;
  ASSERT_EQ(Main({"add", "a", Path("texts")}), 0) << err_;
  ASSERT_EQ(Main({"list", "--output", "quiet"}), 0);
  EXPECT_EQ(out_, "a\nb\n");
}

TEST_F(DataCommandTest, AnEmptyDirectoryIsNoErrorAndSaysWhatToDo) {
  EXPECT_EQ(Main({"list", "--output", "json"}), 0);
  EXPECT_THAT(nlohmann::json::parse(out_), IsEmpty());
  EXPECT_THAT(err_, HasSubstr("data fetch sotu"));
}

TEST_F(DataCommandTest, OtherTextOfTheSameNameNeedsReplace) {
  ASSERT_EQ(Main({"add", "mine", Path("texts")}), 0) << err_;
  WriteText("texts/100", 3);
  EXPECT_EQ(Main({"add", "mine", Path("texts")}), 2);
  EXPECT_THAT(err_, HasSubstr("--replace"));
  EXPECT_EQ(Main({"add", "mine", Path("texts"), "--replace"}), 0) << err_;
}

TEST_F(DataCommandTest, ASeparatorPartsOneFileIntoDocuments) {
  std::ofstream all(Path("all.txt"));
  for (int i = 0; i < 21; ++i) {
    for (int k = 0; k < 100; ++k) all << "one two\n";
    all << "-----\n";
  }
  all.close();
  EXPECT_EQ(Main({"add", "mine", Path("all.txt")}), 2);
  EXPECT_THAT(err_, HasSubstr("--separator"));
  EXPECT_EQ(Main({"add", "mine", Path("all.txt"), "--separator", "-----"}), 0) << err_;
  EXPECT_THAT(err_, HasSubstr("21 documents"));
}

TEST_F(DataCommandTest, MistakesAreUsageErrorsThatNameTheirPlace) {
  std::ofstream(Path("latin1.txt")) << "caf\xE9";
  EXPECT_EQ(Main({"add", "mine", Path("latin1.txt")}), 2);
  EXPECT_THAT(err_, HasSubstr("latin1.txt:1:4 (byte 3)"));
  EXPECT_EQ(Main({"add", "mine", Path("nowhere.txt")}), 2);
  EXPECT_THAT(err_, HasSubstr("nowhere.txt"));
  EXPECT_EQ(Main({"add", "Mine!", Path("texts")}), 2);
  EXPECT_EQ(Main({"add", "mine"}), 2);
  EXPECT_EQ(Main({"show", "mine"}), 4);
  EXPECT_THAT(err_, HasSubstr("saffron data add mine"));
  EXPECT_EQ(Main({"fetch", "stou"}), 4);
  EXPECT_THAT(err_, HasSubstr("mnist, sotu and all"));
}

}  // namespace
}  // namespace saffron
