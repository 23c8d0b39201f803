#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status_macros.h"
#include "core/checkpoint/safetensors.h"
#include "core/checkpoint/safetensors_types.h"
#include "nlohmann/json.hpp"

namespace saffron {
namespace {

constexpr size_t kHeaderBytesMax = 100'000'000;
constexpr size_t kDimensionsMax = 16;
constexpr char kMetadata[] = "__metadata__";

// What the header says of one tensor.
struct Entry {
  std::optional<TensorType> type;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::vector<int64_t>> offsets;
};

// Names come from a stranger: shortened, and nothing in them but printable ASCII.
std::string Quoted(const std::string& name) {
  std::string text = "\"";
  for (const char c : name.substr(0, 60)) text += c >= ' ' && c <= '~' ? c : '?';
  return text + (name.size() > 60 ? "...\"" : "\"");
}

// Follows the JSON as it is read, so that neither its depth nor its size costs more memory than the
// entries that it makes, and so that keys that occur twice are seen.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;

  bool key(string_t& text) override {
    switch (at_) {
      case At::kTop:
        name_ = text;
        if (!names_.insert(text).second) return Fail(absl::StrCat(Quoted(text), " occurs twice"));
        return true;
      case At::kTensor:
        field_ = text;
        return true;
      case At::kMetadata:
        field_ = text;
        if (metadata.count(text) == 0) return true;
        return Fail(absl::StrCat(kMetadata, ": ", Quoted(text), " occurs twice"));
      default:
        return Unexpected("a key");
    }
  }

  bool start_object(std::size_t) override {
    if (at_ == At::kStart) {
      at_ = At::kTop;
    } else if (at_ == At::kTop && name_ == kMetadata) {
      at_ = At::kMetadata;
    } else if (at_ == At::kTop) {
      at_ = At::kTensor;
      entries[name_];
    } else {
      return Unexpected("an object");
    }
    return true;
  }
  bool end_object() override {
    at_ = at_ == At::kTop ? At::kEnd : At::kTop;
    return true;
  }

  bool start_array(std::size_t) override {
    if (at_ != At::kTensor) return Unexpected("a list");
    Entry& entry = entries[name_];
    std::optional<std::vector<int64_t>>* list = field_ == "shape"          ? &entry.shape
                                                : field_ == "data_offsets" ? &entry.offsets
                                                                           : nullptr;
    if (list == nullptr) return Unexpected("a list");
    if (list->has_value()) return Twice();
    list_ = &list->emplace();
    at_ = At::kList;
    return true;
  }
  bool end_array() override {
    at_ = At::kTensor;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (at_ != At::kList) return Unexpected("a number");
    if (value > static_cast<uint64_t>(INT64_MAX)) return Unexpected("a number beyond 2^63");
    if (list_->size() >= kDimensionsMax) return Unexpected("a list of more than 16 numbers");
    list_->push_back(static_cast<int64_t>(value));
    return true;
  }
  bool number_integer(number_integer_t) override { return Unexpected("a negative number"); }
  bool number_float(number_float_t, const string_t&) override {
    return Unexpected("a number that is not whole or too large");
  }
  bool string(string_t& text) override {
    if (at_ == At::kMetadata) {
      metadata.emplace(field_, std::move(text));
      return true;
    }
    if (at_ != At::kTensor || field_ != "dtype") return Unexpected("a string");
    std::optional<TensorType>& type = entries[name_].type;
    if (type.has_value()) return Twice();
    type = TensorTypeFromName(text);
    if (type.has_value()) return true;
    return Fail(absl::StrCat(Quoted(name_), ": unknown dtype ", Quoted(text)));
  }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool null() override { return Unexpected("a null"); }
  bool binary(binary_t&) override { return Unexpected("binary data"); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(absl::StrCat("not JSON at byte ", position));
  }

 private:
  enum class At { kStart, kTop, kTensor, kMetadata, kList, kEnd };

  bool Fail(std::string what) {
    if (problem.empty()) problem = std::move(what);
    return false;
  }
  bool Twice() { return Fail(absl::StrCat(Quoted(name_), ": ", Quoted(field_), " occurs twice")); }
  bool Unexpected(const char* what) {
    if (at_ == At::kStart) return Fail(absl::StrCat("want an object, got ", what));
    const std::string where =
        at_ == At::kTop ? Quoted(name_) : absl::StrCat(Quoted(name_), ": ", Quoted(field_));
    return Fail(absl::StrCat(where, ": did not expect ", what));
  }

  At at_ = At::kStart;
  std::set<std::string> names_;
  std::string name_, field_;
  std::vector<int64_t>* list_ = nullptr;
};

absl::StatusOr<uint64_t> HeaderLength(std::string_view file) {
  if (file.size() < 8) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.size(), " bytes are too few for a header's length"));
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  if (length > kHeaderBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("a header of ", length, " bytes; at most ", kHeaderBytesMax, " are allowed"));
  }
  if (length > file.size() - 8) {
    return absl::InvalidArgumentError(
        absl::StrCat("cut short: a header of ", length, " bytes in a file of ", file.size()));
  }
  if (length == 0 || file[8] != '{') {
    return absl::InvalidArgumentError("the header does not begin with '{'");
  }
  return length;
}

// The entry as a tensor of `data`; its bytes' begin into `begin`.
absl::StatusOr<TensorBytes> TensorOf(const Entry& entry, std::string_view data, int64_t* begin) {
  if (!entry.type.has_value() || !entry.shape.has_value() || !entry.offsets.has_value()) {
    return absl::InvalidArgumentError("want dtype, shape and data_offsets");
  }
  if (entry.offsets->size() != 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("want two data_offsets, got ", entry.offsets->size()));
  }
  const int64_t first = (*entry.offsets)[0], last = (*entry.offsets)[1];
  if (first > last || last > static_cast<int64_t>(data.size())) {
    return absl::InvalidArgumentError(absl::StrCat("data_offsets [", first, ", ", last,
                                                   "] are not within the ", data.size(),
                                                   " bytes of data"));
  }
  const std::optional<int64_t> size = TensorSize(*entry.type, *entry.shape);
  if (size != last - first) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape [", absl::StrJoin(*entry.shape, ", "), "] of ",
                     std::string(TensorTypeName(*entry.type)), " takes ",
                     size.has_value() ? absl::StrCat(*size) : "more than 2^63",
                     " bytes, data_offsets give ", last - first));
  }
  *begin = first;
  return TensorBytes{*entry.type, *entry.shape,
                     data.substr(static_cast<size_t>(first), static_cast<size_t>(last - first))};
}

}  // namespace

absl::StatusOr<Safetensors> Safetensors::Parse(std::string_view file, const std::string& where) {
  const auto refuse = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": not a safetensors file: ", what));
  };
  const absl::StatusOr<uint64_t> length = HeaderLength(file);
  if (!length.ok()) return refuse(length.status().message());
  const std::string_view header = file.substr(8, *length), data = file.substr(8 + *length);
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(header.begin(), header.end(), &handler)) {
    return refuse(handler.problem);
  }
  Safetensors result;
  result.where_ = where;
  result.metadata_ = std::move(handler.metadata);
  std::vector<std::pair<int64_t, int64_t>> stretches;
  for (const auto& [name, entry] : handler.entries) {
    int64_t begin = 0;
    absl::StatusOr<TensorBytes> tensor = TensorOf(entry, data, &begin);
    if (!tensor.ok()) return refuse(absl::StrCat(Quoted(name), ": ", tensor.status().message()));
    stretches.emplace_back(begin, begin + static_cast<int64_t>(tensor->bytes.size()));
    result.tensors_.emplace(name, *std::move(tensor));
  }
  std::sort(stretches.begin(), stretches.end());
  int64_t end = 0;
  for (const auto& [first, last] : stretches) {
    if (first != end) {
      return refuse(absl::StrCat(first > end ? "a hole" : "an overlap", " at byte ",
                                 std::min(first, end), " of the data"));
    }
    end = last;
  }
  if (end != static_cast<int64_t>(data.size())) {
    return refuse(absl::StrCat(static_cast<int64_t>(data.size()) - end,
                               " bytes at the end belong to no tensor"));
  }
  return result;
}

absl::StatusOr<TensorBytes> Safetensors::Tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  return absl::NotFoundError(absl::StrCat(where_, ": no tensor ", Quoted(name)));
}

absl::StatusOr<std::string> Safetensors::Metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found != metadata_.end()) return found->second;
  return absl::NotFoundError(absl::StrCat(where_, ": no ", Quoted(key), " in its metadata"));
}

}  // namespace saffron
