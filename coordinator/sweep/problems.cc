#include "coordinator/sweep/problems.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "core/data/utf8.h"

namespace saffron {
namespace {

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

Place PlaceOf(const v1::Position& position) {
  return {.line = position.line(), .column = position.column()};
}

void SetPosition(Place place, v1::Position* position) {
  position->set_line(place.line);
  position->set_column(place.column);
}

std::string Problems::Location(Place place) const {
  std::string location = source_.empty() ? "sweep" : source_;
  if (place.line > 0) absl::StrAppend(&location, ":", place.line, ":", place.column);
  return location;
}

void Problems::Add(Place place, std::string_view key, std::string_view what) {
  std::string text =
      absl::StrCat(Location(place), ": ", Absl(key), key.empty() ? "" : ": ", Absl(what));
  // Parsers quote single bytes of what they do not understand.
  while (const auto bad = FirstInvalidUtf8(text)) text[*bad] = '?';
  if (FollowsFromEarlier(key)) return;
  for (const Problem& problem : problems_) {
    if (problem.text == text) return;
  }
  problems_.push_back({place, std::string(key), std::move(text)});
}

bool Problems::FollowsFromEarlier(std::string_view key) const {
  if (earlier_ == 0) return false;
  for (size_t i = 0; i < earlier_; ++i) {
    if (problems_[i].key == key) return true;
  }
  for (const std::string& spoilt : spoilt_) {
    const bool begins = key.substr(0, spoilt.size()) == spoilt;
    if (begins && (key.size() == spoilt.size() || key[spoilt.size()] == '.')) return true;
  }
  return false;
}

absl::Status Problems::ToStatus() const {
  if (problems_.empty()) return absl::OkStatus();
  std::vector<Problem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.place.line, a.place.column) < std::tie(b.place.line, b.place.column);
  });
  std::string message;
  for (size_t i = 0; i < sorted.size() && i < kShownMax; ++i) {
    absl::StrAppend(&message, i == 0 ? "" : "\n", sorted[i].text);
  }
  if (sorted.size() > kShownMax) {
    absl::StrAppend(&message, "\n… and ", full() ? "at least " : "", sorted.size() - kShownMax,
                    " more");
  }
  return absl::InvalidArgumentError(message);
}

std::string DidYouMean(std::string_view near) {
  return near.empty() ? "" : absl::StrCat("; did you mean ", Absl(near), "?");
}

}  // namespace saffron
