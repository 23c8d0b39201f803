#include "coordinator/cli/local_plan.h"

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/rpc/translate.h"
#include "coordinator/store/filesystem.h"
#include "coordinator/store/run_store.h"
#include "coordinator/store/schema.h"
#include "coordinator/store/sqlite.h"
#include "core/base/numerics_version.h"
#include "core/base/status_macros.h"
#include "core/data/data_store.h"

namespace saffron {
namespace {

absl::StatusOr<Database> OpenOrImagine(const std::string& path) {
  ASSIGN_OR_RETURN(const bool is_there, FindDatabaseFile(path));
  if (is_there) {
    ASSIGN_OR_RETURN(Database db, Database::Open(path, Database::Mode::kReadOnly));
    ASSIGN_OR_RETURN(const int version, ReadSchemaVersion(db, path));
    if (version > 0) {
      RETURN_IF_ERROR(CheckReadable(db, path));
      return db;
    }
  }
  ASSIGN_OR_RETURN(Database empty, Database::Open(":memory:", Database::Mode::kReadWriteCreate));
  RETURN_IF_ERROR(PrepareSchema(empty, "an empty database", absl::Now()));
  return empty;
}

}  // namespace

absl::StatusOr<PreparedSubmission> PrepareLocally(const v1::SweepSpec& spec,
                                                  const std::string& data_root) {
  ASSIGN_OR_RETURN(const std::vector<CorpusInfo> infos, DataStore(data_root).List());
  std::map<std::string, std::string> fingerprints;
  for (const CorpusInfo& info : infos) fingerprints[info.name] = info.fingerprint;
  return PrepareSubmission(spec, kNumericsVersion, fingerprints);
}

absl::StatusOr<v1::PlanResponse> PlanLocally(const v1::SweepSpec& spec,
                                             const std::string& data_root,
                                             const std::string& database) {
  ASSIGN_OR_RETURN(const PreparedSubmission prepared, PrepareLocally(spec, data_root));
  ASSIGN_OR_RETURN(Database db, OpenOrImagine(database));
  RETURN_IF_ERROR(db.Execute("BEGIN"));  // one snapshot, whatever a coordinator does meanwhile
  ASSIGN_OR_RETURN(const SubmissionPlan plan, PlanSubmission(db, prepared.submission));
  return ToProto(prepared, plan);
}

}  // namespace saffron
