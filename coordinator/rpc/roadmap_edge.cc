#include "coordinator/rpc/roadmap_edge.h"

#include <memory>
#include <optional>
#include <utility>

#include "coordinator/rpc/query_reactor.h"
#include "coordinator/rpc/status_map.h"
#include "coordinator/rpc/translate.h"
#include "coordinator/rpc/watch_reactor.h"
#include "coordinator/rpc/worker_edge.h"
#include "coordinator/store/read_query.h"
#include "core/base/status_macros.h"

namespace saffron {
namespace {

const absl::Status& Busy() {
  static const absl::Status busy =
      absl::ResourceExhaustedError("the coordinator is busy: call again in a moment");
  return busy;
}

}  // namespace

void RoadmapEdge::Stop() {
  sweeps_.Stop();
  queries_.Stop();
}

absl::StatusOr<PreparedSubmission> RoadmapEdge::Prepare(const v1::SweepSpec& spec) const {
  ASSIGN_OR_RETURN(const std::vector<CorpusInfo> infos, data_->List());
  std::map<std::string, std::string> corpora;
  for (const CorpusInfo& info : infos) corpora[info.name] = info.fingerprint;
  return PrepareSubmission(spec, numerics_, corpora);
}

grpc::ServerUnaryReactor* RoadmapEdge::Submit(grpc::CallbackServerContext* context,
                                              const v1::SubmitRequest* request,
                                              v1::SubmitResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool taken = sweeps_.Post([this, context, reactor, request, response] {
    absl::StatusOr<PreparedSubmission> prepared = Prepare(request->spec());
    if (!prepared.ok()) return FinishWith(context, reactor, prepared.status());
    auto shared = std::make_shared<PreparedSubmission>(*std::move(prepared));
    std::shared_ptr<const Submission> submission(shared, &shared->submission);
    engine_->Submit(submission, [=](absl::StatusOr<SubmitAnswer> answer) {
      if (answer.ok()) {
        response->set_roadmap_id(answer->roadmap.value);
        response->set_name(answer->name);
        response->set_revision(answer->revision);
        *response->mutable_plan() = ToProto(*shared, answer->plan);
      }
      FinishWith(context, reactor, answer.status());
    });
  });
  if (!taken) FinishWith(context, reactor, Busy());
  return reactor;
}

absl::StatusOr<v1::PlanResponse> RoadmapEdge::PlanOf(const v1::SweepSpec& spec) const {
  ASSIGN_OR_RETURN(const PreparedSubmission prepared, Prepare(spec));
  // One snapshot of the database, whatever the engine does meanwhile.
  ASSIGN_OR_RETURN(Database db, Database::Open(database_, Database::Mode::kReadOnly));
  RETURN_IF_ERROR(db.Execute("BEGIN"));
  ASSIGN_OR_RETURN(const SubmissionPlan plan, PlanSubmission(db, prepared.submission));
  return ToProto(prepared, plan);
}

grpc::ServerUnaryReactor* RoadmapEdge::Plan(grpc::CallbackServerContext* context,
                                            const v1::SubmitRequest* request,
                                            v1::PlanResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const bool taken = sweeps_.Post([this, context, reactor, request, response] {
    absl::StatusOr<v1::PlanResponse> plan = PlanOf(request->spec());
    if (plan.ok()) *response = *std::move(plan);
    FinishWith(context, reactor, plan.status());
  });
  if (!taken) FinishWith(context, reactor, Busy());
  return reactor;
}

grpc::ServerWriteReactor<v1::RoadmapStatus>* RoadmapEdge::Watch(
    grpc::CallbackServerContext* context, const v1::WatchRequest* request) {
  const absl::Duration interval =
      request->has_min_interval() ? FromProto(request->min_interval()) : absl::Milliseconds(200);
  return new WatchReactor(engine_, request->roadmap(), interval);
}

grpc::ServerUnaryReactor* RoadmapEdge::Cancel(grpc::CallbackServerContext* context,
                                              const v1::ControlRequest* request,
                                              v1::ControlResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  engine_->Cancel(FromProto(*request), [=](absl::StatusOr<int64_t> changed) {
    if (changed.ok()) response->set_trials_changed(*changed);
    FinishWith(context, reactor, changed.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* RoadmapEdge::Resume(grpc::CallbackServerContext* context,
                                              const v1::ControlRequest* request,
                                              v1::ControlResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  engine_->Resume(FromProto(*request), [=](absl::StatusOr<int64_t> changed) {
    if (changed.ok()) response->set_trials_changed(*changed);
    FinishWith(context, reactor, changed.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* RoadmapEdge::Retry(grpc::CallbackServerContext* context,
                                             const v1::RetryRequest* request,
                                             v1::RetryResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::StatusOr<RetryCall> call = FromProto(*request);
  if (!call.ok()) {
    FinishWith(context, reactor, call.status());
    return reactor;
  }
  engine_->Retry(*std::move(call), [=](absl::StatusOr<RetryAnswer> answer) {
    if (answer.ok()) *response = ToProto(*answer);
    FinishWith(context, reactor, answer.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* RoadmapEdge::Pause(grpc::CallbackServerContext* context,
                                             const v1::PauseRequest* request,
                                             v1::PauseResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  std::optional<std::string> reason;
  if (request->paused()) reason = request->reason();
  engine_->Pause(request->roadmap(), reason, [=](absl::StatusOr<bool> changed) {
    if (changed.ok()) response->set_changed(*changed);
    FinishWith(context, reactor, changed.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* RoadmapEdge::SetPriority(grpc::CallbackServerContext* context,
                                                   const v1::PriorityRequest* request,
                                                   v1::PriorityResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  engine_->SetPriority(request->roadmap(), request->priority(), [=](absl::StatusOr<bool> changed) {
    if (changed.ok()) response->set_changed(*changed);
    FinishWith(context, reactor, changed.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* RoadmapEdge::ListWorkers(grpc::CallbackServerContext* context,
                                                   const v1::ListWorkersRequest* request,
                                                   v1::ListWorkersResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  engine_->ListWorkers([=](absl::StatusOr<FleetView> fleet) {
    if (fleet.ok()) *response = ToProto(*fleet);
    FinishWith(context, reactor, fleet.status());
  });
  return reactor;
}

grpc::ServerUnaryReactor* RoadmapEdge::ControlWorker(grpc::CallbackServerContext* context,
                                                     const v1::ControlWorkerRequest* request,
                                                     v1::ControlWorkerResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  absl::StatusOr<WorkerControlCall> call = FromProto(*request);
  if (!call.ok()) {
    FinishWith(context, reactor, call.status());
    return reactor;
  }
  engine_->ControlWorker(*std::move(call), [=](absl::StatusOr<WorkerControlAnswer> answer) {
    if (answer.ok()) {
      response->mutable_workers()->Assign(answer->workers.begin(), answer->workers.end());
      response->mutable_nodes()->Assign(answer->nodes.begin(), answer->nodes.end());
    }
    FinishWith(context, reactor, answer.status());
  });
  return reactor;
}

grpc::ServerWriteReactor<v1::QueryRows>* RoadmapEdge::Query(grpc::CallbackServerContext* context,
                                                            const v1::QueryRequest* request) {
  auto* reactor = new QueryReactor();
  const absl::Duration limit =
      request->has_time_limit() ? FromProto(request->time_limit()) : absl::Seconds(30);
  const bool taken = queries_.Post(
      [this, reactor, sql = request->sql(), limit] { reactor->Run(database_, sql, limit); });
  if (!taken) reactor->Finish(ToGrpc(Busy()));
  return reactor;
}

grpc::ServerUnaryReactor* RoadmapEdge::Explain(grpc::CallbackServerContext* context,
                                               const v1::ExplainRequest* request,
                                               v1::ExplainResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  engine_->Explain(TrialId{request->trial_id()}, [=](absl::StatusOr<Explanation> explanation) {
    if (explanation.ok()) {
      response->set_state(explanation->state);
      for (const std::string& reason : explanation->reasons) response->add_reasons(reason);
    }
    FinishWith(context, reactor, explanation.status());
  });
  return reactor;
}

}  // namespace saffron
