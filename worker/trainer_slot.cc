#include "worker/trainer_slot.h"

#include "core/base/status_macros.h"
#include "core/wire/variant_wire.h"
#include "worker/slot_server.h"

namespace saffron {

void ServeTrainerSlot(int fd, const std::string& data_root) {
  DataStore data(data_root);
  StatisticsCache statistics({.dir = StatisticsCache::DefaultDir()});
  ServeSlot({.fd = fd,
             .body = [&](const v1::Assignment& assignment, const std::atomic<bool>& stop,
                         MeasurementSink& sink) -> absl::StatusOr<TrialResult> {
               ASSIGN_OR_RETURN(const ResolvedVariant variant,
                                VariantFromProto(assignment.variant()));
               return RunTrial(variant, assignment.seed(), assignment.data_fingerprint(),
                               {.data = &data, .statistics = &statistics, .stop = &stop}, sink);
             }});
}

}  // namespace saffron
