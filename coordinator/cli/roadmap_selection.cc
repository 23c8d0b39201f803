#include "coordinator/cli/roadmap_selection.h"

#include <algorithm>
#include <variant>

#include "coordinator/report/listing.h"
#include "core/base/status_macros.h"

namespace saffron {

absl::StatusOr<std::vector<RoadmapName>> SelectRoadmaps(ReadSource& source,
                                                        const std::vector<std::string>& selectors) {
  std::vector<RoadmapName> selected;
  const auto add = [&selected](RoadmapName roadmap) {
    const bool known = std::any_of(selected.begin(), selected.end(),
                                   [&](const RoadmapName& r) { return r.id == roadmap.id; });
    if (!known) selected.push_back(std::move(roadmap));
  };
  for (const std::string& selector : selectors) {
    const absl::StatusOr<RoadmapName> named = FindRoadmap(source, selector);
    if (named.ok()) {
      add(*named);
      continue;
    }
    if (!absl::IsNotFound(named.status())) return named.status();
    const absl::StatusOr<IdSelector> ids = IdSelector::Parse(selector);
    if (!ids.ok()) return named.status();
    ASSIGN_OR_RETURN(const ResultTable all,
                     source.Query("SELECT id, name FROM roadmaps ORDER BY id"));
    bool any = false;
    for (const auto& row : all.rows) {
      const int64_t id = std::get<int64_t>(row[0]);
      if (!ids->Matches(id)) continue;
      add({.id = id, .name = std::get<std::string>(row[1])});
      any = true;
    }
    if (!any) return named.status();
  }
  return selected;
}

}  // namespace saffron
