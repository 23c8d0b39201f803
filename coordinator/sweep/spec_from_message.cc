#include "coordinator/sweep/spec_from_message.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/sweep/sweep_reader.h"
#include "core/model/registry.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"

namespace saffron {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

bool IsOurMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->file() == v1::SweepSpec::descriptor()->file() &&
         field.message_type() != v1::Position::descriptor();
}

// Sets the field `position`, where the message has one.
void SetPositionOf(Message* message, Place place) {
  const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName("position");
  if (field == nullptr || place.line == 0) return;
  auto* position =
      static_cast<v1::Position*>(message->GetReflection()->MutableMessage(message, field));
  SetPosition(place, position);
}

// Calls visit(field, index, child) for each of the messages within; index is -1 for a single one.
template <typename Visit>
void ForEachChild(Message* message, const Visit& visit) {
  const auto* reflection = message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (!IsOurMessage(*field)) continue;
    if (!field->is_repeated()) {
      visit(field, -1, reflection->MutableMessage(message, field));
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(*message, field); ++i) {
      visit(field, i, reflection->MutableRepeatedMessage(message, field, i));
    }
  }
}

void LocateFromText(const TextFormat::ParseInfoTree& tree, Message* message) {
  ForEachChild(message, [&tree](const FieldDescriptor* field, int index, Message* child) {
    const TextFormat::ParseLocation at = tree.GetLocation(field, index);
    SetPositionOf(child, {.line = at.line + 1, .column = at.column + 1});
    const TextFormat::ParseInfoTree* nested = tree.GetTreeForNested(field, index);
    if (nested != nullptr) LocateFromText(*nested, child);
  });
}

const FieldDescriptor* FindField(const Descriptor& descriptor, const std::string& name) {
  const FieldDescriptor* field = descriptor.FindFieldByName(name);
  return field != nullptr ? field : descriptor.FindFieldByCamelcaseName(name);
}

void LocateFromJson(const DocumentNode& node, Message* message) {
  ForEachChild(message, [&node](const FieldDescriptor* field, int index, Message* child) {
    for (const DocumentMember& member : node.members) {
      if (member.key != field->name() && member.key != field->json_name()) continue;
      if (index >= static_cast<int>(member.value.items.size())) continue;
      const DocumentNode& value = index < 0 ? member.value : member.value.items[index];
      SetPositionOf(child, value.place);
      LocateFromJson(value, child);
    }
  });
}

std::vector<std::string> FieldNames(const Descriptor& descriptor) {
  std::vector<std::string> names;
  for (int i = 0; i < descriptor.field_count(); ++i) names.push_back(descriptor.field(i)->name());
  return names;
}

// Reports members that are no fields, which protobuf would report without a place.
void CheckFields(const Descriptor& descriptor, const DocumentNode& node, Problems& problems) {
  for (const DocumentMember& member : node.members) {
    const FieldDescriptor* field = FindField(descriptor, member.key);
    if (field == nullptr) {
      problems.Add(member.place, member.key,
                   absl::StrCat("want a field of ", descriptor.name(), ", got an unknown one",
                                DidYouMean(NearestName(member.key, FieldNames(descriptor)))));
      continue;
    }
    if (!IsOurMessage(*field)) continue;
    CheckFields(*field->message_type(), member.value, problems);
    for (const DocumentNode& item : member.value.items) {
      CheckFields(*field->message_type(), item, problems);
    }
  }
}

// protobuf's complaints about a text, as problems.
class TextErrors : public google::protobuf::io::ErrorCollector {
 public:
  explicit TextErrors(Problems& problems) : problems_(problems) {}
  void AddError(int line, google::protobuf::io::ColumnNumber column,
                const std::string& message) override {
    problems_.Add({.line = line + 1, .column = column + 1}, "",
                  absl::StrCat("want the text of a SweepSpec, got: ",
                               absl::StripSuffix(message, "."), Hint(message)));
  }
  void AddWarning(int, google::protobuf::io::ColumnNumber, const std::string&) override {}

 private:
  // Message type "saffron.v1.Seeds" has no field named "cuont".
  static std::string Hint(const std::string& message) {
    std::vector<std::string> quoted;
    for (size_t at = message.find('"'); at != std::string::npos; at = message.find('"', at + 1)) {
      const size_t end = message.find('"', at + 1);
      if (end == std::string::npos) break;
      quoted.push_back(message.substr(at + 1, end - at - 1));
      at = end;
    }
    if (quoted.size() != 2 || message.find("no field named") == std::string::npos) return "";
    const Descriptor* type =
        v1::SweepSpec::descriptor()->file()->pool()->FindMessageTypeByName(quoted[0]);
    return type == nullptr ? "" : DidYouMean(NearestName(quoted[1], FieldNames(*type)));
  }

  Problems& problems_;
};

bool IsList(const DocumentNode& node, std::initializer_list<std::string_view> keys) {
  for (const DocumentMember& member : node.members) {
    for (std::string_view key : keys) {
      if (member.key == key && member.value.kind == DocumentNode::Kind::kList) return true;
    }
  }
  return false;
}

void ClearPositionsBelow(Message* message) {
  const FieldDescriptor* position = message->GetDescriptor()->FindFieldByName("position");
  if (position != nullptr) message->GetReflection()->ClearField(message, position);
  ForEachChild(message,
               [](const FieldDescriptor*, int, Message* child) { ClearPositionsBelow(child); });
}

}  // namespace

void ClearPositions(v1::SweepSpec* spec) {
  spec->clear_source();
  spec->clear_notes();
  spec->clear_name_position();
  ClearPositionsBelow(spec);
}

v1::SweepSpec SpecFromTextproto(std::string_view text, Problems& problems) {
  TextFormat::Parser parser;
  TextFormat::ParseInfoTree tree;
  TextErrors errors(problems);
  parser.WriteLocationsTo(&tree);
  parser.RecordErrorsTo(&errors);
  parser.SetRecursionLimit(kDocumentDepthMax);
  v1::SweepSpec spec;
  if (!parser.ParseFromString(std::string(text), &spec)) return {};
  ClearPositions(&spec);
  LocateFromText(tree, &spec);
  return spec;
}

bool SpellsMessage(const DocumentNode& root) {
  if (IsList(root, {"constants", "baseline"})) return true;
  for (const DocumentMember& member : root.members) {
    if (member.key != "blocks") continue;
    for (const DocumentNode& block : member.value.items) {
      if (IsList(block, {"parameters", "derived", "when"})) return true;
      for (const DocumentMember& part : block.members) {
        if (part.key == "ablate" && IsList(part.value, {"groups"})) return true;
      }
    }
  }
  return false;
}

v1::SweepSpec SpecFromMessageJson(std::string_view text, const DocumentNode& root,
                                  Problems& problems) {
  CheckFields(*v1::SweepSpec::descriptor(), root, problems);
  if (!problems.empty()) return {};
  v1::SweepSpec spec;
  const auto status =
      google::protobuf::util::JsonStringToMessage({text.data(), text.size()}, &spec);
  if (!status.ok()) {
    const std::string what(status.message().data(), status.message().size());
    problems.Add(Place(), "", absl::StrCat("want protobuf's JSON of a SweepSpec, got: ", what));
    return {};
  }
  ClearPositions(&spec);
  LocateFromJson(root, &spec);
  return spec;
}

}  // namespace saffron
