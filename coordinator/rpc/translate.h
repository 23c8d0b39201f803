#pragma once
// Messages to the engine's plain calls, and its answers to messages.

#include "absl/status/statusor.h"
#include "coordinator/engine/calls.h"
#include "coordinator/engine/prepare_submission.h"
#include "saffron/v1/roadmap.pb.h"
#include "saffron/v1/worker.pb.h"

namespace saffron {

absl::Duration FromProto(const google::protobuf::Duration& duration);

RegisterCall FromProto(const v1::RegisterRequest& request);
v1::RegisterResponse ToProto(const RegisterAnswer& answer);

// INVALID_ARGUMENT when a report has no outcome, or a failure without a class.
absl::StatusOr<SyncCall> FromProto(const v1::SyncRequest& request);
void ToProto(const SyncAnswer& answer, v1::SyncResponse* response);

v1::PlanResponse ToProto(const PreparedSubmission& prepared, const SubmissionPlan& plan);
v1::RoadmapStatus ToProto(const RoadmapStatus& status);
ControlCall FromProto(const v1::ControlRequest& request);
// INVALID_ARGUMENT: an unknown failure class, a limit below zero.
absl::StatusOr<RetryCall> FromProto(const v1::RetryRequest& request);
v1::RetryResponse ToProto(const RetryAnswer& answer);
v1::ListWorkersResponse ToProto(const FleetView& fleet);
// INVALID_ARGUMENT: no action.
absl::StatusOr<WorkerControlCall> FromProto(const v1::ControlWorkerRequest& request);

// The current row of a query.
void AddRow(const Statement& row, v1::QueryRows* rows);

}  // namespace saffron
