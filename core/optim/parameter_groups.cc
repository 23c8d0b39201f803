#include "core/optim/parameter_groups.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

constexpr std::pair<std::string_view, TensorRole> kRoles[] = {{"hidden", TensorRole::kHidden},
                                                              {"embedding", TensorRole::kEmbedding},
                                                              {"readout", TensorRole::kReadout},
                                                              {"vector", TensorRole::kVector}};

// * stands for any characters, also none.
bool Matches(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool Fits(const std::string& entry, const ParameterTensor& tensor) {
  for (const auto& [name, role] : kRoles) {
    if (entry == name) return tensor.role == role;
  }
  return Matches(entry, tensor.name);
}

std::string NamesOf(const std::vector<ParameterTensor>& tensors) {
  return absl::StrJoin(tensors, ", ", [](std::string* out, const ParameterTensor& tensor) {
    out->append(tensor.name);
  });
}

}  // namespace

absl::StatusOr<TensorPatterns> TensorPatterns::Parse(const std::string& list) {
  TensorPatterns patterns;
  if (absl::StripAsciiWhitespace(list).empty()) return patterns;
  for (absl::string_view text : absl::StrSplit(list, ',')) {
    text = absl::StripAsciiWhitespace(text);
    const bool takes_back = !text.empty() && text.front() == '!';
    if (takes_back) text = absl::StripLeadingAsciiWhitespace(text.substr(1));
    if (text.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("entry ", patterns.entries_.size() + 1, " of \"", list,
                       "\": want a role (hidden, embedding, readout, vector) or the name of a "
                       "tensor, with * for any characters; got nothing"));
    }
    patterns.entries_.push_back({std::string(text), takes_back});
  }
  return patterns;
}

absl::StatusOr<std::vector<bool>> TensorPatterns::Choose(
    const std::vector<ParameterTensor>& tensors) const {
  std::vector<bool> chosen(tensors.size(), false);
  for (const Entry& entry : entries_) {
    bool fits_any = false;
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (!Fits(entry.text, tensors[i])) continue;
      fits_any = true;
      chosen[i] = !entry.takes_back;
    }
    if (!fits_any) {
      return absl::InvalidArgumentError(
          absl::StrCat("no tensor fits \"", entry.text, "\"; the model has ", NamesOf(tensors)));
    }
  }
  return chosen;
}

template <typename T>
absl::StatusOr<ParameterGroups<T>> ParameterGroups<T>::Make(
    const std::vector<ParameterTensor>& tensors, const TensorPatterns& freeze, DecayRule decay) {
  ParameterGroups groups;
  if (freeze.empty() && decay == DecayRule::kMatrices) return groups;
  if (tensors.empty()) {
    return absl::FailedPreconditionError(
        "rules for tensors were given, but the model names no tensors");
  }
  ASSIGN_OR_RETURN(const std::vector<bool> frozen, freeze.Choose(tensors));
  if (std::all_of(frozen.begin(), frozen.end(), [](bool is) { return is; })) {
    return absl::InvalidArgumentError("every tensor is frozen: nothing is left to train");
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const ParameterTensor& tensor = tensors[i];
    const Stretch stretch = {
        .begin = tensor.begin,
        .end = tensor.begin + tensor.stored(),
        .frozen = frozen[i],
        .sets_decay = decay != DecayRule::kMatrices,
        .decay = decay == DecayRule::kAll ||
                 (decay == DecayRule::kHidden && tensor.role == TensorRole::kHidden)};
    if (stretch.frozen) groups.frozen_parameters_ += tensor.size();
    if (!groups.stretches_.empty()) {
      Stretch& last = groups.stretches_.back();
      if (last.frozen == stretch.frozen && last.decay == stretch.decay &&
          last.sets_decay == stretch.sets_decay) {  // what is between is padding
        last.end = stretch.end;
        continue;
      }
    }
    groups.stretches_.push_back(stretch);
  }
  return groups;
}

template <typename T>
void ParameterGroups<T>::Apply(ParameterArena<T>& arena) {
  if (stretches_.empty()) return;
  std::vector<ParameterSegment<T>>& segments = arena.segments();
  cut_.clear();
  size_t at = 0;
  for (const ParameterSegment<T>& segment : segments) {
    const int64_t end = segment.begin + segment.size;
    while (at < stretches_.size() && stretches_[at].end <= segment.begin) ++at;
    for (size_t i = at; i < stretches_.size() && stretches_[i].begin < end; ++i) {
      const Stretch& stretch = stretches_[i];
      if (stretch.frozen) continue;
      ParameterSegment<T> part = segment;
      part.begin = std::max(segment.begin, stretch.begin);
      part.size = std::min(end, stretch.end) - part.begin;
      if (segment.gradient != nullptr) part.gradient += part.begin - segment.begin;
      if (stretch.sets_decay) part.decay = stretch.decay;
      cut_.push_back(part);
    }
  }
  segments.swap(cut_);
}

template class ParameterGroups<float>;
template class ParameterGroups<double>;

}  // namespace saffron
