// YAML through yaml-cpp's events: they give the place of keys and see aliases before anything is
// expanded, which its node tree does not.

#include <istream>
#include <map>
#include <memory>
#include <streambuf>

#include "absl/strings/str_cat.h"
#include "coordinator/sweep/document.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/yaml.h"

namespace saffron {
namespace {

// Thrown through yaml-cpp to stop it, after the problem has been added. Never leaves this file.
struct Refused {};

// Reads from a string without copying it.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* const begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const LineIndex& lines, Problems& problems) : lines_(lines), problems_(problems) {}

  std::optional<DocumentNode> TakeRoot() { return std::move(root_); }
  // Where the innermost collection that is still open began.
  std::optional<Place> OpenPlace() const {
    if (frames_.empty()) return std::nullopt;
    return frames_.back().node.place;
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      Refuse(PlaceOf(mark), "want one document in a file, got a second one (---)");
    }
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Finish({.kind = DocumentNode::Kind::kNull, .place = PlaceOf(mark)}, anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckTag(mark, tag);
    CheckQuote(mark);
    Finish({.kind = tag == "!" ? DocumentNode::Kind::kQuoted : DocumentNode::Kind::kPlain,
            .place = PlaceOf(mark),
            .text = value},
           anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end())
      Refuse(PlaceOf(mark),
             "want an alias of a finished value, got one "
             "of a value that contains it");
    alias_nodes_ += found->second.nodes;
    if (alias_nodes_ > kAliasNodesMax) {
      Refuse(PlaceOf(mark), absl::StrCat("want aliases that stand for at most ", kAliasNodesMax,
                                         " values in all, got more"));
    }
    CheckDepth(found->second.height, PlaceOf(mark));
    Attach(DocumentNode(found->second.node), found->second.nodes, found->second.height);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    Open(DocumentNode::Kind::kList, mark, tag, anchor, style);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    Open(DocumentNode::Kind::kMap, mark, tag, anchor, style);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapEnd() override { Close(); }

 private:
  // A collection that is being read.
  struct Frame {
    DocumentNode node;
    YAML::anchor_t anchor = 0;
    bool flow = false;  // between brackets
    int64_t nodes = 1;  // itself and what is below it
    int height = 1;
    std::optional<DocumentNode> key = {};  // of a map: the key whose value comes next
  };
  struct Anchored {
    DocumentNode node;
    int64_t nodes;
    int height;
  };

  Place PlaceOf(const YAML::Mark& mark) const {
    return lines_.PlaceOfBytes(mark.line, mark.column);
  }
  [[noreturn]] void Refuse(Place place, std::string_view what) {
    problems_.Add(place, "", what);
    throw Refused();
  }
  void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!") return;
    problems_.Add(PlaceOf(mark), "", absl::StrCat("want a value without a tag, got the tag ", tag));
  }
  // yaml-cpp takes a quoted text that the end of the file cuts off for whole.
  void CheckQuote(const YAML::Mark& mark) {
    const std::string_view text = lines_.From(mark.line, mark.column);
    const char quote = text.empty() ? '\0' : text.front();
    if (quote != '"' && quote != '\'') return;
    for (size_t at = 1; at < text.size(); ++at) {
      if (text[at] == quote) return;
      if (quote == '"' && text[at] == '\\') ++at;
    }
    Refuse(PlaceOf(mark), "want a closing quote for this one, got the end of the file");
  }
  void CheckDepth(int height, Place place) {
    if (static_cast<int>(frames_.size()) + height <= kDocumentDepthMax) return;
    Refuse(place, absl::StrCat("want at most ", kDocumentDepthMax, " levels of nesting, got more"));
  }

  bool WantsKey() const {
    return !frames_.empty() && frames_.back().node.kind == DocumentNode::Kind::kMap &&
           !frames_.back().key.has_value();
  }

  void Open(DocumentNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
            YAML::anchor_t anchor, YAML::EmitterStyle::value style) {
    CheckTag(mark, tag);
    if (WantsKey()) {
      Refuse(PlaceOf(mark),
             absl::StrCat("want a name as key, got a ",
                          kind == DocumentNode::Kind::kList ? "list" : "mapping",
                          frames_.back().flow ? " (or a bracket is not closed)" : ""));
    }
    CheckDepth(1, PlaceOf(mark));
    frames_.push_back({.node = {.kind = kind, .place = PlaceOf(mark)},
                       .anchor = anchor,
                       .flow = style == YAML::EmitterStyle::Flow});
  }

  void Close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    if (frame.anchor != 0) anchors_[frame.anchor] = {frame.node, frame.nodes, frame.height};
    Attach(std::move(frame.node), frame.nodes, frame.height);
  }

  void Finish(DocumentNode node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = {node, 1, 0};
    if (++nodes_ > kDocumentNodesMax) {
      Refuse(node.place, absl::StrCat("want at most ", kDocumentNodesMax, " values, got more"));
    }
    Attach(std::move(node), 1, 0);
  }

  // Puts a finished node where it belongs.
  void Attach(DocumentNode node, int64_t nodes, int height) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& parent = frames_.back();
    parent.nodes += nodes;
    parent.height = std::max(parent.height, height + 1);
    if (parent.node.kind == DocumentNode::Kind::kList) {
      parent.node.items.push_back(std::move(node));
    } else if (!parent.key.has_value()) {
      if (!node.is_scalar()) Refuse(node.place, "want a name as key, got " + DescribeNode(node));
      parent.key = std::move(node);
    } else {
      AddMember(parent, std::move(node));
    }
  }

  void AddMember(Frame& parent, DocumentNode value) {
    DocumentNode key = *std::move(parent.key);
    parent.key.reset();
    if (key.kind == DocumentNode::Kind::kPlain && key.text == "<<") {
      problems_.Add(key.place, "<<",
                    "want every key written out, got a merge key, which only some "
                    "readers of YAML follow");
      return;
    }
    // A value that is not there is placed at what comes after it.
    if (value.kind == DocumentNode::Kind::kNull && value.place.line != key.place.line) {
      value.place = key.place;
    }
    parent.node.members.push_back({std::move(key.text), key.place, std::move(value)});
  }

  const LineIndex& lines_;
  Problems& problems_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  std::optional<DocumentNode> root_;
  int documents_ = 0;
  int64_t nodes_ = 0, alias_nodes_ = 0;
};

// The first line that is indented with a tab, in the place of the tab. Tabs never indent in YAML;
// what a reader makes of one anyway differs from reader to reader.
bool RefuseTabs(std::string_view text, const LineIndex& lines, Problems& problems) {
  int line = 0;
  for (size_t begin = 0; begin < text.size(); ++line) {
    const std::string_view content = lines.Line(line);
    const size_t first = content.find_first_not_of(" \t");
    const size_t tab = content.substr(0, first).find('\t');
    if (first != std::string_view::npos && content[first] != '#' && tab != std::string_view::npos) {
      problems.Add(lines.PlaceOfBytes(line, static_cast<int>(tab)), "",
                   "want spaces as indentation, got a tab");
      return false;
    }
    const size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) break;
    begin = end + 1;
  }
  return true;
}

// yaml-cpp's messages in the words of these errors, where a common mistake is behind them.
std::string WhatIsWrong(const std::string& message) {
  static const std::map<std::string, std::string> kKnown = {
      {"illegal map value",
       "want a key in its mapping's column, or quotes around a text with ': ' in it, got a ':' "
       "here"},
      {"end of map not found",
       "want the next key in the column of the first, or quotes around a text with ': ' or '#' in "
       "it, got something else"},
      {"end of sequence not found",
       "want the next '- ' in the column of the first, got something else"},
      {"illegal block entry", "want '- ' at the start of a line of a list, got it here"},
      {"illegal flow end",
       "want brackets and braces closed in the order they were opened, got another"},
      {"end of sequence flow not found", "want a ] for this [, got none"},
      {"end of map flow not found", "want a } for this {, got none"},
      {"illegal EOF in scalar", "want a closing quote, got the end of the file"},
      {"the referenced anchor is not defined",
       "want an alias of an anchor above, got an unknown one"},
      {"unknown token", "want quotes around a text that begins with this character"},
  };
  const auto known = kKnown.find(message);
  return known != kKnown.end() ? known->second : absl::StrCat("want YAML, got: ", message);
}

}  // namespace

std::optional<DocumentNode> ParseYaml(std::string_view text, Problems& problems) {
  const LineIndex lines(text);
  if (!RefuseTabs(text, lines, problems)) return std::nullopt;
  ViewBuffer buffer(text);
  std::istream stream(&buffer);
  TreeBuilder builder(lines, problems);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused&) {
    return std::nullopt;
  } catch (const YAML::Exception& error) {
    Place place = lines.PlaceOfBytes(error.mark.line, error.mark.column);
    const bool unclosed =
        error.msg == "end of sequence flow not found" || error.msg == "end of map flow not found";
    if (unclosed && builder.OpenPlace().has_value()) place = *builder.OpenPlace();
    problems.Add(place, "", WhatIsWrong(error.msg));
    return std::nullopt;
  }
  std::optional<DocumentNode> root = builder.TakeRoot();
  if (!root.has_value()) return DocumentNode{.kind = DocumentNode::Kind::kNull, .place = {1, 1}};
  RemoveDuplicateKeys(*root, problems);
  return root;
}

}  // namespace saffron
