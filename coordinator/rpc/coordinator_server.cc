#include "coordinator/rpc/coordinator_server.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/artifacts/artifact_store.h"
#include "coordinator/engine/clock.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/engine_thread.h"
#include "coordinator/rpc/artifact_edge.h"
#include "coordinator/rpc/listen_address.h"
#include "coordinator/rpc/metrics_server.h"
#include "coordinator/rpc/roadmap_edge.h"
#include "coordinator/rpc/worker_edge.h"
#include "coordinator/store/run_store.h"
#include "core/base/numerics_version.h"
#include "core/base/process.h"
#include "core/base/status_macros.h"
#include "core/data/data_store.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace saffron {

// Members in the order of their building; taken down in reverse.
struct CoordinatorServer::Impl {
  explicit Impl(const std::string& data_root) : data(data_root) {}

  RealClock clock;
  DataStore data;
  std::unique_ptr<RunStore> store;
  std::unique_ptr<ArtifactStore> files;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<EngineThread> thread;
  std::unique_ptr<MetricsServer> metrics;
  std::unique_ptr<WorkerEdge> workers;
  std::unique_ptr<RoadmapEdge> roadmaps;
  std::unique_ptr<ArtifactEdge> artifacts;
  std::unique_ptr<grpc::Server> server;
  ListenAddress listen;
  int port = 0;
};

namespace {

constexpr int kMessageBytesMax = 64 << 20;

void SetOptions(grpc::ServerBuilder& builder) {
  // Two servers on one port would share its connections at random.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  // A worker that vanished without closing its connection is noticed, and its held call dropped.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
}

// Files that left the disk unasked (a database copied without its artifacts): who starts from such
// a model makes it again, as where none was kept.
absl::Status GiveUpLostArtifacts(const ArtifactStore& files, absl::Time now, RunStore* store) {
  RETURN_IF_ERROR(store->Begin());
  const absl::StatusOr<int64_t> lost = store->GiveUpLost(
      [&](const ArtifactRecord& kept) {
        return files.IsLost({kept.sha256, kept.bytes});
      },
      now);
  if (lost.ok() && *lost > 0) return store->Commit();
  store->Rollback();
  return lost.status();
}

}  // namespace

CoordinatorServer::CoordinatorServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

CoordinatorServer::~CoordinatorServer() { Shutdown(); }

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(
    const Options& options) {
  auto impl = std::make_unique<Impl>(options.data_root.empty() ? DataStore::DefaultRoot()
                                                               : options.data_root);
  ASSIGN_OR_RETURN(impl->listen, ListenAddress::Parse(options.listen));
  RETURN_IF_ERROR(CheckFree(impl->listen));
  const absl::Time now = impl->clock.Now();
  ASSIGN_OR_RETURN(impl->store,
                   RunStore::Open({.path = options.db_path,
                                   .survive_power_loss = options.survive_power_loss,
                                   .allow_network_filesystem = options.allow_network_filesystem},
                                  now));
  impl->files = std::make_unique<ArtifactStore>(
      ArtifactStore::Options{.root = impl->store->path() + ".artifacts"});
  RETURN_IF_ERROR(GiveUpLostArtifacts(*impl->files, now, impl->store.get()));
  ASSIGN_OR_RETURN(const std::set<std::string> kept, impl->store->KeptDigests());
  RETURN_IF_ERROR(impl->files->KeepOnly(kept).status());
  Engine::Options engine_options{.scheduler = {.lease = options.lease},
                                 .numerics = kNumericsVersion,
                                 .is_gone =
                                     [space = ProcessSpace()](const WorkerInfo& worker) {
                                       return !space.empty() && worker.process_space == space &&
                                              IsProcessGone(worker.pid);
                                     },
                                 .artifact_bytes_max = options.artifact_bytes_max,
                                 .delete_artifact =
                                     [files = impl->files.get()](const std::string& sha256) {
                                       // What stays behind goes when a coordinator starts.
                                       files->Delete(sha256).IgnoreError();
                                     },
                                 .keep_checkpoints = options.keep_checkpoints};
  ASSIGN_OR_RETURN(impl->engine, Engine::Start(engine_options, impl->store.get(), now));
  impl->workers = std::make_unique<WorkerEdge>(impl->engine.get());
  impl->roadmaps = std::make_unique<RoadmapEdge>(impl->engine.get(), &impl->data,
                                                 impl->store->path(), kNumericsVersion);

  impl->artifacts = std::make_unique<ArtifactEdge>(impl->engine.get(), impl->files.get());

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetOptions(builder);
  builder.AddListeningPort(impl->listen.Text(impl->listen.port), grpc::InsecureServerCredentials(),
                           &impl->port);
  builder.RegisterService(impl->workers.get());
  builder.RegisterService(impl->roadmaps.get());
  builder.RegisterService(impl->artifacts.get());
  impl->thread = std::make_unique<EngineThread>(impl->engine.get(), &impl->clock);
  if (!options.metrics.empty()) {
    ASSIGN_OR_RETURN(impl->metrics, MetricsServer::Start(options.metrics, impl->engine.get(),
                                                         impl->thread.get(), impl->store->path()));
  }
  impl->server = builder.BuildAndStart();
  if (impl->server == nullptr || impl->port == 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("port ", impl->listen.port, " is in use on ", impl->listen.host));
  }
  return std::unique_ptr<CoordinatorServer>(new CoordinatorServer(std::move(impl)));
}

int CoordinatorServer::port() const { return impl_->port; }

std::string CoordinatorServer::address() const { return impl_->listen.Text(impl_->port); }

int CoordinatorServer::metrics_port() const {
  return impl_->metrics == nullptr ? 0 : impl_->metrics->port();
}

std::shared_ptr<grpc::Channel> CoordinatorServer::InProcessChannel() {
  return impl_->server->InProcessChannel(grpc::ChannelArguments());
}

void CoordinatorServer::Shutdown() {
  if (impl_->server == nullptr) return;
  impl_->metrics.reset();
  // The engine first: it answers every open call, so that the server has none to wait for.
  impl_->thread->Stop();
  impl_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  impl_->roadmaps->Stop();
  impl_->server->Wait();
  impl_->server.reset();
  impl_->artifacts.reset();
  impl_->roadmaps.reset();
  impl_->workers.reset();
  impl_->thread.reset();
  impl_->engine.reset();
  impl_->store.reset();
}

}  // namespace saffron
