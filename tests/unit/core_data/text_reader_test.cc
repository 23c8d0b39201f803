#include "core/data/text_reader.h"

#include <gmock/gmock.h>

#include "tests/unit/core_data/scratch.h"

namespace saffron {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string ErrorOf(const std::vector<std::string>& files, const std::string& separator = "") {
  const auto documents = ReadTextDocuments(files, separator);
  EXPECT_EQ(documents.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(documents.status().message());
}

TEST(TextReader, AFileIsADocumentByteForByte) {
  Scratch scratch;
  const auto documents =
      ReadTextDocuments({scratch.Write("b", "second\r\n"), scratch.Write("a", "  first — \n")}, "");
  EXPECT_THAT(*documents, ElementsAre("second\r\n", "  first — \n"));
}

TEST(TextReader, AByteOrderMarkAtTheStartIsDropped) {
  Scratch scratch;
  EXPECT_THAT(*ReadTextDocuments({scratch.Write("a", "\xEF\xBB\xBFtext\xEF\xBB\xBF")}, ""),
              ElementsAre("text\xEF\xBB\xBF"));
}

TEST(TextReader, SeparatorLinesSplitAndBlankPartsAreNoDocuments) {
  Scratch scratch;
  const std::string file =
      scratch.Write("a", "===\none\n===  \r\n \n===\ntwo === two\n====\n===\n\nthree\n===");
  EXPECT_THAT(*ReadTextDocuments({file}, "==="),
              ElementsAre("one\n", "two === two\n====\n", "\nthree\n"));
}

TEST(TextReader, ASeparatorThatNeverComesGivesOneDocument) {
  Scratch scratch;
  EXPECT_THAT(*ReadTextDocuments({scratch.Write("a", "x\ny")}, "%%"), ElementsAre("x\ny"));
}

TEST(TextReader, InvalidUtf8IsReportedByLineColumnAndByte) {
  Scratch scratch;
  const std::string file = scratch.Write("latin1.txt", "caf\xC3\xA9\ncaf\xE9 noir\n");
  const std::string error = ErrorOf({file});
  EXPECT_THAT(error, HasSubstr("latin1.txt:2:4 (byte 9)"));
  EXPECT_THAT(error, HasSubstr("0xE9"));
  EXPECT_THAT(error, HasSubstr("iconv"));
}

TEST(TextReader, NulBytesAndUtf16AreNamed) {
  Scratch scratch;
  EXPECT_THAT(ErrorOf({scratch.Write("binary", std::string_view("abc\0def", 7))}),
              HasSubstr("binary:1:4 (byte 3): want UTF-8 text, found a NUL byte"));
  EXPECT_THAT(ErrorOf({scratch.Write("utf16", std::string_view("\xFF\xFEh\0i\0", 6))}),
              HasSubstr("UTF-16"));
  EXPECT_THAT(ErrorOf({scratch.Write("utf16le", std::string_view("h\0i\0", 4))}),
              HasSubstr("UTF-16"));
}

TEST(TextReader, EmptyMissingAndStrangeFilesAreNamed) {
  Scratch scratch;
  EXPECT_THAT(ErrorOf({scratch.Write("empty", "")}), HasSubstr("empty: is empty (0 bytes"));
  EXPECT_THAT(ErrorOf({scratch.Write("blank", "\xEF\xBB\xBF \n\u3000\n")}), HasSubstr("no text"));
  EXPECT_THAT(ErrorOf({scratch.Write("marks", "--\n--\n")}, "--"), HasSubstr("no text"));
  EXPECT_THAT(ErrorOf({scratch.Path("missing")}), HasSubstr("missing: cannot open: No such file"));
  EXPECT_THAT(ErrorOf({scratch.Path("")}), HasSubstr("is a folder"));
  EXPECT_THAT(ErrorOf({"/dev/null"}), HasSubstr("not a regular file"));
}

TEST(TextReader, ALineOfMegabytesIsNoTrouble) {
  Scratch scratch;
  const std::string line(3 << 20, 'x');
  EXPECT_THAT(*ReadTextDocuments({scratch.Write("long", line + "\n#\n" + line)}, "#"),
              ElementsAre(line + "\n", line));
}

TEST(ExpandPaths, FoldersAndPatternsStandForTheirFilesInOrder) {
  Scratch scratch;
  for (const char* name : {"d/b.txt", "d/a.txt", "d/.hidden", "d/sub/c.txt", "d/z.md"}) {
    scratch.Write(name, "x");
  }
  EXPECT_THAT(*ExpandPaths({scratch.Path("d"), "as_it_is"}),
              ElementsAre(scratch.Path("d/a.txt"), scratch.Path("d/b.txt"), scratch.Path("d/z.md"),
                          "as_it_is"));
  EXPECT_THAT(*ExpandPaths({scratch.Path("d/*.txt")}),
              ElementsAre(scratch.Path("d/a.txt"), scratch.Path("d/b.txt")));
}

TEST(ExpandPaths, AFileNamedTwiceCountsOnce) {
  Scratch scratch;
  const std::string file = scratch.Write("d/a.txt", "x");
  EXPECT_THAT(*ExpandPaths({file, scratch.Path("d"), scratch.Path("d/../d/a.txt")}),
              ElementsAre(file));
}

TEST(ExpandPaths, AFileWhoseNameLooksLikeAPatternIsItself) {
  Scratch scratch;
  const std::string file = scratch.Write("odd[1].txt", "x");
  EXPECT_THAT(*ExpandPaths({file}), ElementsAre(file));
}

TEST(ExpandPaths, NothingFoundIsAnError) {
  Scratch scratch;
  std::filesystem::create_directories(scratch.Path("hollow"));
  EXPECT_THAT(std::string(ExpandPaths({scratch.Path("hollow")}).status().message()),
              HasSubstr("hollow: the folder has no files"));
  EXPECT_THAT(std::string(ExpandPaths({scratch.Path("*.txt")}).status().message()),
              HasSubstr("no file matches"));
}

}  // namespace
}  // namespace saffron
